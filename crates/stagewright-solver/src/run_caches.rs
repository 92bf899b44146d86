//! Cache mounts of a `RUN`: taken from the store, made when they are new.

use std::path::PathBuf;

use fs_err as fs;
use stagewright_digest::LayerId;
use stagewright_dockerfile::mount::{CacheSharing, MountKind};
use stagewright_exec::Mount as ExecMount;
use stagewright_plan::{CopyOp, PlanMount};
use stagewright_snapshot::Forms;
use stagewright_store::{CacheMountLease, Sharing};

use crate::copy::{self, NodeKind, Selection};
use crate::error::StepError;
use crate::file_step;
use crate::parts::Parts;
use crate::run_mounts::{self, Prepared};
use crate::services::Services;
use crate::used_mounts;
use crate::vertex::{Snapshot, VertexResult};

/// Who a directory belongs to, and what they may do.
#[derive(Clone, Copy)]
struct Access {
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Files that a new cache starts as.
struct Seed {
    op: CopyOp,
    selection: Selection,
}

/// What a new cache is made of.
enum Start {
    /// What it held on another machine.
    Held(LayerId),
    /// A layer whose directory [`run_mounts::BOUND`] it starts as, or nothing.
    Seed(Option<LayerId>),
}

/// Mounts a cache. As in BuildKit, one that starts as other files is another cache, and the options
/// of its top directory are those of the mount unless that is a directory of `source`.
pub(crate) fn mount(
    services: &Services,
    mount: &PlanMount,
    inputs: &[VertexResult],
    event: u64,
    prepared: &mut Prepared,
) -> Result<(), StepError> {
    let target = &mount.mount.target;
    let MountKind::Cache {
        id,
        from,
        source,
        readonly,
        sharing,
        mode,
        uid,
        gid,
    } = &mount.mount.kind
    else {
        return Ok(());
    };
    let mut id = used_mounts::name_of(id.as_deref(), target).to_owned();
    let mut access = Access {
        mode: *mode,
        uid: *uid,
        gid: *gid,
    };
    let mut seed = None;
    if from.is_some() {
        let (op, selection) = run_mounts::bound(services, mount, source, inputs, event)?;
        let [top] = selection.matches.as_slice() else {
            return Err(StepError::Internal("a cache has no source".to_owned()));
        };
        if top.node.kind != NodeKind::Directory {
            return Err(StepError::Unsupported(format!(
                "RUN --mount=type=cache,source={source}: a cache starts as a directory, and that is none"
            )));
        }
        if !run_mounts::is_root(source) {
            let metadata = &top.node.metadata;
            access = Access {
                mode: metadata.mode,
                uid: metadata.uid,
                gid: metadata.gid,
            };
        }
        let mut content = Parts::default();
        content.files("file", copy::selected_files(&op, &selection));
        id = format!("{}{}", used_mounts::begin_of(&id), content.key());
        services.mounts.note_id(&id);
        seed = Some(Seed { op, selection });
    }
    let sharing = match sharing {
        CacheSharing::Shared => Sharing::Shared,
        CacheSharing::Private => Sharing::Private,
        CacheSharing::Locked => Sharing::Locked,
    };
    if !prepared.leases.caches.contains_key(&id) {
        let lease = services
            .store
            .cache_mount(&id, sharing, &|| services.cancel.is_cancelled())?
            .ok_or(StepError::Cancelled)?;
        if !lease.is_made() {
            take_over(services, &lease, &id, access, event)?;
        }
        if !lease.is_made() {
            let layer = match seed {
                Some(seed) => {
                    let input = run_mounts::input(mount, inputs)?.clone();
                    seed_layer(services, seed, input, event)?
                }
                None => None,
            };
            make(services, &lease, Start::Seed(layer), access)?;
        }
        prepared.leases.caches.insert(id.clone(), lease);
    }
    prepared.mounts.push(ExecMount::Bind {
        source: prepared.leases.caches[&id].path().to_owned(),
        target: PathBuf::from(target),
        readonly: *readonly,
    });
    Ok(())
}

/// Makes a cache of what it held on another machine, if an imported cache says so. One that cannot be had costs time.
fn take_over(
    services: &Services,
    lease: &CacheMountLease,
    id: &str,
    access: Access,
    event: u64,
) -> Result<(), StepError> {
    let Some(layer) = services.images.cache().mount(id) else {
        return Ok(());
    };
    let made = services
        .ensure(&[layer], event)
        .and_then(|()| make(services, lease, Start::Held(layer), access));
    match made {
        Err(StepError::Cancelled) => Err(StepError::Cancelled),
        Err(error) => {
            services.reporter.warn(format!(
                "the cache mount {id} starts without what an imported cache has of it: {error}"
            ));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Makes a layer of the files that a cache starts as; none if there are none.
fn seed_layer(
    services: &Services,
    seed: Seed,
    input: VertexResult,
    event: u64,
) -> Result<Option<LayerId>, StepError> {
    let forms = Forms {
        packed: true,
        unpacked: false,
        named: false,
    };
    let scratch = VertexResult::Snapshot(Snapshot::scratch());
    let Seed { op, selection } = seed;
    file_step::copy_with(services, &op, &[scratch, input], event, selection, forms)
}

/// Makes the directory aside, so that no step that shares it sees half of it.
fn make(
    services: &Services,
    lease: &CacheMountLease,
    start: Start,
    access: Access,
) -> Result<(), StepError> {
    let scratch = services.store.temp_dir()?;
    let files = scratch.path().join("files");
    let directory = match start {
        Start::Held(layer) => {
            services.snapshots.copy_out(&layer, &files)?;
            files
        }
        Start::Seed(layer) => {
            match layer {
                Some(layer) => services.snapshots.copy_out(&layer, &files)?,
                None => fs::create_dir(&files).map_err(StepError::Io)?,
            }
            files.join(run_mounts::BOUND)
        }
    };
    if !directory.exists() {
        fs::create_dir(&directory).map_err(StepError::Io)?;
    }
    let owner = (access.uid, access.gid);
    services
        .snapshots
        .place_directory(&directory, owner, access.mode, |directory| {
            lease.make(directory)?;
            Ok(lease.path().to_owned())
        })
}

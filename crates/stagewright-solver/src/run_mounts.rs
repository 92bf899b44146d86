//! The mounts of a `RUN`: what they show, and what of it enters the key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;
use stagewright_digest::LayerId;
use stagewright_dockerfile::mount::{CacheSharing, MountKind};
use stagewright_exec::Mount as ExecMount;
use stagewright_plan::{CopyFrom, CopyOp, ExecOp, MountOp, PlanMount};
use stagewright_snapshot::Forms;
use stagewright_store::{CacheMountLease, TempDir};

use crate::copy::{self, Selection};
use crate::error::StepError;
use crate::file_step;
use crate::parts::Parts;
use crate::run_caches;
use crate::services::{Secret, Services};
use crate::ssh_agent::Served;
use crate::vertex::{Snapshot, VertexResult};
use crate::volume::upper_and_work;

/// Where a secret is seen that names no target.
const SECRETS_DIRECTORY: &str = "/run/secrets";
/// Where the ssh agents of a step are seen that name no target, before their number. As in BuildKit.
const SSH_AGENT: &str = "/run/buildkit/ssh_agent.";
/// The directory of a layer that holds the files of the context for a bind mount.
pub(crate) const BOUND: &str = "bound";

/// What is mounted for a step, and what must live as long as it runs.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) mounts: Vec<ExecMount>,
    /// Secrets that are variables.
    pub(crate) env: BTreeMap<String, String>,
    /// The target of the first ssh agent, which is `SSH_AUTH_SOCK` unless the stage sets it.
    pub(crate) ssh_auth_sock: Option<String>,
    pub(crate) leases: Leases,
}

/// Folders and locks that a step uses while it runs.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// By id: a directory that is mounted twice is one directory, and is taken once.
    pub(crate) caches: BTreeMap<String, CacheMountLease>,
    _scratch: Vec<TempDir>,
    _agents: Vec<Served>,
}

/// Adds what a step's mounts are to its key: their options, and the content that bind mounts show.
pub(crate) fn parts(
    services: &Services,
    op: &ExecOp,
    inputs: &[VertexResult],
    event: u64,
    parts: &mut Parts,
) -> Result<(), StepError> {
    for volume in &services.options.limits.volumes {
        volume.parts(services, event, parts)?;
    }
    for (index, mount) in op.mounts.iter().enumerate() {
        let label = format!("mount {index} {}", mount.mount.target);
        parts.map(&label, options(&mount.mount.kind));
        let (MountKind::Bind { source, .. }
        | MountKind::Cache {
            from: Some(_),
            source,
            ..
        }) = &mount.mount.kind
        else {
            continue;
        };
        match input(mount, inputs)? {
            VertexResult::Snapshot(snapshot) if is_root(source) => {
                parts.text(&format!("{label} files"), snapshot.id.to_string());
            }
            _ => {
                let (op, selection) = bound(services, mount, source, inputs, event)?;
                let files = copy::selected_files(&op, &selection);
                parts.files(&format!("{label} file"), files);
            }
        }
    }
    Ok(())
}

/// The options of a mount that enter the key. Where a bind mount's files lie in their source does
/// not: their content does.
fn options(kind: &MountKind) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut add = |name: &str, value: String| options.insert(name.to_owned(), value);
    match kind {
        MountKind::Bind { writable, .. } => {
            add("type", "bind".to_owned());
            add("writable", writable.to_string());
        }
        MountKind::Cache {
            id,
            from,
            source,
            readonly,
            sharing,
            mode,
            uid,
            gid,
        } => {
            add("type", "cache".to_owned());
            add("id", id.clone().unwrap_or_default());
            add(
                "from",
                format!("{} {source}", from.as_deref().unwrap_or_default()),
            );
            add("readonly", readonly.to_string());
            let sharing = match sharing {
                CacheSharing::Shared => "shared",
                CacheSharing::Private => "private",
                CacheSharing::Locked => "locked",
            };
            add("sharing", sharing.to_owned());
            add("owner", format!("{mode:o} {uid}:{gid}"));
        }
        MountKind::Tmpfs { size_bytes } => {
            add("type", "tmpfs".to_owned());
            add(
                "size",
                size_bytes
                    .map(|bytes| bytes.to_string())
                    .unwrap_or_default(),
            );
        }
        MountKind::Secret {
            id,
            env,
            as_file,
            required,
            mode,
            uid,
            gid,
        } => {
            add("type", "secret".to_owned());
            add("id", id.clone());
            add("env", env.clone().unwrap_or_default());
            add("file", as_file.to_string());
            add("required", required.to_string());
            add("owner", format!("{mode:o} {uid}:{gid}"));
        }
        MountKind::Ssh {
            id,
            required,
            mode,
            uid,
            gid,
        } => {
            add("type", "ssh".to_owned());
            add("id", id.clone());
            add("required", required.to_string());
            add("owner", format!("{mode:o} {uid}:{gid}"));
        }
    }
    options
}

pub(crate) fn is_root(path: &str) -> bool {
    path.split('/').all(|part| matches!(part, "" | "."))
}

pub(crate) fn input<'a>(
    mount: &PlanMount,
    inputs: &'a [VertexResult],
) -> Result<&'a VertexResult, StepError> {
    let found = match mount.op {
        MountOp::Input(index) => inputs.get(index),
        MountOp::None => None,
    };
    found.ok_or_else(|| StepError::Internal("a mount has no source".to_owned()))
}

/// Selects the files that a mount shows or starts as, as if they were copied.
pub(crate) fn bound(
    services: &Services,
    mount: &PlanMount,
    source: &str,
    inputs: &[VertexResult],
    event: u64,
) -> Result<(CopyOp, Selection), StepError> {
    select(services, input(mount, inputs)?.clone(), source, event)
}

/// Selects files of a context or of a root file system as if they were copied.
pub(crate) fn select(
    services: &Services,
    input: VertexResult,
    source: &str,
    event: u64,
) -> Result<(CopyOp, Selection), StepError> {
    let from = match input {
        VertexResult::Context(_) => CopyFrom::Context,
        VertexResult::Snapshot(_) => CopyFrom::Snapshot,
    };
    let path = if source.is_empty() { "/" } else { source };
    let op = CopyOp {
        link: true,
        ..CopyOp::of(path, &format!("/{BOUND}/"), from)
    };
    let scratch = VertexResult::Snapshot(Snapshot::scratch());
    let selection = file_step::select(services, &op, &[scratch, input], event)?;
    Ok((op, selection))
}

/// Makes the mounts of a step.
pub(crate) fn prepare(
    services: &Services,
    op: &ExecOp,
    inputs: &[VertexResult],
    event: u64,
) -> Result<Prepared, StepError> {
    let mut prepared = Prepared::default();
    let mut agents = 0;
    // A mount of the step's own lies above them.
    for volume in &services.options.limits.volumes {
        let mount = volume.mount(services, &mut prepared.leases._scratch)?;
        prepared.mounts.push(mount);
    }
    for mount in &op.mounts {
        let target = PathBuf::from(&mount.mount.target);
        match &mount.mount.kind {
            MountKind::Bind {
                source, writable, ..
            } => {
                bind(
                    services,
                    mount,
                    source,
                    *writable,
                    inputs,
                    event,
                    &mut prepared,
                )?;
            }
            MountKind::Cache { .. } => {
                run_caches::mount(services, mount, inputs, event, &mut prepared)?;
            }
            MountKind::Tmpfs { size_bytes } => prepared.mounts.push(ExecMount::Tmpfs {
                target,
                size_bytes: *size_bytes,
                mode: 0o1777,
            }),
            MountKind::Secret { .. } => secret(services, mount, &mut prepared)?,
            MountKind::Ssh { .. } => ssh(services, mount, &mut agents, &mut prepared)?,
        }
    }
    if let Some(script) = &op.script {
        prepared.mounts.push(ExecMount::Secret {
            bytes: script.text.clone().into_bytes(),
            target: PathBuf::from(&script.target),
            mode: 0o755,
            uid: 0,
            gid: 0,
        });
    }
    Ok(prepared)
}

fn bind(
    services: &Services,
    mount: &PlanMount,
    source: &str,
    writable: bool,
    inputs: &[VertexResult],
    event: u64,
    prepared: &mut Prepared,
) -> Result<(), StepError> {
    let sandbox = services.sandbox.get()?;
    let (layers, path) = match input(mount, inputs)? {
        VertexResult::Snapshot(snapshot) => {
            services.ensure(&snapshot.layers, event)?;
            let tree = services.tree(snapshot, event)?;
            let resolved = tree.resolve(source.as_bytes(), true)?;
            if resolved.entry.is_none() && !resolved.path.is_root() {
                return Err(StepError::NotFound {
                    path: source.to_owned(),
                    place: "the source of a bind mount".to_owned(),
                    hint: String::new(),
                });
            }
            let path = PathBuf::from("/").join(resolved.path.as_path());
            (snapshot.layers.clone(), path)
        }
        VertexResult::Context(_) => {
            let (op, selection) = bound(services, mount, source, inputs, event)?;
            let context = input(mount, inputs)?.clone();
            let scratch = VertexResult::Snapshot(Snapshot::scratch());
            let forms = match sandbox.copies_mounts() {
                true => Forms::PACKED,
                false => Forms::UNPACKED,
            };
            let mut path = PathBuf::from("/").join(BOUND);
            if let [only] = selection.matches.as_slice()
                && only.node.kind != copy::NodeKind::Directory
            {
                path.push(String::from_utf8_lossy(&only.name).as_ref());
            }
            let made =
                file_step::copy_with(services, &op, &[scratch, context], event, selection, forms)?;
            (made.into_iter().collect(), path)
        }
    };
    let target = PathBuf::from(&mount.mount.target);
    if sandbox.copies_mounts() {
        let folder = services.store.temp_dir()?;
        let files = folder.path().join("files");
        let tree = services.snapshots.tree(&layers)?;
        services.snapshots.copy_tree(&tree, &files)?;
        let path = path.strip_prefix("/").unwrap_or(&path);
        prepared.leases._scratch.push(folder);
        prepared.mounts.push(ExecMount::Bind {
            source: files.join(path),
            target,
            // Where nothing is mounted, a copy is made of what must not change: here it is one.
            readonly: !writable && !sandbox.mounts_nothing(),
        });
        return Ok(());
    }
    let scratch = if writable {
        let (folder, upper, work) = upper_and_work(&services.store)?;
        prepared.leases._scratch.push(folder);
        Some((upper, work))
    } else {
        None
    };
    prepared.mounts.push(ExecMount::Layers {
        lowers: directories(services, &layers)?,
        source: path,
        target,
        scratch,
    });
    Ok(())
}

/// Returns the directories of layers, from the top down.
fn directories(services: &Services, layers: &[LayerId]) -> Result<Vec<PathBuf>, StepError> {
    let layers = layers.iter().rev();
    Ok(layers
        .map(|layer| services.snapshots.unpacked(layer))
        .collect::<Result<_, _>>()?)
}

/// Mounts the socket of an agent. The variable is set even without one, as in BuildKit.
fn ssh(
    services: &Services,
    mount: &PlanMount,
    count: &mut usize,
    prepared: &mut Prepared,
) -> Result<(), StepError> {
    let MountKind::Ssh {
        id,
        required,
        mode,
        uid,
        gid,
    } = &mount.mount.kind
    else {
        return Ok(());
    };
    let target = match mount.mount.target.as_str() {
        "" => format!("{SSH_AGENT}{count}"),
        target => target.to_owned(),
    };
    *count += 1;
    prepared.ssh_auth_sock.get_or_insert_with(|| target.clone());
    let Some(agent) = services.options.ssh.get(id) else {
        if *required {
            return Err(StepError::MissingSshAgent { id: id.clone() });
        }
        return Ok(());
    };
    let served = agent
        .serve(services.store.temp_dir()?, &services.runtime)
        .map_err(StepError::Io)?;
    prepared.mounts.push(ExecMount::Socket {
        source: served.path().to_owned(),
        target: PathBuf::from(target),
        mode: *mode,
        uid: *uid,
        gid: *gid,
    });
    prepared.leases._agents.push(served);
    Ok(())
}

fn secret(
    services: &Services,
    mount: &PlanMount,
    prepared: &mut Prepared,
) -> Result<(), StepError> {
    let MountKind::Secret {
        id,
        env,
        as_file,
        required,
        mode,
        uid,
        gid,
    } = &mount.mount.kind
    else {
        return Ok(());
    };
    let bytes = match services.options.secrets.get(id) {
        Some(Secret::Bytes(bytes)) => bytes.clone(),
        Some(Secret::File(path)) => fs::read(path).map_err(StepError::Io)?,
        None if *required => return Err(StepError::MissingSecret { id: id.clone() }),
        None => return Ok(()),
    };
    if let Some(name) = env {
        let value = String::from_utf8(bytes.clone()).map_err(|_| {
            StepError::Unsupported(format!(
                "the secret {id:?} is no text: it cannot be a variable"
            ))
        })?;
        prepared.env.insert(name.clone(), value);
    }
    if *as_file {
        let target = match mount.mount.target.as_str() {
            "" => PathBuf::from(SECRETS_DIRECTORY).join(id),
            target => PathBuf::from(target),
        };
        prepared.mounts.push(ExecMount::Secret {
            bytes,
            target,
            mode: *mode,
            uid: *uid,
            gid: *gid,
        });
    }
    Ok(())
}

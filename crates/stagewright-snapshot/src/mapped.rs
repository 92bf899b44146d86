//! Touching the files of unpacked layers without root.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use stagewright_exec::{TreeChange, UserNamespace};
use stagewright_layer::{EntryKind, EntryPath, LayerIndex, Mtime, WrittenLayer};

use crate::agent::{DirectAgent, OverlayXattrs, Prune, TreeAgent};
use crate::content::NewEntry;
use crate::error::SnapshotError;
use crate::scan::scan_mapped;
use crate::tree::TreeLayer;

/// The attribute that gives a program rights; the kernel writes down whose namespace set it.
const CAPABILITY: &[u8] = b"security.capability";

/// Touches files whose owners are ids of a user namespace.
///
/// What this process may do it does itself: files are made as its user's own, and those that it may
/// read it reads. The rest is done inside the namespace: owners and the rights of programs are set,
/// trees are looked at and cleared away, and files that only others may read are opened.
#[derive(Debug, Clone)]
pub struct MappedAgent {
    direct: DirectAgent,
    namespace: Arc<UserNamespace>,
    threads: usize,
}

impl MappedAgent {
    /// Returns an agent that uses at most `threads` threads. The namespace is made when it is first
    /// needed.
    pub fn new(namespace: Arc<UserNamespace>, threads: usize) -> Self {
        Self {
            direct: DirectAgent::with_later_owners(threads),
            namespace,
            threads: threads.max(1),
        }
    }

    fn has_one_id(&self) -> bool {
        !matches!(self.namespace.one_id(), Ok(None))
    }

    /// Gives what was just made to its owners. Where no namespace can be made, nothing is ever run
    /// on the files.
    fn own(&self, root: &Path, entries: &[NewEntry]) -> Result<(), SnapshotError> {
        let mut changes = Vec::new();
        for entry in entries {
            add_changes(entry, &mut changes);
        }
        if changes.is_empty() || self.namespace.start().is_err() {
            return Ok(());
        }
        if self.has_one_id() {
            changes.retain(|change| !matches!(change, TreeChange::Owner { .. }));
        }
        self.change(root, changes)
    }

    fn change(&self, root: &Path, changes: Vec<TreeChange>) -> Result<(), SnapshotError> {
        self.namespace.change(root, changes).map_err(told_path)
    }
}

/// The message names the path.
fn told_path(source: io::Error) -> SnapshotError {
    SnapshotError::Mapped(source)
}

fn add_changes(entry: &NewEntry, changes: &mut Vec<TreeChange>) {
    let path = entry.path().as_path().to_owned();
    let metadata = entry.metadata();
    let link = match entry {
        NewEntry::File { .. } => false,
        NewEntry::Other(other) => match other.kind {
            EntryKind::Symlink { .. } => true,
            EntryKind::Directory { .. } | EntryKind::Fifo | EntryKind::File { .. } => false,
            // The first has its owner, the second none, and devices are left out.
            EntryKind::Hardlink { .. }
            | EntryKind::Whiteout
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. } => return,
        },
    };
    let (uid, gid) = (metadata.uid, metadata.gid);
    if (uid, gid) != (0, 0) {
        let mode = (!link).then_some(metadata.mode);
        changes.push(TreeChange::Owner {
            path: path.clone(),
            uid,
            gid,
            mode,
        });
    }
    if let Some(value) = metadata.xattrs.get(CAPABILITY) {
        changes.push(TreeChange::Xattr {
            path,
            name: OsStr::from_bytes(CAPABILITY).to_owned(),
            value: value.clone(),
        });
    }
}

impl TreeAgent for MappedAgent {
    fn scan(&self, root: &Path) -> Result<LayerIndex, SnapshotError> {
        scan_mapped(root, self.threads, self.has_one_id(), &self.namespace)
    }

    fn create(&self, root: &Path, entries: &[NewEntry]) -> Result<LayerIndex, SnapshotError> {
        let index = self.direct.create(root, entries)?;
        self.own(root, entries)?;
        Ok(index)
    }

    fn unpack(&self, layer: &TreeLayer, root: &Path) -> Result<(), SnapshotError> {
        let entries = crate::agent::entries_of(layer);
        self.create(root, &entries).map(drop)
    }

    fn pack(
        &self,
        layer: &TreeLayer,
        tar: &mut dyn Write,
    ) -> Result<WrittenLayer<()>, SnapshotError> {
        self.direct.pack(layer, tar)
    }

    fn prune(&self, root: &Path, prune: &Prune) -> Result<(), SnapshotError> {
        let remove = prune.remove.iter().map(|path| TreeChange::Remove {
            path: path.as_path().to_owned(),
        });
        let clear = prune
            .clear_opaque
            .iter()
            .map(|path| TreeChange::ClearXattr {
                path: path.as_path().to_owned(),
                name: OverlayXattrs::User.opaque().into(),
            });
        self.change(root, remove.chain(clear).collect())
    }

    fn set_times(
        &self,
        root: &Path,
        paths: &[EntryPath],
        time: Mtime,
    ) -> Result<(), SnapshotError> {
        let changes = paths.iter().map(|path| TreeChange::Times {
            path: path.as_path().to_owned(),
            seconds: time.seconds,
            nanos: time.nanos,
        });
        self.change(root, changes.collect())
    }

    fn keeps_owners(&self) -> bool {
        !self.has_one_id()
    }

    fn namespace(&self) -> Option<&Arc<UserNamespace>> {
        Some(&self.namespace)
    }

    fn settle(&self, root: &Path) -> Result<(), SnapshotError> {
        let found = fs_err::symlink_metadata(root).map_err(SnapshotError::Draft)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() == own && found.mode() & 0o700 == 0o700 {
            return Ok(());
        }
        let change = TreeChange::Owner {
            path: Path::new("").to_owned(),
            uid: 0,
            gid: 0,
            mode: Some(found.mode() & 0o7777 | 0o700),
        };
        self.change(root, vec![change])
    }
}

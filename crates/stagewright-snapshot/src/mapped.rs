//! Touching the files of unpacked layers without root.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use stagewright_exec::{TreeChange, UserNamespace, may_own_files};
use stagewright_layer::{EntryKind, EntryPath, LayerIndex, Mtime, WrittenLayer};

use crate::agent::{DirectAgent, Marks, OverlayXattrs, Prune, TreeAgent, set_mode};
use crate::before::Before;
use crate::content::NewEntry;
use crate::error::SnapshotError;
use crate::scan::{Reading, look_mapped, scan_mapped};
use crate::tree::TreeLayer;
use crate::unpack::Unpacking;

/// The attribute that gives a program rights; the kernel writes down whose namespace set it.
const CAPABILITY: &[u8] = b"security.capability";

/// As many changes are given on at once of a layer that may have a million entries.
const CHANGES_AT_ONCE: usize = 20_000;

/// Touches files whose owners are ids of a user namespace.
///
/// What this process may do it does itself: files are made as its user's own, and those that it may
/// read it reads. The rest is done inside the namespace: owners and the rights of programs are set,
/// trees are looked at and cleared away, and files that only others may read are opened.
#[derive(Debug, Clone)]
pub struct MappedAgent {
    direct: DirectAgent,
    /// What there is where no namespace can be made: root of a container does all itself.
    instead: DirectAgent,
    namespace: Arc<UserNamespace>,
    threads: usize,
}

impl MappedAgent {
    /// Returns an agent that uses at most `threads` threads. The namespace is made when it is first
    /// needed.
    pub fn new(namespace: Arc<UserNamespace>, threads: usize) -> Self {
        let instead = if may_own_files() {
            DirectAgent::new(OverlayXattrs::User, threads)
        } else {
            DirectAgent::with_one_owner(threads)
        };
        Self {
            direct: DirectAgent::with_later_owners(threads),
            instead,
            namespace,
            threads: threads.max(1),
        }
    }

    fn has_one_id(&self) -> bool {
        !matches!(self.namespace.one_id(), Ok(None))
    }

    fn reading(&self, marks: Marks) -> Reading {
        Reading {
            threads: self.threads,
            one_owner: self.has_one_id(),
            marks,
        }
    }

    /// Returns who does the work where no namespace can be made.
    fn instead(&self) -> Option<&DirectAgent> {
        self.namespace.start().is_err().then_some(&self.instead)
    }

    /// Gives what was just made to its owners.
    fn own(&self, root: &Path, mut changes: Vec<TreeChange>) -> Result<(), SnapshotError> {
        if changes.is_empty() {
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
    fn scan(&self, root: &Path, marks: Marks) -> Result<LayerIndex, SnapshotError> {
        match self.instead() {
            Some(instead) => instead.scan(root, marks),
            None => scan_mapped(root, self.reading(marks), &self.namespace, None),
        }
    }

    fn look(&self, root: &Path, scratch: &Path) -> Result<Before, SnapshotError> {
        match self.instead() {
            Some(instead) => instead.look(root, scratch),
            None => look_mapped(root, scratch, &self.namespace),
        }
    }

    fn scan_changes(&self, root: &Path, before: &Before) -> Result<LayerIndex, SnapshotError> {
        if let Some(instead) = self.instead() {
            return instead.scan_changes(root, before);
        }
        let how = self.reading(Marks::Overlayfs);
        scan_mapped(root, how, &self.namespace, Some(before))
    }

    fn create(&self, root: &Path, entries: &[NewEntry]) -> Result<LayerIndex, SnapshotError> {
        let mut changes = Vec::new();
        for entry in entries {
            add_changes(entry, &mut changes);
        }
        // Asked only where it matters: making a namespace takes longer than a small layer.
        if !changes.is_empty()
            && let Some(instead) = self.instead()
        {
            return instead.create(root, entries);
        }
        let index = self.direct.create(root, entries)?;
        self.own(root, changes)?;
        Ok(index)
    }

    fn unpack(&self, layer: &Unpacking<'_>, root: &Path) -> Result<(), SnapshotError> {
        let mut changes = Vec::new();
        let mut unpacked = false;
        for entry in layer.entries()? {
            add_changes(&entry?, &mut changes);
            if changes.is_empty() {
                continue;
            }
            // Asked only where it matters: making a namespace takes longer than a small layer.
            if !unpacked {
                if let Some(instead) = self.instead() {
                    return instead.unpack(layer, root);
                }
                self.direct.unpack(layer, root)?;
                unpacked = true;
            }
            if changes.len() >= CHANGES_AT_ONCE {
                self.own(root, std::mem::take(&mut changes))?;
            }
        }
        match unpacked {
            true => self.own(root, changes),
            false => self.direct.unpack(layer, root),
        }
    }

    fn pack(
        &self,
        layer: &TreeLayer,
        tar: &mut dyn Write,
    ) -> Result<WrittenLayer<()>, SnapshotError> {
        self.direct.pack(layer, tar)
    }

    fn prune(&self, root: &Path, prune: &Prune) -> Result<(), SnapshotError> {
        if let Some(instead) = self.instead() {
            return instead.prune(root, prune);
        }
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
        if let Some(instead) = self.instead() {
            return instead.set_times(root, paths, time);
        }
        let changes = paths.iter().map(|path| TreeChange::Times {
            path: path.as_path().to_owned(),
            seconds: time.seconds,
            nanos: time.nanos,
        });
        self.change(root, changes.collect())
    }

    fn keeps_owners(&self) -> bool {
        match self.instead() {
            Some(instead) => instead.keeps_owners(),
            None => !self.has_one_id(),
        }
    }

    fn namespace(&self) -> Option<&Arc<UserNamespace>> {
        Some(&self.namespace)
    }

    fn give(
        &self,
        directory: &Path,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> Result<(), SnapshotError> {
        if self.has_one_id() {
            return set_mode(directory, mode).map_err(SnapshotError::Draft);
        }
        let change = TreeChange::Owner {
            path: Path::new("").to_owned(),
            uid,
            gid,
            mode: Some(mode),
        };
        self.change(directory, vec![change])
    }

    fn settle(&self, root: &Path) -> Result<(), SnapshotError> {
        let found = fs_err::symlink_metadata(root).map_err(SnapshotError::Draft)?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() == own && found.mode() & 0o700 == 0o700 {
            return Ok(());
        }
        if let Some(instead) = self.instead() {
            return instead.settle(root);
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

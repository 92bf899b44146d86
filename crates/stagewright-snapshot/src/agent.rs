//! Who touches the files of unpacked layers.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use stagewright_exec::UserNamespace;
use stagewright_layer::{EntryKind, EntryPath, LayerIndex, Mtime, Record, WrittenLayer};

use crate::before::Before;
use crate::content::{Content, NewEntry};
use crate::create::{CreateOptions, create, times};
use crate::error::SnapshotError;
use crate::file::LayerFiles;
use crate::pack::pack_entries;
use crate::scan::{Reading, look, scan};
use crate::sys;
use crate::tree::TreeLayer;
use crate::unpack::{Unpacking, unpack};

/// The extended attributes in which overlayfs keeps its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `trusted.overlay.*`, for mounts by root.
    Trusted,
    /// `user.overlay.*`, for mounts in user namespaces (`userxattr`).
    User,
}

/// Whether the files of unpacked layers belong to whom their layers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// They do.
    Kept,
    /// All belong to the user of this process. What a step made is root's, and what it changed
    /// belongs to whom it belonged.
    One,
    /// What is made belongs to the user of this process until somebody else gives it away.
    Later,
}

impl OverlayXattrs {
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// In what a tree of files says that something below it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Devices and attributes, as the kernel's overlayfs makes them. Any other file is a file.
    Overlayfs,
    /// These, and files whose names begin with `.wh.`, as fuse-overlayfs makes them.
    Files,
}

/// What is to be taken out of the tree that a step made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// Paths to remove, what is in a directory before the directory itself.
    pub remove: Vec<EntryPath>,
    /// Directories that are no longer opaque.
    pub clear_opaque: Vec<EntryPath>,
}

/// Makes and reads the files of unpacked layers.
///
/// Root does it itself ([`DirectAgent`]). Without root the files belong to ids of a user namespace,
/// and a process in there has to do it.
pub trait TreeAgent: Send + Sync + fmt::Debug {
    /// Reads what is in a directory that nobody changes any more.
    fn scan(&self, root: &Path, marks: Marks) -> Result<LayerIndex, SnapshotError>;

    /// Looks at a directory that a step is about to change. `scratch` is a directory of the same
    /// file system.
    fn look(&self, root: &Path, scratch: &Path) -> Result<Before, SnapshotError>;

    /// Reads what is in a directory and not as it was `before`, with whiteouts for what is gone.
    fn scan_changes(&self, root: &Path, before: &Before) -> Result<LayerIndex, SnapshotError>;

    /// Makes a new directory of entries, which are in the order of paths.
    fn create(&self, root: &Path, entries: &[NewEntry]) -> Result<LayerIndex, SnapshotError>;

    /// Makes a new directory of the files of a layer, and holds few of its entries at a time.
    fn unpack(&self, layer: &Unpacking<'_>, root: &Path) -> Result<(), SnapshotError>;

    /// Writes the packed form of a layer.
    fn pack(
        &self,
        layer: &TreeLayer,
        tar: &mut dyn Write,
    ) -> Result<WrittenLayer<()>, SnapshotError>;

    /// Takes things out of a directory.
    fn prune(&self, root: &Path, prune: &Prune) -> Result<(), SnapshotError>;

    /// Sets the times of things in a directory, following no link.
    fn set_times(&self, root: &Path, paths: &[EntryPath], time: Mtime)
    -> Result<(), SnapshotError>;

    /// Returns whether files belong to whom their layers say, so that a scan finds their owners.
    fn keeps_owners(&self) -> bool;

    /// Returns the user namespace whose ids own files; nothing where this process may touch all.
    fn namespace(&self) -> Option<&Arc<UserNamespace>> {
        None
    }

    /// Gives a directory to a user and a group, as far as owners are kept, and sets its mode.
    fn give(&self, directory: &Path, owner: (u32, u32), mode: u32) -> Result<(), SnapshotError> {
        // The mode last: a change of owner may take set-id bits away.
        std::os::unix::fs::chown(directory, Some(owner.0), Some(owner.1))
            .and_then(|()| set_mode(directory, mode))
            .map_err(SnapshotError::Draft)
    }

    /// Makes the top directory of a tree one that this process may move.
    fn settle(&self, _root: &Path) -> Result<(), SnapshotError> {
        Ok(())
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs_err::set_permissions(path, permissions)
}

/// Touches files in this process.
#[derive(Debug, Clone, Copy)]
pub struct DirectAgent {
    options: CreateOptions,
}

impl DirectAgent {
    /// Returns an agent for root, that uses at most `threads` threads.
    pub fn new(overlay_xattrs: OverlayXattrs, threads: usize) -> Self {
        let owners = Owners::Kept;
        Self {
            options: CreateOptions {
                threads: threads.max(1),
                overlay_xattrs,
                owners,
            },
        }
    }

    /// Returns the agent that fits the user of this process: for root, or for one id.
    pub fn of_this_user(threads: usize) -> Self {
        if rustix::process::geteuid().is_root() {
            Self::new(OverlayXattrs::Trusted, threads)
        } else {
            Self::with_one_owner(threads)
        }
    }

    /// Returns an agent for a user who has one id to give: all files are the user's, whatever
    /// their layers say. A user namespace in which the user is root shows them as root's. Devices
    /// and attributes that only root may make are left out of unpacked forms; packed forms keep
    /// everything.
    pub fn with_one_owner(threads: usize) -> Self {
        Self::of_a_user(threads, Owners::One)
    }

    /// Returns an agent that makes files for somebody who gives them to their owners.
    pub(crate) fn with_later_owners(threads: usize) -> Self {
        Self::of_a_user(threads, Owners::Later)
    }

    fn of_a_user(threads: usize, owners: Owners) -> Self {
        let overlay_xattrs = OverlayXattrs::User;
        Self {
            options: CreateOptions {
                threads: threads.max(1),
                overlay_xattrs,
                owners,
            },
        }
    }

    fn reading(&self, marks: Marks) -> Reading {
        Reading {
            threads: self.options.threads,
            one_owner: self.options.owners == Owners::One,
            marks,
        }
    }
}

impl TreeAgent for DirectAgent {
    fn scan(&self, root: &Path, marks: Marks) -> Result<LayerIndex, SnapshotError> {
        let how = self.reading(marks);
        scan(root, how, None)
    }

    fn look(&self, root: &Path, scratch: &Path) -> Result<Before, SnapshotError> {
        look(root, scratch)
    }

    fn scan_changes(&self, root: &Path, before: &Before) -> Result<LayerIndex, SnapshotError> {
        scan(root, self.reading(Marks::Overlayfs), Some(before))
    }

    fn create(&self, root: &Path, entries: &[NewEntry]) -> Result<LayerIndex, SnapshotError> {
        create(root, entries, self.options)
    }

    fn unpack(&self, layer: &Unpacking<'_>, root: &Path) -> Result<(), SnapshotError> {
        unpack(root, layer, self.options)
    }

    fn pack(
        &self,
        layer: &TreeLayer,
        tar: &mut dyn Write,
    ) -> Result<WrittenLayer<()>, SnapshotError> {
        Ok(pack_entries(&entries_of(layer), tar)?.finish())
    }

    fn set_times(
        &self,
        root: &Path,
        paths: &[EntryPath],
        time: Mtime,
    ) -> Result<(), SnapshotError> {
        let top = sys::open_directory(root).map_err(SnapshotError::Draft)?;
        let times = times(time);
        for path in paths {
            let name = if path.is_root() {
                Path::new(".")
            } else {
                path.as_path()
            };
            rustix::fs::utimensat(&top, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(
                |errno| SnapshotError::Scan {
                    path: path.below(root),
                    source: errno.into(),
                },
            )?;
        }
        Ok(())
    }

    fn keeps_owners(&self) -> bool {
        self.options.owners == Owners::Kept
    }

    fn prune(&self, root: &Path, prune: &Prune) -> Result<(), SnapshotError> {
        let failed = |path: &EntryPath, source| SnapshotError::Remove {
            path: path.below(root),
            source,
        };
        let top = sys::open_directory(root).map_err(SnapshotError::Draft)?;
        for path in &prune.remove {
            // Some are directories: the kind is tried instead of looked up.
            let unlink = |flags| rustix::fs::unlinkat(&top, path.as_path(), flags);
            match unlink(AtFlags::empty()) {
                Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                    unlink(AtFlags::REMOVEDIR)
                }
                other => other,
            }
            .map_err(|errno| failed(path, errno.into()))?;
        }
        for path in &prune.clear_opaque {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let directory = sys::open_below(&top, path, flags, Mode::empty())
                .map_err(|source| failed(path, source))?;
            for xattrs in [OverlayXattrs::Trusted, OverlayXattrs::User] {
                match rustix::fs::fremovexattr(&directory, xattrs.opaque()) {
                    Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
                    // Without root there are no trusted attributes.
                    Err(rustix::io::Errno::PERM) if xattrs == OverlayXattrs::Trusted => {}
                    Err(errno) => return Err(failed(path, errno.into())),
                }
            }
        }
        Ok(())
    }
}

/// Returns the entries of a layer with their bytes, out of whichever form it has.
pub(crate) fn entries_of(layer: &TreeLayer) -> Vec<NewEntry> {
    let files = Arc::new(LayerFiles::new(layer.clone()));
    let records = layer.index.records().iter().enumerate();
    records
        .map(|(at, record)| entry_of(&files, at, record))
        .collect()
}

pub(crate) fn entry_of(files: &Arc<LayerFiles>, at: usize, record: &Record) -> NewEntry {
    match &record.entry.kind {
        EntryKind::File { .. } => NewEntry::File {
            path: record.entry.path.clone(),
            metadata: record.entry.metadata.clone(),
            content: Content::layer(Arc::clone(files), at),
        },
        _ => NewEntry::Other(record.entry.clone()),
    }
}

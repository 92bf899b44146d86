//! Making a tree of files.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use stagewright_digest::{ContentDigest, ContentHasher};
use stagewright_layer::{
    Entry, EntryKind, EntryPath, LayerIndex, Metadata, Mtime, Record, opaque_marker,
    whiteout_marker, xattr_belongs,
};

use crate::agent::{OverlayXattrs, Owners};
use crate::content::{Content, NewEntry};
use crate::error::SnapshotError;
use crate::parallel::on_threads;
use crate::sys;

/// Files are written in pieces of this size.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;
/// A thread takes this many entries at a time: neighbours are mostly in one directory, whose lock
/// in the kernel threads should not fight for.
pub(crate) const ENTRIES_AT_ONCE: usize = 64;

/// How a tree is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CreateOptions {
    pub(crate) threads: usize,
    pub(crate) overlay_xattrs: OverlayXattrs,
    pub(crate) owners: Owners,
}

/// Makes a tree in a new directory `root`, as overlayfs takes it for a lower one, and returns what
/// it holds. `entries` are in the order of paths, each path once.
///
/// Nothing can lead out of the directory: it is new, its directories are made first, and symbolic
/// links are made only where nothing lies below them.
pub(crate) fn create(
    root: &Path,
    entries: &[NewEntry],
    options: CreateOptions,
) -> Result<LayerIndex, SnapshotError> {
    // Nothing above a new file may be something else than a directory.
    check(entries)?;
    let tree = NewTree::begin(root, options)?;
    tree.make_directories(entries)
        .map_err(|(path, source)| tree.failed(&path, source))?;
    let mut records = tree.make_files(entries)?;
    for entry in entries {
        if let NewEntry::Other(Entry {
            path,
            kind: EntryKind::Hardlink { target },
            ..
        }) = entry
        {
            tree.link(target, path)?;
        }
    }
    // From the bottom up, after everything in them is made: that would change their times.
    for entry in entries.iter().rev() {
        if let NewEntry::Other(Entry {
            path,
            kind: EntryKind::Directory { opaque },
            metadata,
        }) = entry
        {
            tree.finish_directory(path, *opaque, metadata)
                .map_err(|source| tree.failed(path, source))?;
        }
    }
    records.sort_unstable_by_key(|(at, _)| *at);
    let records = records
        .into_iter()
        .map(|(_, entry)| Record::from(entry))
        .collect();
    LayerIndex::from_records(records).map_err(SnapshotError::Entries)
}

/// Checks that entries make a layer, before anything is made of them.
fn check(entries: &[NewEntry]) -> Result<(), SnapshotError> {
    let shape = |entry: &NewEntry| match entry {
        NewEntry::File { path, metadata, .. } => {
            let content = ContentDigest::from_bytes([0; 32]);
            let kind = EntryKind::File { bytes: 0, content };
            Entry {
                path: path.clone(),
                kind,
                metadata: metadata.clone(),
            }
        }
        NewEntry::Other(entry) => entry.clone(),
    };
    let records = entries
        .iter()
        .map(|entry| Record::from(shape(entry)))
        .collect();
    LayerIndex::from_records(records)
        .map(drop)
        .map_err(SnapshotError::Entries)
}

fn own_ids() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

pub(crate) struct NewTree<'a> {
    root: &'a Path,
    top: OwnedFd,
    pub(crate) options: CreateOptions,
    /// Who owns what this process makes.
    owner: (u32, u32),
}

impl<'a> NewTree<'a> {
    /// Makes the root directory.
    pub(crate) fn begin(root: &'a Path, options: CreateOptions) -> Result<Self, SnapshotError> {
        fs_err::create_dir(root).map_err(SnapshotError::Draft)?;
        Ok(Self {
            root,
            top: sys::open_directory(root).map_err(SnapshotError::Draft)?,
            options,
            owner: own_ids(),
        })
    }

    pub(crate) fn failed(&self, path: &EntryPath, source: io::Error) -> SnapshotError {
        SnapshotError::Create {
            path: path.clone(),
            root: self.root.to_owned(),
            source,
        }
    }

    /// Gives a file another name.
    pub(crate) fn link(&self, file: &EntryPath, name: &EntryPath) -> Result<(), SnapshotError> {
        let (old, new) = (file.as_path(), name.as_path());
        rustix::fs::linkat(&self.top, old, &self.top, new, AtFlags::empty())
            .map_err(|errno| self.failed(name, errno.into()))
    }

    /// Makes all directories, also those that are only mentioned, for nobody else to use yet.
    fn make_directories(&self, entries: &[NewEntry]) -> Result<(), (EntryPath, io::Error)> {
        let mut made: HashSet<EntryPath> = HashSet::from([EntryPath::root()]);
        for entry in entries {
            let path = entry.path();
            let is_directory = matches!(entry, NewEntry::Other(entry) if entry.kind.is_directory());
            let parent = path.parent().unwrap_or_default();
            let missing: Vec<EntryPath> = if made.contains(&parent) {
                Vec::new()
            } else {
                path.ancestors()
                    .filter(|path| !made.contains(path))
                    .collect()
            };
            let own = (is_directory && !made.contains(path)).then(|| path.clone());
            let implied = missing.len();
            for (at, directory) in missing.into_iter().chain(own).enumerate() {
                // What is only mentioned gets no attributes later.
                let mode = if at < implied { 0o755 } else { 0o700 };
                self.make_directory(&directory, mode)
                    .map_err(|source| (directory.clone(), source))?;
                made.insert(directory);
            }
        }
        Ok(())
    }

    pub(crate) fn make_directory(&self, path: &EntryPath, mode: u32) -> io::Result<()> {
        rustix::fs::mkdirat(&self.top, path.as_path(), Mode::from_raw_mode(mode))?;
        if mode != 0o700 {
            // Whatever the host's umask is.
            let flags = AtFlags::empty();
            rustix::fs::chmodat(&self.top, path.as_path(), Mode::from_raw_mode(mode), flags)?;
        }
        Ok(())
    }

    /// Makes everything but directories and hard links, in parallel. Returns all entries with
    /// their positions.
    fn make_files(&self, entries: &[NewEntry]) -> Result<Vec<(usize, Entry)>, SnapshotError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut piece = vec![0; PIECE_BYTES];
            let mut done = Vec::new();
            loop {
                let start = next.fetch_add(ENTRIES_AT_ONCE, Ordering::Relaxed);
                if start >= entries.len() {
                    return Ok(done);
                }
                for at in start..entries.len().min(start + ENTRIES_AT_ONCE) {
                    match self.make(&entries[at], &mut piece) {
                        Ok(entry) => done.push((at, entry)),
                        Err(error) => {
                            // The others stop at their next turn.
                            next.store(entries.len(), Ordering::Relaxed);
                            return Err(error);
                        }
                    }
                }
            }
        };
        let threads = self
            .options
            .threads
            .min(entries.len().div_ceil(ENTRIES_AT_ONCE))
            .max(1);
        on_threads(threads, work)
    }

    /// Makes anything but a directory or a hard link.
    pub(crate) fn make(&self, entry: &NewEntry, piece: &mut [u8]) -> Result<Entry, SnapshotError> {
        let failed = |source| self.failed(entry.path(), source);
        match entry {
            NewEntry::File {
                path,
                metadata,
                content,
            } => self.make_file(path, metadata, content, piece),
            NewEntry::Other(entry) => {
                self.make_other(entry).map_err(failed)?;
                Ok(entry.clone())
            }
        }
    }

    fn make_file(
        &self,
        path: &EntryPath,
        metadata: &Metadata,
        content: &Content,
        piece: &mut [u8],
    ) -> Result<Entry, SnapshotError> {
        let failed = |source| self.failed(path, source);
        let unread = |source| SnapshotError::Content {
            path: path.clone(),
            source,
        };
        let (_, mut reader) = content.open().map_err(unread)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file =
            sys::open_below(&self.top, path, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
        let known = content.checked_name();
        let mut hasher = ContentHasher::new();
        let mut bytes = 0u64;
        loop {
            let count = match reader.read(piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(error)),
            };
            if known.is_none() {
                hasher.update(&piece[..count]);
            }
            bytes += count as u64;
            write_all(&file, &piece[..count]).map_err(failed)?;
        }
        self.finish_open(&file, metadata).map_err(failed)?;
        let kind = EntryKind::File {
            bytes,
            content: known.unwrap_or_else(|| hasher.finish()),
        };
        Ok(Entry {
            path: path.clone(),
            kind,
            metadata: metadata.clone(),
        })
    }

    fn make_other(&self, entry: &Entry) -> io::Result<()> {
        let Entry {
            path,
            kind,
            metadata,
        } = entry;
        let at = path.as_path();
        let node = |kind: FileType, major, minor| {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(&self.top, at, kind, Mode::from_raw_mode(0o600), device)
        };
        // Root of a container has not always the right to make devices.
        let device = |kind: FileType, major, minor| match node(kind, major, minor) {
            Err(Errno::PERM) if self.options.overlay_xattrs == OverlayXattrs::User => {
                tracing::warn!(%path, "without the right to make it, a device is left out of the file system");
                Ok(false)
            }
            other => other.map(|()| true),
        };
        match kind {
            EntryKind::Directory { .. } | EntryKind::Hardlink { .. } => return Ok(()),
            EntryKind::File { .. } => {
                return Err(io::Error::other("a file was given without its content"));
            }
            EntryKind::Whiteout => {
                return match node(FileType::CharacterDevice, 0, 0) {
                    // The file system is an overlay itself: only fuse-overlayfs stacks such layers.
                    Err(Errno::PERM) => self.make_mark(&whiteout_marker(path)),
                    other => Ok(other?),
                };
            }
            EntryKind::Symlink { target } => {
                rustix::fs::symlinkat(target.as_slice(), &self.top, at)?;
            }
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } if self.lets_go() => {
                tracing::warn!(%path, "without root a device is left out of the file system");
                return Ok(());
            }
            EntryKind::CharDevice { major, minor } => {
                if !device(FileType::CharacterDevice, *major, *minor)? {
                    return Ok(());
                }
            }
            EntryKind::BlockDevice { major, minor } => {
                if !device(FileType::BlockDevice, *major, *minor)? {
                    return Ok(());
                }
            }
            EntryKind::Fifo => node(FileType::Fifo, 0, 0)?,
        }
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        if self.must_chown(metadata) {
            let (uid, gid) = ids(metadata);
            rustix::fs::chownat(&self.top, at, uid, gid, no_follow)?;
        }
        if !matches!(kind, EntryKind::Symlink { .. }) {
            let mode = Mode::from_raw_mode(metadata.mode);
            rustix::fs::chmodat(&self.top, at, mode, AtFlags::empty())?;
        }
        for (name, value) in belonging(metadata) {
            let path = path.below(self.root);
            let set = rustix::fs::lsetxattr(&path, name.as_slice(), value, XattrFlags::empty());
            self.tolerate(name, set)?;
        }
        Ok(rustix::fs::utimensat(
            &self.top,
            at,
            &times(metadata.mtime),
            no_follow,
        )?)
    }

    /// Makes a file whose name alone says something.
    fn make_mark(&self, name: &[u8]) -> io::Result<()> {
        let path = EntryPath::parse(name).map_err(io::Error::other)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        sys::open_below(&self.top, &path, flags, Mode::RUSR).map(drop)
    }

    pub(crate) fn finish_directory(
        &self,
        path: &EntryPath,
        opaque: bool,
        metadata: &Metadata,
    ) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = sys::open_below(&self.top, path, flags, Mode::empty())?;
        if opaque {
            let name = self.options.overlay_xattrs.opaque();
            match rustix::fs::fsetxattr(&directory, name, b"y", XattrFlags::empty()) {
                // As for whiteouts.
                Err(Errno::PERM | Errno::OPNOTSUPP) => {
                    self.make_mark(&opaque_marker(path))?;
                }
                other => other?,
            }
        }
        self.finish_open(&directory, metadata)
    }

    /// Sets the attributes of an open file or directory. The owner comes first: changing it clears
    /// setuid bits and capabilities. Times come last.
    fn finish_open(&self, file: &OwnedFd, metadata: &Metadata) -> io::Result<()> {
        if self.must_chown(metadata) {
            let (uid, gid) = ids(metadata);
            rustix::fs::fchown(file, uid, gid)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode))?;
        for (name, value) in belonging(metadata) {
            let set = rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            self.tolerate(name, set)?;
        }
        Ok(rustix::fs::futimens(file, &times(metadata.mtime))?)
    }

    /// Returns whether what only root may do is left out.
    fn lets_go(&self) -> bool {
        self.options.owners != Owners::Kept
    }

    fn must_chown(&self, metadata: &Metadata) -> bool {
        !self.lets_go() && (metadata.uid, metadata.gid) != self.owner
    }

    /// A file system that can't hold an attribute does not fail the build, as with containerd.
    fn tolerate(&self, name: &[u8], result: rustix::io::Result<()>) -> io::Result<()> {
        let shown = String::from_utf8_lossy(name);
        match result {
            Err(Errno::OPNOTSUPP) => {
                tracing::warn!(name = %shown, "the store's file system can't hold an attribute");
                Ok(())
            }
            // Set by whoever sets the owner.
            Err(Errno::PERM) if self.options.owners == Owners::Later => Ok(()),
            Err(Errno::PERM) if self.lets_go() => {
                tracing::warn!(name = %shown, "without root an attribute is left out");
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

fn belonging(metadata: &Metadata) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    metadata
        .xattrs
        .iter()
        .filter(|(name, _)| xattr_belongs(name))
}

fn ids(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(metadata.uid)),
        Some(Gid::from_raw(metadata.gid)),
    )
}

pub(crate) fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

//! Reading a tree of files into an index.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FileType;
use stagewright_digest::{ContentDigest, ContentHasher};
use stagewright_exec::UserNamespace;
use stagewright_layer::{
    Entry, EntryKind, EntryPath, LayerIndex, Metadata, OPAQUE_MARKER, Record, WHITEOUT_PREFIX,
    xattr_belongs,
};

use crate::agent::Marks;
use crate::before::Before;
use crate::error::SnapshotError;
use crate::look::{Here, Inside, Node, Tree, Xattrs};
use crate::parallel::on_threads;
use crate::sys;

/// Files are read in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;
/// A thread takes this many files at a time.
const FILES_AT_ONCE: usize = 16;

/// Attributes of overlayfs that say that a file's bytes or a directory's content is elsewhere.
const ELSEWHERE: [&[u8]; 4] = [
    b"trusted.overlay.redirect",
    b"trusted.overlay.metacopy",
    b"user.overlay.redirect",
    b"user.overlay.metacopy",
];
/// Attributes of overlayfs that mark a directory as opaque.
const OPAQUE: [&[u8]; 2] = [b"trusted.overlay.opaque", b"user.overlay.opaque"];
/// Where fuse-overlayfs keeps its own.
const FUSE_XATTRS: &[u8] = b"user.fuseoverlayfs.";

/// How a tree is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) threads: usize,
    /// Whether all is said to be root's: in the user namespace of the step it was.
    pub(crate) one_owner: bool,
    pub(crate) marks: Marks,
}

/// Reads the upper directory of an overlay, which nobody changes any more.
pub(crate) fn scan(
    root: &Path,
    how: Reading,
    before: Option<&Before>,
) -> Result<LayerIndex, SnapshotError> {
    read_tree(root, &here(root)?, how, before)
}

/// Looks at a tree before a step changes it.
pub(crate) fn look(root: &Path, scratch: &Path) -> Result<Before, SnapshotError> {
    Before::look(&here(root)?, scratch).map_err(|source| failed(root, &EntryPath::root(), source))
}

fn here(root: &Path) -> Result<Here, SnapshotError> {
    let top = sys::open_directory(root);
    Ok(Here(top.map_err(|source| {
        failed(root, &EntryPath::root(), source)
    })?))
}

/// As [`look`], for one whose files belong to ids of a user namespace.
pub(crate) fn look_mapped(
    root: &Path,
    scratch: &Path,
    namespace: &UserNamespace,
) -> Result<Before, SnapshotError> {
    Inside::new(root, namespace)
        .and_then(|inside| Before::look(&inside, scratch))
        .map_err(|source| failed(root, &EntryPath::root(), source))
}

/// Reads one whose files belong to ids of a user namespace.
pub(crate) fn scan_mapped(
    root: &Path,
    how: Reading,
    namespace: &UserNamespace,
    before: Option<&Before>,
) -> Result<LayerIndex, SnapshotError> {
    let inside =
        Inside::new(root, namespace).map_err(|source| failed(root, &EntryPath::root(), source))?;
    read_tree(root, &inside, how, before)
}

fn failed(root: &Path, path: &EntryPath, source: io::Error) -> SnapshotError {
    SnapshotError::Scan {
        path: path.below(root),
        source,
    }
}

fn read_tree(
    root: &Path,
    tree: &dyn Tree,
    how: Reading,
    before: Option<&Before>,
) -> Result<LayerIndex, SnapshotError> {
    let mut scan = Scan {
        tree,
        how,
        before,
        seen: HashMap::new(),
        records: Vec::new(),
        unread: Vec::new(),
        waiting: Vec::new(),
        first_names: HashMap::new(),
    };
    let top = tree
        .top()
        .map_err(|source| failed(root, &EntryPath::root(), source))?;
    scan.waiting.push((EntryPath::root(), top));
    while let Some((path, stat)) = scan.waiting.pop() {
        scan.visit(&path, &stat)
            .map_err(|source| failed(root, &path, source))?;
    }
    let Scan {
        mut records,
        unread,
        seen,
        ..
    } = scan;
    let paths: Vec<&EntryPath> = unread.iter().map(|&at| &records[at].entry.path).collect();
    let contents =
        read_all(tree, &paths, how).map_err(|(at, source)| failed(root, paths[at], source))?;
    for (at, read) in unread.into_iter().zip(contents) {
        let entry = &mut records[at].entry;
        entry.kind = EntryKind::File {
            bytes: read.bytes,
            content: read.content,
        };
        entry.metadata.xattrs = read.xattrs;
    }
    if how.marks == Marks::Files {
        // What is gone was not met under its own name.
        records.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    }
    // The other names of a file have its attributes.
    for at in 0..records.len() {
        if let EntryKind::Hardlink { target } = &records[at].entry.kind {
            let source = records.binary_search_by(|record| record.entry.path.cmp(target));
            if let Ok(source) = source {
                records[at].entry.metadata = records[source].entry.metadata.clone();
            }
        }
    }
    if let Some(before) = before {
        let stayed = |path: &EntryPath| seen.get(path) == Some(&Seen::SameDirectory);
        records.extend(before.whiteouts(|path| seen.contains_key(path), stayed));
        records.sort_unstable_by(|one, other| one.entry.path.cmp(&other.entry.path));
    }
    LayerIndex::from_records(records).map_err(SnapshotError::Entries)
}

/// What was found at a path where something may have been before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The directory that was there.
    SameDirectory,
    /// Anything else.
    Other,
}

struct Scan<'a> {
    tree: &'a dyn Tree,
    how: Reading,
    /// What is as it was then is left out.
    before: Option<&'a Before>,
    /// What was met; only with `before`.
    seen: HashMap<EntryPath, Seen>,
    records: Vec<Record>,
    /// Positions of files whose content was not read yet.
    unread: Vec<usize>,
    /// In reverse order.
    waiting: Vec<(EntryPath, Node)>,
    /// The first name of each file that has several.
    first_names: HashMap<(u64, u64), EntryPath>,
}

impl Scan<'_> {
    fn visit(&mut self, path: &EntryPath, stat: &Node) -> io::Result<()> {
        if self.how.marks == Marks::Files
            && let Some(gone) = path
                .name()
                .and_then(|name| name.strip_prefix(WHITEOUT_PREFIX))
        {
            let directory = path.parent().unwrap_or_else(EntryPath::root);
            let gone = directory.child(gone).map_err(io::Error::other)?;
            self.records.push(Entry::whiteout(gone).into());
            return Ok(());
        }
        let mut replaced = false;
        if let Some(before) = self.before {
            replaced = stat.is_directory() && before.is_replaced(path, stat);
            let seen = match stat.is_directory() && !replaced {
                true => Seen::SameDirectory,
                false => Seen::Other,
            };
            self.seen.insert(path.clone(), seen);
            if !stat.is_directory() && before.is_same(path, stat) {
                return Ok(());
            }
        }
        let (uid, gid) = if self.how.one_owner {
            (0, 0)
        } else {
            (stat.uid, stat.gid)
        };
        let mut metadata = Metadata {
            mode: stat.mode & 0o7777,
            uid,
            gid,
            mtime: stat.mtime,
            ..Metadata::default()
        };
        let device = (
            rustix::fs::major(stat.special),
            rustix::fs::minor(stat.special),
        );
        let kind = match FileType::from_raw_mode(stat.mode) {
            FileType::Directory => {
                let (opaque, xattrs) = self.list(path)?;
                metadata.xattrs = xattrs;
                EntryKind::Directory {
                    opaque: opaque || replaced,
                }
            }
            FileType::CharacterDevice if device == (0, 0) => {
                self.records.push(Entry::whiteout(path.clone()).into());
                return Ok(());
            }
            _ if stat.links > 1 && self.is_another_name(path, stat) => {
                let target = self.first_names[&stat.file].clone();
                EntryKind::Hardlink { target }
            }
            FileType::RegularFile => {
                self.unread.push(self.records.len());
                let content = ContentDigest::from_bytes([0; 32]);
                EntryKind::File { bytes: 0, content }
            }
            FileType::Symlink => EntryKind::Symlink {
                target: self.tree.link(path)?,
            },
            FileType::CharacterDevice => EntryKind::CharDevice {
                major: device.0,
                minor: device.1,
            },
            FileType::BlockDevice => EntryKind::BlockDevice {
                major: device.0,
                minor: device.1,
            },
            FileType::Fifo => EntryKind::Fifo,
            // A socket means nothing without the process that made it.
            _ => return Ok(()),
        };
        self.records.push(
            Entry {
                path: path.clone(),
                kind,
                metadata,
            }
            .into(),
        );
        Ok(())
    }

    fn is_another_name(&mut self, path: &EntryPath, stat: &Node) -> bool {
        let first = self
            .first_names
            .entry(stat.file)
            .or_insert_with(|| path.clone());
        first != path
    }

    /// Queues what is in a directory, and returns whether it is opaque, and its attributes.
    fn list(&mut self, path: &EntryPath) -> io::Result<(bool, Xattrs)> {
        let (mut children, all) = self.tree.list(path)?;
        children.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let mut opaque = OPAQUE
            .iter()
            .any(|name| all.get(*name).is_some_and(|value| value == b"y"));
        if self.how.marks == Marks::Files {
            opaque |= children.iter().any(|(name, _)| name == OPAQUE_MARKER);
            children.retain(|(name, _)| name != OPAQUE_MARKER);
        }
        for (name, node) in children {
            let path = path.child(&name).map_err(io::Error::other)?;
            self.waiting.push((path, node));
        }
        Ok((opaque, own_xattrs(all, self.how.marks)?))
    }
}

/// Keeps the attributes that belong to an image.
fn own_xattrs(mut all: Xattrs, marks: Marks) -> io::Result<Xattrs> {
    if ELSEWHERE.iter().any(|name| all.contains_key(*name)) {
        let message = "overlayfs keeps a part of it elsewhere: the overlay must be mounted with redirect_dir=off and metacopy=off";
        return Err(io::Error::other(message));
    }
    all.retain(|name, _| {
        xattr_belongs(name) && (marks == Marks::Overlayfs || !name.starts_with(FUSE_XATTRS))
    });
    Ok(all)
}

/// What was read of one file.
struct ReadFile {
    bytes: u64,
    content: ContentDigest,
    xattrs: Xattrs,
}

/// Reads files in parallel. An error comes with the position of its path.
fn read_all(
    tree: &dyn Tree,
    paths: &[&EntryPath],
    how: Reading,
) -> Result<Vec<ReadFile>, (usize, io::Error)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut piece = vec![0; PIECE_BYTES];
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(FILES_AT_ONCE, Ordering::Relaxed);
            if start >= paths.len() {
                return Ok(done);
            }
            for (at, path) in paths.iter().enumerate().skip(start).take(FILES_AT_ONCE) {
                let read =
                    read_one(tree, path, how.marks, &mut piece).map_err(|error| (at, error))?;
                done.push((at, read));
            }
        }
    };
    let threads = how.threads.min(paths.len().div_ceil(FILES_AT_ONCE)).max(1);
    let mut all = on_threads(threads, work)?;
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, read)| read).collect())
}

fn read_one(
    tree: &dyn Tree,
    path: &EntryPath,
    marks: Marks,
    piece: &mut [u8],
) -> io::Result<ReadFile> {
    let file = tree.open(path)?;
    let mut hasher = ContentHasher::new();
    let mut bytes = 0;
    loop {
        let count = match rustix::io::read(&file, &mut *piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        hasher.update(&piece[..count]);
        bytes += count as u64;
    }
    let xattrs = own_xattrs(tree.xattrs(path, &file)?, marks)?;
    Ok(ReadFile {
        bytes,
        content: hasher.finish(),
        xattrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_are_files_are_read_as_marks() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("upper");
        let files = [
            "z",
            ".wh.y",
            "new/.wh..wh..opq",
            "new/f",
            "old/.wh.f",
            "old/.wh.a",
        ];
        for file in files {
            let path = root.join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        fs_err::hard_link(root.join("z"), root.join("new/z")).unwrap();
        rustix::fs::setxattr(
            root.join("new"),
            "user.fuseoverlayfs.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        let how = Reading {
            threads: 1,
            one_owner: true,
            marks: Marks::Files,
        };
        let index = scan(&root, how, None).unwrap();
        let found: Vec<String> = index
            .entries()
            .map(|entry| {
                assert!(entry.metadata.xattrs.is_empty());
                let kind = match &entry.kind {
                    EntryKind::Directory { opaque: true } => "opaque".to_owned(),
                    EntryKind::Directory { .. } => "directory".to_owned(),
                    EntryKind::Hardlink { target } => format!("link to {target}"),
                    EntryKind::Whiteout => "gone".to_owned(),
                    _ => "file".to_owned(),
                };
                format!("{} {kind}", entry.path)
            })
            .collect();
        assert_eq!(
            found[1..],
            [
                "/new opaque",
                "/new/f file",
                "/new/z file",
                "/old directory",
                "/old/a gone",
                "/old/f gone",
                "/y gone",
                "/z link to /new/z",
            ]
        );
    }
}

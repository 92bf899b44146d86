//! The entries of one layer, in order.

use std::ops::Range;

use stagewright_digest::ContentDigest;
use thiserror::Error;

use crate::content::TreeHasher;
use crate::entry::{Entry, EntryKind};
use crate::path::{EntryPath, compare};

/// Entries that do not make a layer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IndexFault {
    /// Two entries have the same path, or they are not in order.
    #[error("{path} comes twice or out of order")]
    Order {
        /// The path of the second of them.
        path: EntryPath,
    },
    /// The root is something else than a directory.
    #[error("the root of a layer must be a directory")]
    Root,
    /// An entry lies below one that is not a directory.
    #[error("{path} lies below something that is not a directory")]
    BelowNonDirectory {
        /// The path of the lower one.
        path: EntryPath,
    },
    /// A hard link whose target is not an earlier entry that can be linked to.
    #[error("{path} is a hard link to {target}, which is not an earlier file of the layer")]
    Hardlink {
        /// The path of the link.
        path: EntryPath,
        /// What it names as its target.
        target: EntryPath,
    },
    /// Mode bits or nanoseconds out of range.
    #[error("{path} has a mode or a time that is out of range")]
    Range {
        /// The path.
        path: EntryPath,
    },
}

/// A piece of a sparse file that is stored in the tar; what lies between pieces is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where the piece begins in the file.
    pub file_offset: u64,
    /// Where it begins in the tar.
    pub tar_offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Where a file's bytes are in the packed form of its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileData {
    /// In one piece.
    Whole {
        /// Where it begins in the tar.
        offset: u64,
    },
    /// In pieces, in the order of the file.
    Sparse {
        /// The pieces.
        extents: Vec<Extent>,
    },
}

/// One entry and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry.
    pub entry: Entry,
    /// Where a file's bytes are in the packed form, when there is one. Nothing for other kinds,
    /// hard links included.
    pub data: Option<FileData>,
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        Self { entry, data: None }
    }
}

/// The entries of one layer, in the order of their paths.
///
/// A directory that holds entries need not have an entry itself: tar archives leave directories
/// out, and a lower layer then says what their attributes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerIndex {
    records: Vec<Record>,
    /// Follows from the records, as what comes after it.
    implied: Vec<EntryPath>,
    has_hard_links: bool,
}

/// One name in a directory of a layer.
#[derive(Debug, Clone)]
pub struct Child<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Its own entry; nothing for a directory that the layer only mentions in longer paths.
    pub entry: Option<&'a Entry>,
    /// The positions of its entry and of everything below it.
    pub subtree: Range<usize>,
}

impl LayerIndex {
    /// Makes an index of entries in any order.
    ///
    /// # Errors
    /// When they do not make a layer.
    pub fn from_records(mut records: Vec<Record>) -> Result<Self, IndexFault> {
        if !records.is_sorted_by(|a, b| a.entry.path < b.entry.path) {
            records.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        }
        Self::from_sorted(records)
    }

    /// Makes an index of entries that are in order.
    ///
    /// # Errors
    /// When they are not, or do not make a layer.
    pub(crate) fn from_sorted(records: Vec<Record>) -> Result<Self, IndexFault> {
        let is_link = |record: &Record| matches!(record.entry.kind, EntryKind::Hardlink { .. });
        let mut index = Self {
            has_hard_links: records.iter().any(is_link),
            records,
            implied: Vec::new(),
        };
        index.validate()?;
        index.implied = index.find_implied();
        Ok(index)
    }

    fn validate(&self) -> Result<(), IndexFault> {
        // The non-directory that came last: everything below it would follow directly.
        let mut leaf: Option<&EntryPath> = None;
        let mut last: Option<&EntryPath> = None;
        for record in &self.records {
            let Entry {
                path,
                kind,
                metadata,
            } = &record.entry;
            if last.is_some_and(|last| last >= path) {
                return Err(IndexFault::Order { path: path.clone() });
            }
            if leaf.is_some_and(|leaf| is_within(path.as_bytes(), leaf.as_bytes())) {
                return Err(IndexFault::BelowNonDirectory { path: path.clone() });
            }
            if path.is_root() && !kind.is_directory() {
                return Err(IndexFault::Root);
            }
            if metadata.mode > 0o7777 || metadata.mtime.nanos >= 1_000_000_000 {
                return Err(IndexFault::Range { path: path.clone() });
            }
            if let EntryKind::Hardlink { target } = kind {
                let source = self
                    .get(target)
                    .filter(|source| target < path && is_linkable(&source.kind));
                if source.is_none() {
                    let (path, target) = (path.clone(), target.clone());
                    return Err(IndexFault::Hardlink { path, target });
                }
            }
            if !kind.is_directory() {
                leaf = Some(path);
            }
            last = Some(path);
        }
        Ok(())
    }

    /// Returns whether a file may have several names.
    pub fn has_hard_links(&self) -> bool {
        self.has_hard_links
    }

    /// Returns the directories that hold entries and have none themselves, in order.
    pub fn implied_directories(&self) -> &[EntryPath] {
        &self.implied
    }

    fn find_implied(&self) -> Vec<EntryPath> {
        let mut implied = Vec::new();
        // The directories above the entry, from the root down: in the order of paths each was seen
        // before what it holds.
        let mut open: Vec<EntryPath> = vec![EntryPath::root()];
        for entry in self.entries() {
            let path = entry.path.as_bytes();
            while open
                .last()
                .is_some_and(|open| !is_within(path, open.as_bytes()))
            {
                open.pop();
            }
            // Mostly an entry lies directly in one that is there.
            let is_in_open = open
                .last()
                .is_some_and(|open| entry.path.is_directly_in(open));
            if !is_in_open && entry.path.components().count() > open.len() {
                let missing: Vec<_> = entry.path.ancestors().skip(open.len()).collect();
                implied.extend(missing.iter().cloned());
                open.extend(missing);
            }
            if entry.kind.is_directory() && !entry.path.is_root() {
                open.push(entry.path.clone());
            }
        }
        implied
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> + DoubleEndedIterator {
        self.records.iter().map(|record| &record.entry)
    }

    /// Returns the entries in order, with where their bytes are.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Returns the entries in order, with where their bytes are.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Returns the entry at a path.
    pub fn get(&self, path: &EntryPath) -> Option<&Entry> {
        self.record(path).map(|record| &record.entry)
    }

    /// Returns the entry at a path, with where its bytes are.
    pub fn record(&self, path: &EntryPath) -> Option<&Record> {
        let at = self
            .records
            .binary_search_by(|record| record.entry.path.cmp(path))
            .ok()?;
        Some(&self.records[at])
    }

    /// Returns `record` itself, or for a hard link what it links to.
    pub fn source<'a>(&'a self, record: &'a Record) -> &'a Record {
        match &record.entry.kind {
            EntryKind::Hardlink { target } => self
                .record(target)
                .expect("because targets were checked when the index was made"),
            _ => record,
        }
    }

    /// Returns the positions of the entry at `directory` and of everything below it.
    pub fn subtree(&self, directory: &EntryPath) -> Range<usize> {
        self.subtree_within(0..self.records.len(), directory.as_bytes())
    }

    /// Returns the names directly in a directory.
    pub fn children<'a>(
        &'a self,
        directory: &'a EntryPath,
    ) -> impl Iterator<Item = Child<'a>> + 'a {
        self.children_within(self.subtree(directory), directory.as_bytes())
    }

    /// As [`LayerIndex::children`], when the positions of the subtree are known.
    pub fn children_within<'a>(
        &'a self,
        subtree: Range<usize>,
        directory: &'a [u8],
    ) -> impl Iterator<Item = Child<'a>> + 'a {
        let end = subtree.end;
        let mut at = subtree.start;
        if at < end && self.path_at(at) == directory {
            at += 1;
        }
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let path = self.path_at(at);
            let begin = if directory.is_empty() {
                0
            } else {
                directory.len() + 1
            };
            let length = path[begin..].iter().position(|&byte| byte == b'/');
            let stop = length.map_or(path.len(), |length| begin + length);
            let child = &path[..stop];
            let subtree = self.subtree_within(at..end, child);
            let entry = (path.len() == stop).then(|| &self.records[at].entry);
            at = subtree.end;
            Some(Child {
                name: &path[begin..stop],
                entry,
                subtree,
            })
        })
    }

    /// Returns the positions, within `range`, of the entry at `directory` and everything below it.
    pub fn subtree_within(&self, range: Range<usize>, directory: &[u8]) -> Range<usize> {
        let records = &self.records[range.clone()];
        let path = |record: &Record| -> std::cmp::Ordering {
            compare(record.entry.path.as_bytes(), directory)
        };
        let skipped = records.partition_point(|record| path(record).is_lt());
        let rest = &records[skipped..];
        // Subtrees are mostly small: gallop before bisecting.
        let mut bound = 1;
        let within = |record: &Record| is_within(record.entry.path.as_bytes(), directory);
        while bound < rest.len() && within(&rest[bound - 1]) {
            bound *= 2;
        }
        let bound = bound.min(rest.len());
        let count = rest[..bound].partition_point(within);
        let start = range.start + skipped;
        start..start + count
    }

    fn path_at(&self, at: usize) -> &[u8] {
        self.records[at].entry.path.as_bytes()
    }

    /// Returns the name of what the layer holds, without its times.
    pub fn content_digest(&self) -> ContentDigest {
        let mut hasher = TreeHasher::new();
        for record in &self.records {
            hasher.add(&record.entry.path, &self.source(record).entry);
        }
        hasher.finish()
    }

    /// Returns the sum of the files' lengths, each hard-linked file once.
    pub fn content_bytes(&self) -> u64 {
        let lengths = self.entries().map(|entry| match entry.kind {
            EntryKind::File { bytes, .. } => bytes,
            _ => 0,
        });
        lengths.fold(0, u64::saturating_add)
    }
}

/// Returns whether the bytes of a path are those of `directory` or of something below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Returns whether another name of it can be made.
pub(crate) fn is_linkable(kind: &EntryKind) -> bool {
    !matches!(
        kind,
        EntryKind::Hardlink { .. } | EntryKind::Directory { .. } | EntryKind::Whiteout
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metadata;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    fn entry(at: &str, kind: EntryKind) -> Record {
        Entry {
            path: path(at),
            kind,
            metadata: Metadata::with_mode(0o644),
        }
        .into()
    }

    fn file(at: &str) -> Record {
        let content = ContentDigest::of(at.as_bytes());
        entry(
            at,
            EntryKind::File {
                bytes: at.len() as u64,
                content,
            },
        )
    }

    fn directory(at: &str) -> Record {
        entry(at, EntryKind::Directory { opaque: false })
    }

    fn link(at: &str, target: &str) -> Record {
        entry(
            at,
            EntryKind::Hardlink {
                target: path(target),
            },
        )
    }

    fn names<'a>(children: impl Iterator<Item = Child<'a>>) -> Vec<(String, bool, usize)> {
        children
            .map(|child| {
                let name = String::from_utf8(child.name.to_vec()).unwrap();
                (name, child.entry.is_some(), child.subtree.len())
            })
            .collect()
    }

    #[test]
    fn children_and_subtrees() {
        let records = ["etc/passwd", "etc/a/b/c", "etc-x", "usr", "etc.d/f"].map(file);
        let mut records = records.to_vec();
        records.push(directory("etc"));
        let index = LayerIndex::from_records(records).unwrap();
        let root = [
            ("etc", true, 3),
            ("etc-x", true, 1),
            ("etc.d", false, 1),
            ("usr", true, 1),
        ];
        let expected = |list: &[(&str, bool, usize)]| -> Vec<_> {
            list.iter()
                .map(|(name, own, count)| ((*name).to_owned(), *own, *count))
                .collect()
        };
        assert_eq!(names(index.children(&path(""))), expected(&root));
        let etc = [("a", false, 1), ("passwd", true, 1)];
        assert_eq!(names(index.children(&path("etc"))), expected(&etc));
        assert_eq!(names(index.children(&path("nothing"))), []);
        assert_eq!(index.subtree(&path("etc")), 0..3);
        assert_eq!(index.subtree(&path("")), 0..6);
        assert!(index.get(&path("etc/a")).is_none());
        assert_eq!(
            index.implied_directories(),
            ["etc/a", "etc/a/b", "etc.d"].map(path)
        );
        assert!(index.get(&path("etc/a/b/c")).is_some());
    }

    #[test]
    fn what_is_no_layer_is_refused() {
        let cases = [
            (vec![file("a"), file("a")], "comes twice"),
            (vec![file("a"), file("a/b")], "not a directory"),
            (vec![file("")], "must be a directory"),
            (vec![link("a", "b"), file("b")], "hard link"),
            (vec![link("b", "a")], "hard link"),
            (vec![directory("a"), link("b", "a")], "hard link"),
            (vec![file("a"), link("b", "a"), link("c", "b")], "hard link"),
        ];
        for (records, expected) in cases {
            let fault = LayerIndex::from_records(records).unwrap_err().to_string();
            assert!(fault.contains(expected), "{fault}");
        }
        let mut wide = file("a");
        wide.entry.metadata.mode = 0o100_644;
        assert!(LayerIndex::from_records(vec![wide]).is_err());
        LayerIndex::from_records(vec![file("a"), link("b", "a"), file("a.b/c")]).unwrap();
    }

    #[test]
    fn a_hard_link_hashes_like_its_source() {
        let linked = LayerIndex::from_records(vec![file("a"), link("b", "a")]).unwrap();
        let mut copy = file("a");
        copy.entry.path = path("b");
        let copied = LayerIndex::from_records(vec![file("a"), copy]).unwrap();
        assert_eq!(linked.content_digest(), copied.content_digest());
        assert_eq!(linked.content_bytes(), 1);
    }
}

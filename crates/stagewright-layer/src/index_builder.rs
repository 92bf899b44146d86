//! An index of a tar whose entries come in any order, some of them twice.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, Write};

use stagewright_digest::{ContentDigest, DiffId};
use thiserror::Error;

use crate::arena::Place;
use crate::codec;
use crate::content::TreeHasher;
use crate::entry::{Entry, EntryKind, Metadata};
use crate::index::{FileData, IndexFault, LayerIndex, Record};
use crate::name_tree::{Kind, NameTree, Node};
use crate::path::EntryPath;
use crate::reader::{LayerItem, LayerReader, ReadError};
use crate::stored::IndexWriter;

/// The most symbolic links that are followed on the way to one entry, as in Linux.
const LINKS_MAX: usize = 40;

/// An entry that can't be added to the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildFault {
    /// A hard link to something that the layer does not hold.
    #[error("{path} is a hard link to {target}, which the layer does not hold before it")]
    MissingTarget {
        /// The link.
        path: EntryPath,
        /// What it names.
        target: EntryPath,
    },
    /// An entry would lie below something that is not a directory.
    #[error("{path} can't be made: {ancestor} is not a directory")]
    NotADirectory {
        /// The entry.
        path: EntryPath,
        /// What is above it.
        ancestor: EntryPath,
    },
    /// Symbolic links in the layer lead nowhere.
    #[error("{path} can't be made: too many symbolic links, or one leads out of the image")]
    Links {
        /// The entry.
        path: EntryPath,
    },
    /// The root of the image can only be a directory.
    #[error("the root of the image must be a directory")]
    Root,
    /// The result is no layer.
    #[error(transparent)]
    Entries(#[from] IndexFault),
}

/// A layer's tar can't be indexed.
#[derive(Debug, Error)]
pub enum ReadIndexError {
    /// The tar can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What it holds is no layer.
    #[error("the layer's tar can't be used")]
    Entries(#[from] BuildFault),
    /// The index can't be written.
    #[error("can't write the layer's index")]
    Write(#[from] io::Error),
}

/// What the files of a tar are after all its entries were extracted in their order.
///
/// Of entries with the same path the last one counts, except that a directory keeps what it holds.
/// A whiteout concerns lower layers only, wherever it comes: together with a directory at the same
/// path it makes that opaque. An entry below a symbolic link of the same layer lies where the link
/// points. Of the names of a hard-linked file the first in the order of paths becomes the file.
///
/// It takes about 45 bytes an entry and what its name and its record in a stored index take: a layer of others may
/// have a million entries.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    /// What is said of a name is its record as an index stores it.
    tree: NameTree,
    /// Where the records of files with several names lie.
    linked: HashSet<Place>,
    encoded: Vec<u8>,
}

impl IndexBuilder {
    /// Starts without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry; for a file also where its bytes are. Returns the path where it lies, which
    /// differs from its own when a directory above it is a symbolic link.
    ///
    /// # Errors
    /// When it can't be extracted after those before it.
    pub fn add(
        &mut self,
        mut entry: Entry,
        data: Option<FileData>,
    ) -> Result<EntryPath, BuildFault> {
        let path = self.resolve_parent(&entry.path)?;
        if path.is_root() && !entry.kind.is_directory() {
            return Err(BuildFault::Root);
        }
        let source = match &entry.kind {
            EntryKind::Whiteout => {
                self.add_whiteout(&path, entry);
                return Ok(path);
            }
            EntryKind::Hardlink { target } => {
                let target = self.resolve_parent(target)?;
                let source = self.tree.find(&target);
                let linkable = [Kind::Other, Kind::Symlink];
                let source = source.filter(|source| linkable.contains(&self.tree.kind(*source)));
                let Some(source) = source else {
                    return Err(BuildFault::MissingTarget { path, target });
                };
                if target == path {
                    return Ok(path);
                }
                Some((self.tree.kind(source), self.tree.said(source)))
            }
            _ => None,
        };
        let node = self.open(&path)?;
        if let Some((kind, said)) = source {
            self.tree.clear_below(node);
            self.linked.insert(said);
            self.tree.say_again(node, kind, said);
            return Ok(path);
        }
        match (self.tree.kind(node), &mut entry.kind) {
            // A directory keeps what it holds when another comes.
            (Kind::Directory, EntryKind::Directory { opaque }) => {
                *opaque |= self.tree.is_opaque(node);
            }
            // What the whiteout said stays true of lower layers.
            (Kind::Whiteout, EntryKind::Directory { opaque }) => *opaque = true,
            (_, EntryKind::Directory { .. }) => {}
            _ => self.tree.clear_below(node),
        }
        self.say(node, Record { entry, data });
        Ok(path)
    }

    /// Says that a directory hides what lower layers hold in it.
    ///
    /// # Errors
    /// When it is not a directory.
    pub fn mark_opaque(&mut self, directory: &EntryPath) -> Result<(), BuildFault> {
        let directory = self.resolve_parent(directory)?;
        let node = self.open(&directory)?;
        match self.tree.kind(node) {
            Kind::Directory => self.tree.set_opaque(node),
            Kind::Mentioned | Kind::Whiteout => self.say(node, implied_directory()),
            Kind::Symlink | Kind::Other => {
                let (path, ancestor) = (directory.clone(), directory);
                return Err(BuildFault::NotADirectory { path, ancestor });
            }
        }
        Ok(())
    }

    /// Returns the index.
    ///
    /// # Errors
    /// When the entries do not make a layer.
    pub fn finish(self) -> Result<LayerIndex, BuildFault> {
        let mut records = Vec::with_capacity(self.tree.entries());
        self.each(|record, _| -> Result<(), BuildFault> {
            records.push(record);
            Ok(())
        })?;
        Ok(LayerIndex::from_sorted(records)?)
    }

    /// Writes the index as [`LayerIndex::encode`] does, without making one, and returns what is to be known of it.
    ///
    /// # Errors
    /// When the entries do not make a layer, or it can't be written.
    pub fn store<W: Write + Seek>(self, writer: W) -> Result<StoredIndex, ReadIndexError> {
        let mut writer = IndexWriter::new(writer, self.tree.entries())?;
        let mut hasher = TreeHasher::new();
        let mut content_bytes = 0u64;
        self.each(|record, source| -> Result<(), ReadIndexError> {
            let path = &record.entry.path;
            hasher.add(path, source.unwrap_or(&record.entry));
            if let EntryKind::File { bytes, .. } = record.entry.kind {
                content_bytes = content_bytes.saturating_add(bytes);
            }
            Ok(writer.add(&record)?)
        })?;
        let entries = self.tree.entries() as u64;
        writer.finish()?;
        Ok(StoredIndex {
            entries,
            content_bytes,
            content: hasher.finish(),
        })
    }

    /// Passes on all records in the order of paths; with a hard link's also what it links to.
    fn each<E: From<BuildFault>>(
        &self,
        mut take: impl FnMut(Record, Option<&Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut first_names: HashMap<Place, Node> = HashMap::new();
        // The last name above everything that follows which is no directory, by the length of its path.
        let mut leaf_bytes = None;
        let mut path: Vec<u8> = Vec::new();
        let mut waiting = vec![(NameTree::ROOT, 0)];
        while let Some((node, above_bytes)) = waiting.pop() {
            path.truncate(above_bytes);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(self.tree.name(node));
            let below = self.tree.below(node);
            waiting.extend(below.iter().rev().map(|node| (*node, path.len())));
            let kind = self.tree.kind(node);
            if kind == Kind::Mentioned {
                continue;
            }
            let path = EntryPath::parse(&path).expect("because it is made of names of paths");
            if leaf_bytes.is_some_and(|bytes| above_bytes >= bytes) {
                return Err(BuildFault::from(IndexFault::BelowNonDirectory { path }).into());
            }
            leaf_bytes =
                (kind != Kind::Directory && !below.is_empty()).then(|| path.as_bytes().len());
            let said = self.tree.said(node);
            let mut record = codec::read_record(self.tree.at(said), path);
            if let EntryKind::Directory { opaque } = &mut record.entry.kind {
                *opaque = self.tree.is_opaque(node);
            }
            if !self.linked.contains(&said) {
                take(record, None)?;
                continue;
            }
            let first = *first_names.entry(said).or_insert(node);
            if first == node {
                take(record, None)?;
                continue;
            }
            let target = self.tree.path(first);
            let link = Entry {
                path: record.entry.path.clone(),
                kind: EntryKind::Hardlink { target },
                metadata: record.entry.metadata.clone(),
            };
            take(Record::from(link), Some(&record.entry))?;
        }
        Ok(())
    }

    /// A whiteout hides what is below, never what this layer holds.
    fn add_whiteout(&mut self, path: &EntryPath, entry: Entry) {
        let mut node = NameTree::ROOT;
        for name in path.components() {
            node = self.tree.child_or_new(node, name);
        }
        match self.tree.kind(node) {
            Kind::Directory => self.tree.set_opaque(node),
            Kind::Mentioned if self.tree.has_below(node) => self.say(node, implied_directory()),
            Kind::Mentioned => self.say(node, entry.into()),
            _ => {}
        }
    }

    /// Makes sure that everything above a path can be a directory, and returns the node of the path.
    fn open(&mut self, path: &EntryPath) -> Result<Node, BuildFault> {
        let Some(name) = path.name() else {
            return Ok(NameTree::ROOT);
        };
        if let Some(directory) = self.tree.last_directory_of(path) {
            return Ok(self.tree.child_or_new(directory, name));
        }
        let depth = path.components().count() - 1;
        let mut node = NameTree::ROOT;
        for (at, name) in path.components().take(depth).enumerate() {
            node = self.tree.child_or_new(node, name);
            match self.tree.kind(node) {
                Kind::Mentioned | Kind::Directory => {}
                Kind::Whiteout => self.say(node, implied_directory()),
                Kind::Symlink | Kind::Other => {
                    let ancestor = path.ancestors().nth(at + 1).unwrap_or_default();
                    let path = path.clone();
                    return Err(BuildFault::NotADirectory { path, ancestor });
                }
            }
        }
        self.tree.note_directory_of(path, node);
        Ok(self.tree.child_or_new(node, name))
    }

    fn say(&mut self, node: Node, record: Record) {
        let (kind, opaque) = match record.entry.kind {
            EntryKind::Directory { opaque } => (Kind::Directory, opaque),
            EntryKind::Symlink { .. } => (Kind::Symlink, false),
            EntryKind::Whiteout => (Kind::Whiteout, false),
            _ => (Kind::Other, false),
        };
        self.encoded.clear();
        codec::put_record(&mut self.encoded, &record);
        self.tree.say(node, kind, opaque, &self.encoded);
    }

    /// Follows the symbolic links of this layer above a path, never out of the root.
    fn resolve_parent(&self, path: &EntryPath) -> Result<EntryPath, BuildFault> {
        if self.tree.last_directory_of(path).is_some() || !self.has_link_above(path) {
            return Ok(path.clone());
        }
        let broken = || BuildFault::Links { path: path.clone() };
        let mut waiting: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        let Some(name) = waiting.pop() else {
            return Ok(path.clone());
        };
        waiting.reverse();
        let mut at = EntryPath::root();
        let mut links = 0;
        while let Some(component) = waiting.pop() {
            if component.is_empty() || component == b"." {
                continue;
            }
            if component == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            let next = at.child(&component).map_err(|_| broken())?;
            let node = self.tree.find(&next);
            let Some(link) = node.filter(|node| self.tree.kind(*node) == Kind::Symlink) else {
                at = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(broken());
            }
            let record = codec::read_record(self.tree.at(self.tree.said(link)), next);
            let EntryKind::Symlink { target } = record.entry.kind else {
                return Err(broken());
            };
            if target.starts_with(b"/") {
                at = EntryPath::root();
            }
            waiting.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
        }
        at.child(&name).map_err(|_| broken())
    }

    fn has_link_above(&self, path: &EntryPath) -> bool {
        let depth = path.components().count().saturating_sub(1);
        let mut node = NameTree::ROOT;
        for name in path.components().take(depth) {
            match self.tree.child(node, name) {
                Some(next) if self.tree.kind(next) == Kind::Symlink => return true,
                Some(next) => node = next,
                None => return false,
            }
        }
        false
    }
}

fn implied_directory() -> Record {
    let mut entry = Entry::directory(EntryPath::root(), Metadata::with_mode(0o755));
    entry.kind = EntryKind::Directory { opaque: true };
    entry.into()
}

/// What is to be known of an index that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIndex {
    /// The number of entries.
    pub entries: u64,
    /// The sum of the files' lengths, as [`LayerIndex::content_bytes`] gives it.
    pub content_bytes: u64,
    /// The name of what the layer holds, as [`LayerIndex::content_digest`] gives it.
    pub content: ContentDigest,
}

/// A tar that was read to its end.
#[derive(Debug)]
pub struct ReadLayer {
    /// What it holds, and where.
    pub index: LayerIndex,
    /// The name of the tar.
    pub diff_id: DiffId,
    /// Its length.
    pub bytes: u64,
}

/// A tar that was read to its end, and whose index was stored.
#[derive(Debug)]
pub struct IndexedLayer {
    /// What is to be known of the index.
    pub index: StoredIndex,
    /// The name of the tar.
    pub diff_id: DiffId,
    /// Its length.
    pub bytes: u64,
}

/// Reads an uncompressed tar to its end, hashing it and the content of its files.
///
/// # Errors
/// When it can't be read, or holds what an image can't.
pub fn read_index<R: Read>(reader: R) -> Result<ReadLayer, ReadIndexError> {
    let (builder, diff_id, bytes) = read_entries(reader)?;
    Ok(ReadLayer {
        index: builder.finish()?,
        diff_id,
        bytes,
    })
}

/// As [`read_index`], and writes the index as [`LayerIndex::encode`] does: in much less memory than it takes.
///
/// # Errors
/// As there, and when it can't be written.
pub fn store_index<R: Read, W: Write + Seek>(
    reader: R,
    index: W,
) -> Result<IndexedLayer, ReadIndexError> {
    let (builder, diff_id, bytes) = read_entries(reader)?;
    Ok(IndexedLayer {
        index: builder.store(index)?,
        diff_id,
        bytes,
    })
}

fn read_entries<R: Read>(reader: R) -> Result<(IndexBuilder, DiffId, u64), ReadIndexError> {
    let mut reader = LayerReader::new(io::BufReader::with_capacity(128 * 1024, reader));
    let mut builder = IndexBuilder::new();
    while let Some(item) = reader.next()? {
        match item {
            LayerItem::File(file) => {
                let (entry, data) = file.finish()?;
                builder.add(entry, Some(data))?;
            }
            LayerItem::Other(entry) => {
                builder.add(entry, None)?;
            }
            LayerItem::Opaque(directory) => builder.mark_opaque(&directory)?,
        }
    }
    let (_, diff_id, bytes) = reader.finish()?;
    Ok((builder, diff_id, bytes))
}

#[cfg(test)]
mod tests {
    use stagewright_digest::ContentDigest;

    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::clean(text.as_bytes()).unwrap()
    }

    /// Adds lines as a tar would have them: `path content`, `path/`, `-path` (whiteout), `path!`
    /// (opaque marker), `path -> target`, `path = target` (hard link).
    fn built(lines: &[&str]) -> Result<IndexBuilder, BuildFault> {
        let mut builder = IndexBuilder::new();
        for (line, number) in lines.iter().zip(1u32..) {
            let (name, kind) = if let Some(gone) = line.strip_prefix('-') {
                (gone, EntryKind::Whiteout)
            } else if let Some(directory) = line.strip_suffix('!') {
                builder.mark_opaque(&path(directory))?;
                continue;
            } else if let Some((name, target)) = line.split_once(" -> ") {
                (
                    name,
                    EntryKind::Symlink {
                        target: target.into(),
                    },
                )
            } else if let Some((name, target)) = line.split_once(" = ") {
                (
                    name,
                    EntryKind::Hardlink {
                        target: path(target),
                    },
                )
            } else if let Some(name) = line.strip_suffix('/') {
                (name, EntryKind::Directory { opaque: false })
            } else {
                let (name, content) = line.split_once(' ').unwrap();
                let bytes = content.len() as u64;
                (
                    name,
                    EntryKind::File {
                        bytes,
                        content: ContentDigest::of(content.as_bytes()),
                    },
                )
            };
            let data = matches!(kind, EntryKind::File { .. }).then_some(FileData::Whole {
                offset: number.into(),
            });
            let entry = Entry {
                path: path(name),
                kind,
                metadata: Metadata::with_mode(number),
            };
            builder.add(entry, data)?;
        }
        Ok(builder)
    }

    /// Both ways to the index give the same.
    fn index(builder: IndexBuilder, again: IndexBuilder) -> Result<LayerIndex, BuildFault> {
        let mut stored = io::Cursor::new(Vec::new());
        let known = again.store(&mut stored);
        let index = builder.finish();
        match (&index, known) {
            (Ok(index), Ok(known)) => {
                assert_eq!(stored.into_inner(), index.encode());
                let expected = StoredIndex {
                    entries: index.len() as u64,
                    content_bytes: index.content_bytes(),
                    content: index.content_digest(),
                };
                assert_eq!(known, expected);
            }
            (Err(fault), Err(ReadIndexError::Entries(other))) => assert_eq!(*fault, other),
            (index, known) => panic!("{index:?} and {known:?}"),
        }
        index
    }

    fn build(lines: &[&str]) -> Result<LayerIndex, BuildFault> {
        index(built(lines)?, built(lines)?)
    }

    fn listing(index: &LayerIndex) -> Vec<String> {
        let lines = index.records().iter().map(|record| {
            let Entry {
                path,
                kind,
                metadata,
            } = &record.entry;
            let kind = match kind {
                EntryKind::File { .. } => match record.data {
                    Some(FileData::Whole { offset }) => format!("at {offset}"),
                    _ => "without data".to_owned(),
                },
                EntryKind::Directory { opaque: false } => "directory".to_owned(),
                EntryKind::Directory { opaque: true } => "opaque".to_owned(),
                EntryKind::Symlink { .. } => "link".to_owned(),
                EntryKind::Hardlink { target } => format!("= {target}"),
                EntryKind::Whiteout => return format!("{path} gone"),
                other => format!("{other:?}"),
            };
            format!("{path} {kind} {:o}", metadata.mode)
        });
        lines.collect()
    }

    #[test]
    fn what_is_left_is_what_extraction_leaves() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["b 1", "a 2"], &["/a at 2 2", "/b at 1 1"]),
            (&["a 1", "a 2"], &["/a at 2 2"]),
            (&["a/", "a/b 1", "a/"], &["/a directory 3", "/a/b at 2 2"]),
            (&["a/", "a/b 1", "a 2"], &["/a at 3 3"]),
            (&["a 1", "a/", "a/b 2"], &["/a directory 2", "/a/b at 3 3"]),
            (
                &["a/b/c 1", "a 2", "a/", "a/b/d 3"],
                &["/a directory 3", "/a/b/d at 4 4"],
            ),
            (
                &["a-b 1", "a/b 2", "a 3", "-a"],
                &["/a at 3 3", "/a-b at 1 1"],
            ),
            (
                &["a/b 1", "a/c 2", "a 3", "-a/b", "a/"],
                &["/a directory 5", "/a/b gone"],
            ),
            // The first name in order is the file, whichever came first.
            (&["b 1", "a = b"], &["/a at 1 1", "/b = /a 1"]),
            (&["a 1", "b = a", "a 2"], &["/a at 3 3", "/b at 1 1"]),
            (
                &["a 1", "b = a", "c = b", "a/"],
                &["/a directory 4", "/b at 1 1", "/c = /b 1"],
            ),
            (&["a 1", "a = a"], &["/a at 1 1"]),
            (&["s -> x", "t = s"], &["/s link 1", "/t = /s 1"]),
            // Whiteouts concern what lies below, wherever they come.
            (&["-a"], &["/a gone"]),
            (&["-a", "a 1"], &["/a at 2 2"]),
            (&["a 1", "-a"], &["/a at 1 1"]),
            (&["-a", "a/"], &["/a opaque 2"]),
            (&["a/", "a/b 1", "-a"], &["/a opaque 1", "/a/b at 2 2"]),
            (&["a/b 1", "-a"], &["/a opaque 755", "/a/b at 1 1"]),
            (&["-a", "a/b 1"], &["/a opaque 755", "/a/b at 2 2"]),
            (&["a/", "a!"], &["/a opaque 1"]),
            (&["a!", "a/"], &["/a opaque 2"]),
            (&["a!", "a/b 1"], &["/a opaque 755", "/a/b at 2 2"]),
            (&["/!"], &["/ opaque 755"]),
            // Below a symbolic link of the layer.
            (
                &["usr/", "lib -> usr/lib", "lib/x 1"],
                &["/lib link 2", "/usr directory 1", "/usr/lib/x at 3 3"],
            ),
            (
                &["a -> /b/../c", "a/x 1", "d = a/x"],
                &["/a link 1", "/c/x at 2 2", "/d = /c/x 2"],
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(listing(&build(lines).unwrap()), *expected, "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_extracted_is_refused() {
        let cases: &[(&[&str], &str)] = &[
            (&["a 1", "a/b 2"], "/a is not a directory"),
            (&["a = b"], "does not hold before it"),
            (&["a = b", "b 1"], "does not hold before it"),
            (&["a/", "b = a"], "does not hold before it"),
            (&["a -> a", "a/b 1"], "too many symbolic links"),
            (&["a -> b", "b -> a", "a/c 1"], "too many symbolic links"),
            (&["a 1", "a!"], "not a directory"),
            (&["/ 1"], "must be a directory"),
            (&["-/"], "must be a directory"),
            (&["a 1", "-a/b"], "below something that is not a directory"),
            (&["a/b/c 1", "a/b 2", "-a/b/c/d"], "/a/b/c/d lies below"),
        ];
        for (lines, expected) in cases {
            let fault = build(lines).unwrap_err().to_string();
            assert!(fault.contains(expected), "{lines:?}: {fault}");
        }
    }
}

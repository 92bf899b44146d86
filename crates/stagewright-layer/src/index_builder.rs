//! An index of a tar whose entries come in any order, some of them twice.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::ops::Bound;

use stagewright_digest::DiffId;
use thiserror::Error;

use crate::entry::{Entry, EntryKind, Metadata};
use crate::index::{FileData, IndexFault, LayerIndex, Record, is_linkable};
use crate::path::EntryPath;
use crate::reader::{LayerItem, LayerReader, ReadError};

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
}

/// What the files of a tar are after all its entries were extracted in their order.
///
/// Of entries with the same path the last one counts, except that a directory keeps what it holds.
/// A whiteout concerns lower layers only, wherever it comes: together with a directory at the same
/// path it makes that opaque. An entry below a symbolic link of the same layer lies where the link
/// points. Of the names of a hard-linked file the first in the order of paths becomes the file.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    slots: BTreeMap<EntryPath, Slot>,
    files: u64,
}

#[derive(Debug)]
struct Slot {
    kind: EntryKind,
    metadata: Metadata,
    data: Option<FileData>,
    /// The same number for all names of a file.
    file: u64,
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
    pub fn add(&mut self, entry: Entry, data: Option<FileData>) -> Result<EntryPath, BuildFault> {
        let Entry {
            path,
            kind,
            metadata,
        } = entry;
        let path = self.resolve_parent(&path)?;
        if path.is_root() && !kind.is_directory() {
            return Err(BuildFault::Root);
        }
        self.files += 1;
        let mut slot = Slot {
            kind,
            metadata,
            data,
            file: self.files,
        };
        match &slot.kind {
            EntryKind::Whiteout => {
                self.add_whiteout(path.clone(), slot);
                return Ok(path);
            }
            EntryKind::Hardlink { target } => {
                let target = self.resolve_parent(target)?;
                let source = self
                    .slots
                    .get(&target)
                    .filter(|source| is_linkable(&source.kind));
                let Some(source) = source else {
                    return Err(BuildFault::MissingTarget { path, target });
                };
                if target == path {
                    return Ok(path);
                }
                slot = source.again();
            }
            _ => {}
        }
        self.open_ancestors(&path)?;
        self.replace(&path, &mut slot);
        self.slots.insert(path.clone(), slot);
        Ok(path)
    }

    /// Says that a directory hides what lower layers hold in it.
    ///
    /// # Errors
    /// When it is not a directory.
    pub fn mark_opaque(&mut self, directory: &EntryPath) -> Result<(), BuildFault> {
        let directory = self.resolve_parent(directory)?;
        self.open_ancestors(&directory)?;
        let slot = self
            .slots
            .entry(directory.clone())
            .or_insert_with(Slot::implied_directory);
        match &mut slot.kind {
            EntryKind::Directory { opaque } => *opaque = true,
            EntryKind::Whiteout => *slot = Slot::implied_directory(),
            _ => {
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
        let mut first_names: HashMap<u64, EntryPath> = HashMap::new();
        let mut records = Vec::with_capacity(self.slots.len());
        for (path, slot) in self.slots {
            let (mut kind, mut data) = (slot.kind, slot.data);
            if is_linkable(&kind) {
                let first = first_names.entry(slot.file).or_insert_with(|| path.clone());
                if *first != path {
                    (kind, data) = (
                        EntryKind::Hardlink {
                            target: first.clone(),
                        },
                        None,
                    );
                }
            }
            let entry = Entry {
                path,
                kind,
                metadata: slot.metadata,
            };
            records.push(Record { entry, data });
        }
        Ok(LayerIndex::from_sorted(records)?)
    }

    /// A whiteout hides what is below, never what this layer holds.
    fn add_whiteout(&mut self, path: EntryPath, slot: Slot) {
        match self.slots.get_mut(&path) {
            Some(Slot {
                kind: EntryKind::Directory { opaque },
                ..
            }) => *opaque = true,
            Some(_) => {}
            None => {
                let implied = self.first_below(&path).is_some();
                let slot = if implied {
                    Slot::implied_directory()
                } else {
                    slot
                };
                self.slots.insert(path, slot);
            }
        }
    }

    /// Removes what is at a path, except that a directory keeps what it holds when another comes.
    fn replace(&mut self, path: &EntryPath, new: &mut Slot) {
        match (self.slots.get(path).map(|old| &old.kind), &mut new.kind) {
            (Some(EntryKind::Directory { opaque: before }), EntryKind::Directory { opaque }) => {
                *opaque |= before;
            }
            // What the whiteout said stays true of lower layers.
            (Some(EntryKind::Whiteout), EntryKind::Directory { opaque }) => *opaque = true,
            (_, EntryKind::Directory { .. }) => {}
            _ => {
                while let Some(below) = self.first_below(path) {
                    self.slots.remove(&below);
                }
            }
        }
    }

    /// Makes sure that everything above a path can be a directory.
    fn open_ancestors(&mut self, path: &EntryPath) -> Result<(), BuildFault> {
        for ancestor in path.ancestors() {
            match self.slots.get_mut(&ancestor) {
                None
                | Some(Slot {
                    kind: EntryKind::Directory { .. },
                    ..
                }) => {}
                Some(slot) if slot.kind == EntryKind::Whiteout => *slot = Slot::implied_directory(),
                Some(_) => {
                    return Err(BuildFault::NotADirectory {
                        path: path.clone(),
                        ancestor,
                    });
                }
            }
        }
        Ok(())
    }

    fn first_below(&self, path: &EntryPath) -> Option<EntryPath> {
        let after = (Bound::Excluded(path), Bound::Unbounded);
        let (next, _) = self.slots.range::<EntryPath, _>(after).next()?;
        next.is_within(path).then(|| next.clone())
    }

    /// Follows the symbolic links of this layer above a path, never out of the root.
    fn resolve_parent(&self, path: &EntryPath) -> Result<EntryPath, BuildFault> {
        let is_link = |ancestor: &EntryPath| {
            matches!(
                self.slots.get(ancestor),
                Some(Slot {
                    kind: EntryKind::Symlink { .. },
                    ..
                })
            )
        };
        if !path.ancestors().any(|ancestor| is_link(&ancestor)) {
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
            let Some(Slot {
                kind: EntryKind::Symlink { target },
                ..
            }) = self.slots.get(&next)
            else {
                at = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(broken());
            }
            if target.starts_with(b"/") {
                at = EntryPath::root();
            }
            waiting.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
        }
        at.child(&name).map_err(|_| broken())
    }
}

impl Slot {
    fn implied_directory() -> Self {
        Self {
            kind: EntryKind::Directory { opaque: true },
            metadata: Metadata::with_mode(0o755),
            data: None,
            file: 0,
        }
    }

    /// Another name of the same file.
    fn again(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            metadata: self.metadata.clone(),
            data: self.data.clone(),
            file: self.file,
        }
    }
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

/// Reads an uncompressed tar to its end, hashing it and the content of its files.
///
/// # Errors
/// When it can't be read, or holds what an image can't.
pub fn read_index<R: Read>(reader: R) -> Result<ReadLayer, ReadIndexError> {
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
    Ok(ReadLayer {
        index: builder.finish()?,
        diff_id,
        bytes,
    })
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
    fn build(lines: &[&str]) -> Result<LayerIndex, BuildFault> {
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
        builder.finish()
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
        ];
        for (lines, expected) in cases {
            let fault = build(lines).unwrap_err().to_string();
            assert!(fault.contains(expected), "{lines:?}: {fault}");
        }
    }
}

//! A read-only view of a stack of layers, merged without mounting or unpacking anything.

mod difference;

use std::io::{self, Read as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use stagewright_exec::UserNamespace;
use stagewright_layer::{Child, Entry, EntryKind, EntryPath, InvalidPath, LayerIndex, Metadata};
use thiserror::Error;

use crate::content::Content;
use crate::damage::Keeper;
use crate::file::{FileReader, LayerFiles};

/// The most symbolic links that are followed on the way to one path, as in Linux.
const LINKS_MAX: usize = 40;

/// A merged view can't be read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// Symbolic links lead in a circle.
    #[error("{path} can't be resolved: too many symbolic links")]
    Links {
        /// The path that was asked for.
        path: String,
    },
    /// The path or a link on the way holds what no path can.
    #[error("{path} can't be resolved")]
    Path {
        /// The path that was asked for.
        path: String,
        /// What is wrong.
        #[source]
        source: InvalidPath,
    },
    /// Something that is not a file was to be read.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What it is called.
        path: EntryPath,
    },
    /// A file is longer than the caller allows.
    #[error("{path} has {bytes} bytes, at most {bytes_max} are read")]
    TooLarge {
        /// The file.
        path: EntryPath,
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The bytes of a file can't be read.
    #[error("can't read {path} out of its layer")]
    Read {
        /// The file.
        path: EntryPath,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// One layer of a stack: what it holds, and where the bytes of its files are.
#[derive(Debug, Clone)]
pub struct TreeLayer {
    /// What it holds.
    pub index: Arc<LayerIndex>,
    /// Its packed form, when there is one.
    pub packed: Option<PathBuf>,
    /// Its unpacked form, when there is one.
    pub unpacked: Option<PathBuf>,
    /// Who is told when its bytes turn out to be damaged, when it is stored.
    pub keeper: Option<Keeper>,
    /// The user namespace to whose ids its unpacked form belongs, where that is needed to read it.
    pub namespace: Option<Arc<UserNamespace>>,
}

/// The same for all names of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    layer: usize,
    record: usize,
}

/// What lies at a path of the merged view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The entry at its path. Never a whiteout or a hard link: all names of a file are files.
    pub entry: Entry,
    /// Which file it is; nothing for a directory that no layer has an entry for.
    file: Option<FileId>,
}

impl TreeEntry {
    /// Returns where it is.
    pub fn path(&self) -> &EntryPath {
        &self.entry.path
    }

    /// Returns what it is.
    pub fn kind(&self) -> &EntryKind {
        &self.entry.kind
    }

    /// Returns which file it is: two entries with the same are hard links to one file.
    pub fn file_id(&self) -> Option<FileId> {
        self.file
    }
}

/// Where a path leads, symbolic links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without symbolic links, except perhaps its last component.
    pub path: EntryPath,
    /// What is there; nothing when the path does not exist. Then the components that don't exist
    /// are taken as they are written.
    pub entry: Option<TreeEntry>,
}

/// The merged view of a stack of layers, as overlayfs would show it.
///
/// Lookups bisect the layers' indexes; nothing is merged ahead of time.
#[derive(Debug, Clone, Default)]
pub struct MergedTree {
    /// From the bottom up.
    layers: Vec<Arc<LayerFiles>>,
}

/// A path of the view: its own entry, and the parts of layers in which its children are.
#[derive(Debug, Clone)]
struct Node {
    path: EntryPath,
    entry: Option<FileId>,
    /// From the top down. Empty for what is not a directory.
    parts: Vec<Part>,
    /// Nothing that lies below these layers is seen here.
    hides: bool,
}

impl Node {
    fn exists(&self) -> bool {
        self.entry.is_some() || !self.parts.is_empty() || self.path.is_root()
    }
}

#[derive(Debug, Clone)]
struct Part {
    layer: usize,
    subtree: Range<usize>,
}

impl MergedTree {
    /// Views layers, given from the bottom up.
    pub fn new(layers: impl IntoIterator<Item = TreeLayer>) -> Self {
        Self {
            layers: layers
                .into_iter()
                .map(|layer| Arc::new(LayerFiles::new(layer)))
                .collect(),
        }
    }

    /// Returns the view with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: TreeLayer) -> Self {
        let mut layers = self.layers.clone();
        layers.push(Arc::new(LayerFiles::new(layer)));
        Self { layers }
    }

    /// Returns the number of layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Returns what is at a path. No symbolic link is followed.
    pub fn lookup(&self, path: &EntryPath) -> Option<TreeEntry> {
        self.node(path).map(|node| self.entry_of(&node))
    }

    /// Follows the symbolic links of a path inside the root, as a process in the image would. The
    /// path may have leading slashes and components `.` and `..`. The last component is followed
    /// only when `follow_last` says so.
    ///
    /// # Errors
    /// When links lead in a circle, or a component can't be one.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved, TreeError> {
        let text = || String::from_utf8_lossy(path).into_owned();
        let mut waiting: Vec<Vec<u8>> = path.split(is_slash).rev().map(<[u8]>::to_vec).collect();
        let mut at = EntryPath::root();
        let mut links = 0;
        while let Some(component) = waiting.pop() {
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_default();
                    continue;
                }
                _ => {}
            }
            let next = at.child(&component).map_err(|source| TreeError::Path {
                path: text(),
                source,
            })?;
            let is_last = waiting.iter().all(|component| component.is_empty());
            let target = match self.lookup(&next) {
                Some(TreeEntry {
                    entry:
                        Entry {
                            kind: EntryKind::Symlink { target },
                            ..
                        },
                    ..
                }) if follow_last || !is_last => target,
                _ => {
                    at = next;
                    continue;
                }
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(TreeError::Links { path: text() });
            }
            if target.starts_with(b"/") {
                at = EntryPath::root();
            }
            waiting.extend(target.split(is_slash).rev().map(<[u8]>::to_vec));
        }
        Ok(Resolved {
            entry: self.lookup(&at),
            path: at,
        })
    }

    /// Returns the entries of a directory in the order of their names; none when it is not one.
    pub fn children(&self, directory: &EntryPath) -> Vec<TreeEntry> {
        let Some(node) = self.node(directory) else {
            return Vec::new();
        };
        self.child_nodes(&node)
            .iter()
            .map(|child| self.entry_of(child))
            .collect()
    }

    /// Returns what is at a path and everything below it, in the order of paths: a directory comes
    /// before what it holds.
    pub fn walk(&self, path: &EntryPath) -> Walk<'_> {
        Walk {
            tree: self,
            waiting: self.node(path).into_iter().collect(),
            flat: None,
        }
    }

    /// Opens a file for reading, out of whichever form its layer has. What is read is checked
    /// against the file's name: damage is an error at the end of the file.
    ///
    /// # Errors
    /// When it is not a file or can't be opened.
    pub fn open(&self, entry: &TreeEntry) -> Result<FileReader, TreeError> {
        let path = || entry.path().clone();
        let Some(FileId { layer, record }) = entry.file else {
            return Err(TreeError::NotAFile { path: path() });
        };
        let files = self
            .layers
            .get(layer)
            .filter(|files| record < files.index().len());
        let (Some(files), EntryKind::File { .. }) = (files, entry.kind()) else {
            return Err(TreeError::NotAFile { path: path() });
        };
        files.open(record).map_err(|source| TreeError::Read {
            path: path(),
            source,
        })
    }

    /// Reads a small file such as `/etc/passwd`, following symbolic links; nothing when it does
    /// not exist.
    ///
    /// # Errors
    /// When it is not a file, is larger than `bytes_max`, or can't be read.
    pub fn read_small(&self, path: &[u8], bytes_max: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let Some(found) = self.resolve(path, true)?.entry else {
            return Ok(None);
        };
        let path = found.path().clone();
        let &EntryKind::File { bytes, .. } = found.kind() else {
            return Err(TreeError::NotAFile { path });
        };
        if bytes > bytes_max {
            return Err(TreeError::TooLarge {
                path,
                bytes,
                bytes_max,
            });
        }
        let mut content = Vec::new();
        let read = self.open(&found)?.read_to_end(&mut content);
        read.map_err(|source| TreeError::Read { path, source })?;
        Ok(Some(content))
    }

    /// Returns the content of a file, to be copied to another layer; nothing for other kinds.
    pub fn content(&self, entry: &TreeEntry) -> Option<Content> {
        self.content_of(entry.file?)
    }

    /// Returns the content of what an entry of this view is; nothing for what is no file.
    pub fn content_of(&self, file: FileId) -> Option<Content> {
        let FileId { layer, record } = file;
        let files = self.layers.get(layer)?;
        let found = files.index().records().get(record)?;
        let is_file = matches!(found.entry.kind, EntryKind::File { .. });
        is_file.then(|| Content::layer(Arc::clone(files), record))
    }

    /// Returns whether a file of this view may have several names.
    pub fn may_be_linked(&self, file: FileId) -> bool {
        let files = self.layers.get(file.layer);
        files.is_some_and(|files| files.index().has_hard_links())
    }

    /// Returns the directories that some layer mentions without an entry of its own, so that an
    /// unpacked form of that layer has made-up attributes for them.
    pub(crate) fn implied_directories(&self) -> Vec<EntryPath> {
        let layers = self.layers.iter();
        let mut implied: Vec<EntryPath> = layers
            .flat_map(|files| files.index().implied_directories().iter().cloned())
            .collect();
        implied.sort();
        implied.dedup();
        implied
    }

    fn node(&self, path: &EntryPath) -> Option<Node> {
        let all = self.layers.iter().enumerate().rev();
        let parts = all.map(|(layer, files)| Part {
            layer,
            subtree: 0..files.index().len(),
        });
        let mut node = self.merge(EntryPath::root(), parts.collect())?;
        for component in path.components() {
            let child = node.path.child(component).ok()?;
            let narrow = |part: Part| {
                let index = self.layers[part.layer].index();
                let subtree = index.subtree_within(part.subtree, child.as_bytes());
                (!subtree.is_empty()).then_some(Part {
                    layer: part.layer,
                    subtree,
                })
            };
            let parts = node.parts.into_iter().filter_map(narrow).collect();
            node = self.merge(child, parts)?;
        }
        Some(node)
    }

    /// Merges the parts of layers, from the top down, that are at or below a path; nothing when
    /// nothing is left there.
    fn merge(&self, path: EntryPath, parts: Vec<Part>) -> Option<Node> {
        let node = self.stack(path, parts);
        node.exists().then_some(node)
    }

    /// Merges the parts of layers, from the top down, that are at or below a path.
    fn stack(&self, path: EntryPath, parts: Vec<Part>) -> Node {
        let mut node = Node {
            path,
            entry: None,
            parts: Vec::with_capacity(parts.len()),
            hides: false,
        };
        for part in parts {
            let index = self.layers[part.layer].index();
            let position = part.subtree.start;
            let own = index
                .records()
                .get(position)
                .filter(|own| own.entry.path == node.path);
            let Some(own) = own else {
                node.parts.push(part);
                continue;
            };
            let id = FileId {
                layer: part.layer,
                record: position,
            };
            match own.entry.kind {
                EntryKind::Whiteout => node.hides = true,
                EntryKind::Directory { opaque } => {
                    node.entry.get_or_insert(id);
                    node.parts.push(part);
                    node.hides = opaque;
                }
                _ => {
                    // Below a directory it is hidden.
                    if node.parts.is_empty() {
                        node.entry = Some(id);
                    }
                    node.hides = true;
                }
            }
            if node.hides {
                break;
            }
        }
        node
    }

    fn child_nodes(&self, node: &Node) -> Vec<Node> {
        let mut nodes = Vec::new();
        self.each_child(node, |path, parts| nodes.extend(self.merge(path, parts)));
        nodes
    }

    /// Gives each path in a directory, in the order of names, and the parts of layers that are at or below
    /// it.
    fn each_child(&self, node: &Node, mut give: impl FnMut(EntryPath, Vec<Part>)) {
        let directory = node.path.as_bytes();
        let mut lists: Vec<_> = node
            .parts
            .iter()
            .map(|part| {
                let index = self.layers[part.layer].index();
                (
                    part.layer,
                    index
                        .children_within(part.subtree.clone(), directory)
                        .peekable(),
                )
            })
            .collect();
        loop {
            let names = lists
                .iter_mut()
                .filter_map(|(_, list)| list.peek().map(|next| next.name));
            let Some(name) = names.min() else {
                return;
            };
            let mut parts = Vec::new();
            for (layer, list) in &mut lists {
                if let Some(Child { subtree, .. }) = list.next_if(|next| next.name == name) {
                    parts.push(Part {
                        layer: *layer,
                        subtree,
                    });
                }
            }
            let path = node
                .path
                .child(name)
                .expect("because it was read as a component");
            give(path, parts);
        }
    }

    fn entry_of(&self, node: &Node) -> TreeEntry {
        let path = node.path.clone();
        let Some(FileId { layer, record }) = node.entry else {
            let entry = Entry::directory(path, Metadata::with_mode(0o755));
            return TreeEntry { entry, file: None };
        };
        self.entry_at(layer, record, path)
    }

    /// Returns what a record of a layer is, at a path.
    fn entry_at(&self, layer: usize, record: usize, path: EntryPath) -> TreeEntry {
        let index = self.layers[layer].index();
        let (record, source) = source(index, record);
        let kind = match &source.kind {
            EntryKind::Directory { .. } => EntryKind::Directory { opaque: false },
            kind => kind.clone(),
        };
        let entry = Entry {
            path,
            kind,
            metadata: source.metadata.clone(),
        };
        TreeEntry {
            entry,
            file: Some(FileId { layer, record }),
        }
    }
}

/// Returns the position and the entry of what a record links to, or of itself.
fn source(index: &LayerIndex, record: usize) -> (usize, &Entry) {
    let own = &index.records()[record].entry;
    match &own.kind {
        EntryKind::Hardlink { target } => {
            let position = index.subtree(target).start;
            (position, &index.records()[position].entry)
        }
        _ => (record, own),
    }
}

fn is_slash(byte: &u8) -> bool {
    *byte == b'/'
}

/// Entries of a merged view in the order of paths; see [`MergedTree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a MergedTree,
    /// In reverse order.
    waiting: Vec<Node>,
    /// What comes before them: a subtree that one layer alone has.
    flat: Option<Part>,
}

impl Walk<'_> {
    /// Returns how many entries are left at most.
    pub fn entries_max(&self) -> usize {
        let parts = self.waiting.iter().flat_map(|node| &node.parts);
        let below: usize = parts.chain(&self.flat).map(|part| part.subtree.len()).sum();
        self.waiting.len() + below
    }

    /// Leaves out what is below the directory that was returned last.
    pub fn skip_subtree(&mut self, directory: &EntryPath) {
        if let Some(part) = &mut self.flat {
            let records = self.tree.layers[part.layer].index().records();
            let is_below = |at: &usize| records[*at].entry.path.is_within(directory);
            let skipped = part.subtree.clone().take_while(is_below).count();
            part.subtree.start += skipped;
        }
        while self
            .waiting
            .last()
            .is_some_and(|next| next.path.is_within(directory))
        {
            self.waiting.pop();
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = TreeEntry;

    fn next(&mut self) -> Option<TreeEntry> {
        while let Some(part) = &mut self.flat {
            let Some(at) = part.subtree.next() else {
                self.flat = None;
                break;
            };
            let entry = &self.tree.layers[part.layer].index().records()[at].entry;
            if entry.kind != EntryKind::Whiteout {
                return Some(self.tree.entry_at(part.layer, at, entry.path.clone()));
            }
        }
        let mut node = self.waiting.pop()?;
        if let [part] = &node.parts[..]
            && self.tree.layers[part.layer]
                .index()
                .implied_directories()
                .is_empty()
        {
            let own = usize::from(node.entry.is_some());
            self.flat = node.parts.pop().map(|Part { layer, subtree }| Part {
                layer,
                subtree: subtree.start + own..subtree.end,
            });
        } else if !node.parts.is_empty() {
            let children = self.tree.child_nodes(&node);
            self.waiting.extend(children.into_iter().rev());
        }
        Some(self.tree.entry_of(&node))
    }
}

#[cfg(test)]
mod tests {
    use stagewright_digest::ContentDigest;
    use stagewright_layer::Record;

    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    /// Makes a layer of lines `path`, `path/` (directory), `path!` (opaque directory), `-path`
    /// (whiteout), `path -> target` (symbolic link), `path = target` (hard link).
    ///
    /// Nothing for lines that make no layer.
    pub(super) fn layer(number: u32, lines: &[&str]) -> Option<TreeLayer> {
        let records = lines.iter().map(|line| {
            let (name, kind) = if let Some(gone) = line.strip_prefix('-') {
                (gone, EntryKind::Whiteout)
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
            } else if let Some(name) = line.strip_suffix('!') {
                (name, EntryKind::Directory { opaque: true })
            } else {
                let content = ContentDigest::of(format!("{number}{line}").as_bytes());
                (*line, EntryKind::File { bytes: 1, content })
            };
            let metadata = Metadata {
                mode: 0o700 + number,
                ..Metadata::default()
            };
            Record::from(Entry {
                path: path(name),
                kind,
                metadata,
            })
        });
        LayerIndex::from_records(records.collect())
            .ok()
            .map(of_index)
    }

    pub(super) fn of_index(index: LayerIndex) -> TreeLayer {
        TreeLayer {
            index: Arc::new(index),
            packed: None,
            unpacked: None,
            keeper: None,
            namespace: None,
        }
    }

    pub(super) fn tree(layers: &[&[&str]]) -> MergedTree {
        let layers = layers.iter().zip(0..);
        MergedTree::new(layers.map(|(lines, number)| layer(number, lines).unwrap()))
    }

    /// Lists paths, each with the number of the layer that gives its attributes.
    fn listing(tree: &MergedTree) -> Vec<String> {
        tree.walk(&EntryPath::root())
            .skip(1)
            .map(|entry| {
                let path = entry.path().as_path().to_str().unwrap();
                assert_eq!(tree.lookup(entry.path()).as_ref(), Some(&entry), "{path}");
                match entry.file_id() {
                    None => format!("{path} ?"),
                    Some(_) => format!("{path} {:o}", entry.entry.metadata.mode & 7),
                }
            })
            .collect()
    }

    #[test]
    fn layers_merge_as_overlayfs_merges_them() {
        let cases: &[(&[&[&str]], &[&str])] = &[
            (
                &[&["a", "b/", "b/c"], &["b/", "b/d"]],
                &["a 0", "b 1", "b/c 0", "b/d 1"],
            ),
            (&[&["a", "b"], &["-a"]], &["b 0"]),
            (&[&["d/", "d/a"], &["-d"]], &[]),
            (&[&["d/", "d/a"], &["-d"], &["d/"]], &["d 2"]),
            (&[&["d/", "d/a"], &["d!", "d/b"]], &["d 1", "d/b 1"]),
            (&[&["d/", "d/a"], &["d"]], &["d 1"]),
            (&[&["d/", "d/a"], &["d"], &["d/"]], &["d 2"]),
            (&[&["d"], &["d/", "d/a"]], &["d 1", "d/a 1"]),
            (&[&["d/", "d/a"], &["d/b"]], &["d 0", "d/a 0", "d/b 1"]),
            (&[&["d/e/f"]], &["d ?", "d/e ?", "d/e/f 0"]),
            (&[&["d/", "d/e/", "d/e/f"], &["-d/e/f"]], &["d 0", "d/e 0"]),
            (
                &[&["d/", "d/e", "d/f"], &["-d/e"], &["d/e"]],
                &["d 0", "d/e 2", "d/f 0"],
            ),
            (&[&["a", "b/", "b/x"], &["!"], &["c"]], &["c 2"]),
            (
                &[&["a-b", "a/", "a/b", "a.b"]],
                &["a 0", "a/b 0", "a-b 0", "a.b 0"],
            ),
        ];
        for (layers, expected) in cases {
            assert_eq!(listing(&tree(layers)), *expected, "{layers:?}");
        }
    }

    #[test]
    fn hard_links_are_files_that_know_each_other() {
        let tree = tree(&[&["a", "b = a", "c"], &["-a"]]);
        let of = |name: &str| tree.lookup(&path(name));
        assert_eq!(of("a"), None);
        let (b, c) = (of("b").unwrap(), of("c").unwrap());
        assert!(matches!(b.kind(), EntryKind::File { .. }));
        assert_ne!(b.file_id(), c.file_id());
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let tree = tree(&[&[
            "usr/",
            "usr/lib/",
            "usr/lib/x",
            "lib -> usr/lib",
            "abs -> /usr/lib",
            "up -> ../../usr",
            "loop -> loop",
            "dangling -> nothing/here",
            "last -> lib/x",
        ]]);
        let cases = [
            ("/lib/x", true, Some("usr/lib/x"), true),
            ("abs/x", true, Some("usr/lib/x"), true),
            ("up/lib/../lib/./x/", true, Some("usr/lib/x"), true),
            ("../../usr", true, Some("usr"), true),
            ("lib", false, Some("lib"), true),
            ("lib/", false, Some("lib"), true),
            ("lib", true, Some("usr/lib"), true),
            ("last", true, Some("usr/lib/x"), true),
            ("dangling", true, Some("nothing/here"), false),
            ("lib/new/dir", true, Some("usr/lib/new/dir"), false),
            ("loop", true, None, false),
            ("loop", false, Some("loop"), true),
            ("", true, Some(""), true),
        ];
        for (text, follow_last, expected, exists) in cases {
            let found = tree.resolve(text.as_bytes(), follow_last).ok();
            assert_eq!(
                found.as_ref().map(|found| found.path.clone()),
                expected.map(path),
                "{text}"
            );
            assert_eq!(
                found.is_some_and(|found| found.entry.is_some()),
                exists,
                "{text}"
            );
        }
    }

    #[test]
    fn the_empty_tree_is_an_empty_directory() {
        let tree = tree(&[]);
        assert!(tree.lookup(&path("")).unwrap().kind().is_directory());
        assert!(tree.children(&path("")).is_empty());
        assert_eq!(tree.lookup(&path("a")), None);
        assert_eq!(tree.read_small(b"/etc/passwd", 100).unwrap(), None);
    }

    #[test]
    fn a_walk_can_leave_subtrees_out() {
        let tree = tree(&[&["a/", "a/b", "c"], &["a/d/e"]]);
        let mut walk = tree.walk(&EntryPath::root());
        let mut seen = Vec::new();
        while let Some(entry) = walk.next() {
            walk.skip_subtree(&path("a"));
            seen.push(entry.path().to_string());
        }
        assert_eq!(seen, ["/", "/c"]);
    }
}

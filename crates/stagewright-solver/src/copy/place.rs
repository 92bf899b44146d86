//! Says which entry goes where in the root file system.

use std::collections::HashMap;

use stagewright_dockerfile::chmod::Chmod;
use stagewright_layer::{EntryPath, Metadata, Mtime, PathMap};
use stagewright_plan::{CopyOp, CopySource};
use stagewright_snapshot::FileId;

use super::select::{Match, Selection};
use super::tree::{Node, NodeKind};
use crate::error::StepError;

/// The mode of directories made above a destination.
const CREATED_DIRECTORY_MODE: u32 = 0o755;
/// The mode of a file made from a heredoc.
const INLINE_FILE_MODE: u32 = 0o644;
/// As the kernel's limit on links followed in one path.
const LINKS_FOLLOWED_MAX: usize = 40;

/// Who owns what a step makes: the ids that `--chown` or `USER` resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// An entry of the new layer.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// What it is, with its final metadata.
    pub(crate) node: Node,
    /// Where a file's bytes come from.
    pub(crate) bytes: Bytes,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Not a file.
    None,
    /// The file at [`Node::path`] in the source that this input is.
    Source(usize),
    /// This text.
    Inline(Vec<u8>),
    /// The same file as another entry of the new layer.
    LinkTo(EntryPath),
}

/// The root file system that a layer goes onto.
pub(crate) trait Below {
    /// Returns what is at a path, following no link in it.
    fn node(&self, path: &EntryPath) -> Result<Option<Node>, StepError>;
}

/// The entries of the new layer by path, and the tree that they go into.
pub(crate) struct Placing<'a> {
    /// The root file system as it is below the new layer.
    below: &'a dyn Below,
    entries: PathMap<Placement>,
    /// The owner that created directories and copied entries get; the source's own if absent.
    owner: Option<Owner>,
    /// The modification time of directories that are made.
    now: Mtime,
    /// The mode of directories that are made.
    created_mode: u32,
    /// The first place of each group of linked files.
    links: HashMap<FileId, EntryPath>,
    /// The directory that was made last, and whether it is new: mostly the next entry goes there too.
    last_made: Option<(EntryPath, bool)>,
}

/// Places everything that a copy selected, and the directory that archives were unpacked into.
/// Returns the entries in the order of their paths.
pub(crate) fn place(
    op: &CopyOp,
    selection: Selection,
    below: &dyn Below,
    owner: Option<Owner>,
    now: Mtime,
    unpacked_into: Option<&EntryPath>,
) -> Result<Vec<(EntryPath, Placement)>, StepError> {
    let mut placing = Placing::new(below, owner, now);
    if let Some(directory) = unpacked_into {
        placing.directories(directory)?;
    }
    // As in BuildKit, a mode in digits is that of the directories above too.
    if let Some(mode) = op.chmod.as_ref().and_then(Chmod::absolute) {
        placing.created_mode = mode;
    }
    for source in &op.sources {
        if let CopySource::Inline { name, text } = source {
            placing.inline(op, name, text)?;
        }
    }
    let selected = selection.matches.iter().map(|matched| matched.below.len());
    let selected = selected.sum();
    placing.entries.reserve(selected);
    for matched in selection.matches {
        placing.matched(op, matched)?;
    }
    Ok(placing.into_entries())
}

impl<'a> Placing<'a> {
    pub(crate) fn new(below: &'a dyn Below, owner: Option<Owner>, now: Mtime) -> Self {
        Self {
            below,
            entries: PathMap::default(),
            owner,
            now,
            created_mode: CREATED_DIRECTORY_MODE,
            links: HashMap::new(),
            last_made: None,
        }
    }

    /// Returns the entries placed so far, in the order of their paths.
    pub(crate) fn into_entries(self) -> Vec<(EntryPath, Placement)> {
        self.entries.into_sorted()
    }

    fn inline(&mut self, op: &CopyOp, name: &str, text: &str) -> Result<(), StepError> {
        let dest = self.destination(op)?;
        let target = match self.kind(&dest)? {
            Some(NodeKind::Directory) => child(&dest, name.as_bytes())?,
            _ => dest,
        };
        let node = Node {
            path: EntryPath::root(),
            kind: NodeKind::File {
                bytes: text.len() as u64,
                content: None,
                inode: None,
                linked: false,
            },
            metadata: Metadata {
                mtime: self.now,
                ..Metadata::with_mode(INLINE_FILE_MODE)
            },
        };
        self.file(op, target, node, Bytes::Inline(text.as_bytes().to_vec()))
    }

    fn matched(&mut self, op: &CopyOp, matched: Match) -> Result<(), StepError> {
        let dest = self.destination(op)?;
        if matched.node.kind != NodeKind::Directory {
            let target = match self.kind(&dest)? {
                Some(NodeKind::Directory) => child(&dest, &matched.name)?,
                _ => dest,
            };
            return self.file(op, target, matched.node, Bytes::Source(matched.input));
        }
        self.directories(&dest)?;
        for (path, node) in matched.below {
            let target = dest.join(&path);
            match node.kind {
                NodeKind::Directory => self.directory(op, target, node)?,
                _ => self.file(op, target, node, Bytes::Source(matched.input))?,
            }
        }
        Ok(())
    }

    /// Resolves the destination and makes the directories that its form asks for: all of it with a
    /// `/` at its end, else what is above its last part.
    fn destination(&mut self, op: &CopyOp) -> Result<EntryPath, StepError> {
        let clean = clean(&op.dest)?;
        let ends_as_directory = op.dest.ends_with('/') || op.dest.ends_with("/.");
        let dest = self.resolve(&clean)?;
        if ends_as_directory || clean.is_root() {
            self.directories(&dest)?;
        } else if let Some(parent) = dest.parent() {
            self.directories(&parent)?;
        }
        Ok(dest)
    }

    /// Follows links inside the root file system; parts that do not exist stay as they are.
    pub(crate) fn resolve(&self, path: &EntryPath) -> Result<EntryPath, StepError> {
        let mut todo: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut at = EntryPath::root();
        let mut followed = 0;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_else(EntryPath::root);
                    continue;
                }
                _ => {}
            }
            let next = child(&at, &part)?;
            let Some(NodeKind::Symlink { target }) = self.kind(&next)? else {
                at = next;
                continue;
            };
            followed += 1;
            if followed > LINKS_FOLLOWED_MAX {
                return Err(StepError::Copy(format!(
                    "too many links in the path {path}"
                )));
            }
            if target.starts_with(b"/") {
                at = EntryPath::root();
            }
            todo.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
        Ok(at)
    }

    /// Makes a directory and all above it that are missing.
    pub(crate) fn directories(&mut self, path: &EntryPath) -> Result<(), StepError> {
        let mut above = EntryPath::root();
        for part in path.components() {
            above = child(&above, part)?;
            self.directory_above(&above)?;
        }
        let is_new = self.below.node(&above)?.is_none();
        self.last_made = Some((above, is_new));
        Ok(())
    }

    /// Makes the directories that hold an entry, where they are missing.
    fn directories_above(&mut self, path: &EntryPath) -> Result<(), StepError> {
        if let Some((last, _)) = &self.last_made
            && path.is_directly_in(last)
        {
            return Ok(());
        }
        path.parent()
            .map_or(Ok(()), |parent| self.directories(&parent))
    }

    /// Puts a directory that is there into the layer as it is, or makes it.
    ///
    /// A layer names every directory above what it holds: the metadata of the topmost layer that
    /// has a directory is what counts when layers are mounted.
    fn directory_above(&mut self, path: &EntryPath) -> Result<(), StepError> {
        if let Some(placed) = self.entries.get(path) {
            return match placed.node.kind {
                NodeKind::Directory => Ok(()),
                _ => Err(not_a_directory(path)),
            };
        }
        let node = match self.below.node(path)? {
            Some(node) if node.kind == NodeKind::Directory => node,
            Some(_) => return Err(not_a_directory(path)),
            None => self.new_directory(),
        };
        self.entries.insert(
            path.clone(),
            Placement {
                node,
                bytes: Bytes::None,
            },
        );
        Ok(())
    }

    fn new_directory(&self) -> Node {
        let owner = self.owner.unwrap_or(Owner { uid: 0, gid: 0 });
        Node {
            path: EntryPath::root(),
            kind: NodeKind::Directory,
            metadata: Metadata {
                uid: owner.uid,
                gid: owner.gid,
                mtime: self.now,
                ..Metadata::with_mode(self.created_mode)
            },
        }
    }

    /// Places a directory with the metadata of its source.
    fn directory(&mut self, op: &CopyOp, path: EntryPath, node: Node) -> Result<(), StepError> {
        self.directories_above(&path)?;
        match self.kind(&path)? {
            None | Some(NodeKind::Directory) => {}
            Some(_) => return Err(not_a_directory(&path)),
        }
        let node = self.with_changes(op, node);
        let bytes = Bytes::None;
        self.entries.insert(path, Placement { node, bytes });
        Ok(())
    }

    /// Places anything that is not a directory.
    fn file(
        &mut self,
        op: &CopyOp,
        path: EntryPath,
        node: Node,
        bytes: Bytes,
    ) -> Result<(), StepError> {
        self.directories_above(&path)?;
        if path.is_root() || self.kind(&path)? == Some(NodeKind::Directory) {
            return Err(StepError::Copy(format!(
                "cannot replace the directory {path} by a file"
            )));
        }
        let mut bytes = if matches!(node.kind, NodeKind::File { .. }) {
            bytes
        } else {
            Bytes::None
        };
        if let NodeKind::File {
            inode: Some(inode),
            linked: true,
            ..
        } = &node.kind
        {
            match self.links.get(inode) {
                // A layer has a link after what it links to; else it is a file of its own.
                Some(first) if *first < path => bytes = Bytes::LinkTo(first.clone()),
                Some(_) => {}
                None => drop(self.links.insert(*inode, path.clone())),
            }
        }
        let node = self.with_changes(op, node);
        self.entries.insert(path, Placement { node, bytes });
        Ok(())
    }

    /// Applies `--chown` and `--chmod`.
    fn with_changes(&self, op: &CopyOp, mut node: Node) -> Node {
        if let Some(owner) = self.owner {
            (node.metadata.uid, node.metadata.gid) = (owner.uid, owner.gid);
        }
        if let Some(chmod) = &op.chmod
            && !matches!(node.kind, NodeKind::Symlink { .. })
        {
            let is_directory = node.kind == NodeKind::Directory;
            node.metadata.mode = chmod.apply(node.metadata.mode, is_directory);
        }
        node
    }

    fn kind(&self, path: &EntryPath) -> Result<Option<NodeKind>, StepError> {
        if path.is_root() {
            return Ok(Some(NodeKind::Directory));
        }
        if let Some(placed) = self.entries.get(path) {
            return Ok(Some(placed.node.kind.clone()));
        }
        let is_in_new = |(last, is_new): &(EntryPath, bool)| *is_new && path.is_directly_in(last);
        if self.last_made.as_ref().is_some_and(is_in_new) {
            return Ok(None);
        }
        Ok(self.below.node(path)?.map(|node| node.kind))
    }
}

fn not_a_directory(path: &EntryPath) -> StepError {
    StepError::Copy(format!("cannot copy into {path}: it is not a directory"))
}

/// Makes a path of the root file system from the text of a Dockerfile.
pub(crate) fn clean(path: &str) -> Result<EntryPath, StepError> {
    EntryPath::clean(path.as_bytes()).map_err(|error| StepError::Copy(error.to_string()))
}

fn child(directory: &EntryPath, name: &[u8]) -> Result<EntryPath, StepError> {
    directory
        .child(name)
        .map_err(|error| StepError::Copy(error.to_string()))
}

//! What can be copied from: a build context, or the files of a stage or an image.

use std::collections::BTreeMap;
use std::sync::Arc;

use stagewright_digest::ContentDigest;
use stagewright_layer::{EntryKind, EntryPath, Metadata};
use stagewright_snapshot::{Content, FileId};

use crate::error::StepError;

/// A file, directory or link of a source.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its path in the source, links resolved.
    pub(crate) path: EntryPath,
    pub(crate) kind: NodeKind,
    pub(crate) metadata: Metadata,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File {
        bytes: u64,
        content: Option<ContentDigest>,
        /// Files that are links of each other share this.
        inode: Option<FileId>,
        /// Whether there may be such links.
        linked: bool,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    /// A device or a pipe.
    Special(EntryKind),
}

/// Something that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The path as it was asked for, wildcards filled in.
    pub(crate) named: EntryPath,
    /// The path with every link followed.
    pub(crate) path: EntryPath,
}

/// The trees that one copy takes its files from, by the place of each among the inputs.
#[derive(Default)]
pub(crate) struct Sources(BTreeMap<usize, Arc<dyn SourceTree>>);

impl Sources {
    pub(crate) fn insert(&mut self, input: usize, tree: Arc<dyn SourceTree>) {
        self.0.insert(input, tree);
    }

    pub(crate) fn tree(&self, input: usize) -> Result<&dyn SourceTree, StepError> {
        self.0
            .get(&input)
            .map(Arc::as_ref)
            .ok_or_else(|| StepError::Internal("a copy has no source".to_owned()))
    }
}

/// A tree of files to copy from. Paths are relative to its root.
pub(crate) trait SourceTree: Send + Sync {
    /// Finds what a source names: itself, or what its wildcards match, sorted.
    fn find(&self, source: &str) -> Result<Vec<Found>, StepError>;
    /// Returns what is at a path whose links are resolved, and all below it: paths relative to it,
    /// a directory before its entries, entries by name. Empty when nothing is there.
    fn walk(&self, path: &EntryPath) -> Result<Vec<(EntryPath, Node)>, StepError>;
    /// Says where the bytes of a file are that a walk gave.
    fn content(&self, node: &Node) -> Result<Content, StepError>;
    /// Says what the tree is, for messages: `the build context`.
    fn describe(&self) -> String;
}

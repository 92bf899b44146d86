//! The files of a stage or an image, as the steps of a build read them.

use stagewright_context::glob::{Glob, has_wildcards};
use stagewright_layer::{Entry, EntryKind, EntryPath};
use stagewright_snapshot::{Content, MergedTree, TreeEntry};

use crate::copy::{Below, Found, Node, NodeKind, SourceTree};
use crate::error::StepError;

/// A merged view of layers, described for messages.
pub(crate) struct SnapshotFiles {
    tree: MergedTree,
    description: &'static str,
}

impl SnapshotFiles {
    pub(crate) fn new(tree: MergedTree, description: &'static str) -> Self {
        Self { tree, description }
    }

    fn node(&self, entry: TreeEntry) -> Node {
        let inode = entry.file_id();
        let Entry {
            path,
            kind,
            metadata,
        } = entry.entry;
        let kind = match kind {
            EntryKind::File { bytes, content } => NodeKind::File {
                bytes,
                content: Some(content),
                inode,
                linked: inode.is_some_and(|file| self.tree.may_be_linked(file)),
            },
            EntryKind::Directory { .. } => NodeKind::Directory,
            EntryKind::Symlink { target } => NodeKind::Symlink { target },
            special => NodeKind::Special(special),
        };
        Node {
            path,
            kind,
            metadata,
        }
    }

    /// Goes one component down: to the one of that name, or to all that the pattern matches.
    fn step_into(
        &self,
        directory: &EntryPath,
        component: &str,
        found: &mut Vec<EntryPath>,
    ) -> Result<(), StepError> {
        let real = self.tree.resolve(directory.as_bytes(), true)?.path;
        if !has_wildcards(component) {
            let path = child(directory, component.as_bytes())?;
            if self.tree.resolve(path.as_bytes(), true)?.entry.is_some() {
                found.push(path);
            }
            return Ok(());
        }
        let glob = Glob::new(component).map_err(|error| StepError::Copy(error.to_string()))?;
        for entry in self.tree.children(&real) {
            let name = entry.path().name().unwrap_or_default();
            if glob.matches(name) {
                found.push(child(directory, name)?);
            }
        }
        Ok(())
    }
}

impl SourceTree for SnapshotFiles {
    fn find(&self, source: &str) -> Result<Vec<Found>, StepError> {
        // A path that leads above the root is cut off there, as in the build context.
        let text = stagewright_context::patterns::clean(&format!("/{source}"));
        if !has_wildcards(&text) {
            let resolved = self.tree.resolve(text.as_bytes(), true)?;
            if resolved.entry.is_none() {
                return Err(StepError::NotFound {
                    path: text,
                    place: self.description.to_owned(),
                    hint: String::new(),
                });
            }
            let named = crate::copy::clean(&text)?;
            return Ok(vec![Found {
                named,
                path: resolved.path,
            }]);
        }
        let mut found = vec![EntryPath::root()];
        for component in text.split('/').filter(|component| !component.is_empty()) {
            let mut next = Vec::new();
            for directory in &found {
                self.step_into(directory, component, &mut next)?;
            }
            found = next;
        }
        let mut matches = Vec::new();
        for named in found {
            let resolved = self.tree.resolve(named.as_bytes(), true)?;
            if resolved.entry.is_some() {
                matches.push(Found {
                    named,
                    path: resolved.path,
                });
            }
        }
        Ok(matches)
    }

    fn walk(&self, path: &EntryPath) -> Result<Vec<(EntryPath, Node)>, StepError> {
        let walk = self.tree.walk(path);
        let mut all = Vec::with_capacity(walk.entries_max());
        all.extend(walk.map(|entry| {
            let relative = entry.path().relative_to(path).unwrap_or_default();
            (relative, self.node(entry))
        }));
        Ok(all)
    }

    fn content(&self, node: &Node) -> Result<Content, StepError> {
        let content = match node.kind {
            NodeKind::File {
                inode: Some(inode), ..
            } => self.tree.content_of(inode),
            _ => None,
        };
        match content {
            Some(content) => Ok(content),
            None => Err(StepError::Internal(format!(
                "{} is no file of {}",
                node.path, self.description
            ))),
        }
    }

    fn describe(&self) -> String {
        self.description.to_owned()
    }
}

impl Below for SnapshotFiles {
    fn node(&self, path: &EntryPath) -> Result<Option<Node>, StepError> {
        Ok(self.tree.lookup(path).map(|entry| self.node(entry)))
    }
}

fn child(directory: &EntryPath, name: &[u8]) -> Result<EntryPath, StepError> {
    directory
        .child(name)
        .map_err(|error| StepError::Copy(error.to_string()))
}

//! The files of a stage or an image, as the steps of a build read them.

use std::io::Read;

use stagewright_context::glob::{Glob, has_wildcards};
use stagewright_layer::EntryPath;
use stagewright_snapshot::{MergedTree, TreeKind, TreeNode};

use crate::copy::{self, Below, Found, Node, NodeKind, SourceTree};
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
}

impl SourceTree for SnapshotFiles {
    fn find(&self, source: &str) -> Result<Vec<Found>, StepError> {
        // A path may leave the root upwards: it is cut off there, as in the context.
        let path = copy::clean(&without_parents(source))?;
        if !has_wildcards(source) {
            return match self.tree.resolve(&path)? {
                Some(real) => Ok(vec![Found { named: path, path: real }]),
                None => Err(StepError::NotFound {
                    path: source.to_owned(),
                    place: self.description.to_owned(),
                    hint: String::new(),
                }),
            };
        }
        let mut found = vec![EntryPath::root()];
        for component in path.components() {
            let component = String::from_utf8_lossy(component).into_owned();
            let mut next = Vec::new();
            for directory in &found {
                self.step_into(directory, &component, &mut next)?;
            }
            found = next;
        }
        let mut matches = Vec::new();
        for named in found {
            if let Some(path) = self.tree.resolve(&named)? {
                matches.push(Found { named, path });
            }
        }
        Ok(matches)
    }

    fn walk(&self, path: &EntryPath) -> Result<Vec<(EntryPath, Node)>, StepError> {
        let nodes = self.tree.walk(path)?;
        Ok(nodes
            .into_iter()
            .map(|node| {
                let relative = node.path.relative_to(path).unwrap_or_else(EntryPath::root);
                (relative, to_node(node))
            })
            .collect())
    }

    fn open(&self, node: &Node) -> Result<Box<dyn Read + Send>, StepError> {
        Ok(self.tree.open(&node.path)?)
    }

    fn describe(&self) -> String {
        self.description.to_owned()
    }
}

impl SnapshotFiles {
    /// Goes one component down: to the one of that name, or to all that the pattern matches.
    fn step_into(
        &self,
        directory: &EntryPath,
        component: &str,
        found: &mut Vec<EntryPath>,
    ) -> Result<(), StepError> {
        let Some(real) = self.tree.resolve(directory)? else { return Ok(()) };
        let child = |name: &[u8]| {
            directory.child(name).map_err(|error| StepError::Copy(error.to_string()))
        };
        if !has_wildcards(component) {
            let path = child(component.as_bytes())?;
            if self.tree.resolve(&path)?.is_some() {
                found.push(path);
            }
            return Ok(());
        }
        let glob = Glob::new(component)
            .map_err(|error| StepError::Copy(format!("{component:?}: {error}")))?;
        for node in self.tree.children(&real)? {
            let name = node.path.name().unwrap_or_default();
            if glob.matches(name) {
                found.push(child(name)?);
            }
        }
        Ok(())
    }
}

impl Below for SnapshotFiles {
    fn node(&self, path: &EntryPath) -> Result<Option<Node>, StepError> {
        Ok(self.tree.lookup(path)?.map(to_node))
    }
}

/// Removes what leads above the root from the text of a path.
fn without_parents(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "" | "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn to_node(node: TreeNode) -> Node {
    let kind = match node.kind {
        TreeKind::File { bytes, content, inode } => {
            NodeKind::File { bytes, content: Some(content), inode }
        }
        TreeKind::Directory => NodeKind::Directory,
        TreeKind::Symlink { target } => NodeKind::Symlink { target },
        TreeKind::Special(kind) => NodeKind::Special(kind),
    };
    Node { path: node.path, kind, metadata: node.metadata }
}

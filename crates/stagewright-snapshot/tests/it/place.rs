//! A store in a temporary folder, and trees to look at.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use stagewright_digest::{ContentDigest, LayerId};
use stagewright_layer::{EntryKind, EntryPath, Metadata};
use stagewright_snapshot::{Content, DirectAgent, Forms, MergedTree, Snapshots, TreeAgent as _};
use stagewright_store::{Store, StoreOptions};

pub(crate) struct Place {
    pub(crate) snapshots: Snapshots,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn agent() -> DirectAgent {
    DirectAgent::of_this_user(2)
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(agent())
    }

    pub(crate) fn with(agent: DirectAgent) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            path: folder.path().join("store"),
        })
        .unwrap();
        let two = NonZeroUsize::new(2).unwrap();
        Self {
            snapshots: Snapshots::new(store, Arc::new(agent), two),
            folder,
        }
    }

    /// Makes a layer of files (`path content`) and directories (`path/`).
    pub(crate) fn layer(&self, parent: &[LayerId], forms: Forms, lines: &[&str]) -> LayerId {
        let mut builder = self
            .snapshots
            .builder(self.snapshots.tree(parent).unwrap(), forms);
        for line in lines {
            if let Some(directory) = line.strip_suffix('/') {
                builder.directory(path(directory), own(0o755));
            } else {
                let (name, content) = line.split_once(' ').unwrap();
                builder.file(path(name), own(0o644), Content::bytes(content.as_bytes()));
            }
        }
        builder.finish().unwrap().unwrap()
    }
}

pub(crate) fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap()
}

/// Attributes that the one who runs the tests may give.
pub(crate) fn own(mode: u32) -> Metadata {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    Metadata {
        uid,
        gid,
        ..Metadata::with_mode(mode)
    }
}

/// Lists what a view holds: `path/`, `path content`, `path -> target`, `path kind`.
pub(crate) fn listing(tree: &MergedTree) -> Vec<String> {
    let line = |entry: stagewright_snapshot::TreeEntry| {
        let shown = entry.path().as_path().display().to_string();
        match entry.kind() {
            EntryKind::Directory { .. } => format!("{shown}/"),
            EntryKind::Symlink { target } => {
                format!("{shown} -> {}", String::from_utf8_lossy(target))
            }
            EntryKind::File { .. } => {
                let mut content = String::new();
                std::io::Read::read_to_string(&mut tree.open(&entry).unwrap(), &mut content)
                    .unwrap();
                format!("{shown} {content}")
            }
            other => format!("{shown} {other:?}"),
        }
    };
    tree.walk(&EntryPath::root()).skip(1).map(line).collect()
}

/// Lists what a directory of the host holds: path, what it is, mode, owner, whole seconds.
pub(crate) fn scanned(root: &Path) -> Vec<String> {
    let index = agent()
        .scan(root, stagewright_snapshot::Marks::Overlayfs)
        .unwrap();
    let entries = index.entries().map(|entry| {
        let kind = match &entry.kind {
            EntryKind::File { content, .. } => format!("file {content}"),
            other => format!("{other:?}"),
        };
        let Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = &entry.metadata;
        format!(
            "{} {kind} {mode:o} {uid}:{gid} {} {xattrs:?}",
            entry.path, mtime.seconds
        )
    });
    entries.collect()
}

pub(crate) fn digest(text: &str) -> ContentDigest {
    ContentDigest::of(text.as_bytes())
}

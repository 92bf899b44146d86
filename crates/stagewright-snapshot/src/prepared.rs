//! A root file system that a step is about to change.

use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_layer::{EntryKind, EntryPath, Metadata};
use stagewright_store::{LayerDraft, TempDir};

use crate::before::Before;
use crate::content::NewEntry;
use crate::error::SnapshotError;
use crate::snapshots::Snapshots;
use crate::tree::MergedTree;

/// What overlayfs is mounted of for a step. Dropping it without [`Snapshots::commit`] removes what
/// the step made.
#[derive(Debug)]
pub struct Prepared {
    parent: MergedTree,
    lowers: Vec<PathBuf>,
    draft: LayerDraft,
    upper: PathBuf,
    work: PathBuf,
}

impl Prepared {
    pub(crate) fn new(
        snapshots: &Snapshots,
        parent: MergedTree,
        lowers: Vec<PathBuf>,
        draft: LayerDraft,
    ) -> Result<Self, SnapshotError> {
        let (upper, work) = (draft.fs(), draft.work());
        snapshots.agent().create(&upper, &start(&parent))?;
        fs::create_dir(&work).map_err(SnapshotError::Draft)?;
        Ok(Self {
            parent,
            lowers,
            draft,
            upper,
            work,
        })
    }

    /// Returns the read-only directories, from the top down, as overlayfs takes them. Empty for an
    /// image of nothing: overlayfs then needs an empty one.
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }

    /// Returns the directory that takes the changes.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Returns the directory that overlayfs works in.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Returns a folder for other files of the step, removed with the rest.
    pub fn directory(&self) -> &Path {
        self.draft.dir()
    }

    /// Returns the view of what the step begins with.
    pub fn parent(&self) -> &MergedTree {
        &self.parent
    }

    pub(crate) fn into_parts(self) -> (MergedTree, LayerDraft) {
        (self.parent, self.draft)
    }
}

/// A copy of a root file system that a step is about to change, where overlayfs cannot be mounted.
/// Dropping it without [`Snapshots::commit_copy`] removes it.
#[derive(Debug)]
pub struct Copied {
    parent: MergedTree,
    folder: TempDir,
    before: Before,
}

impl Copied {
    pub(crate) fn new(snapshots: &Snapshots, parent: MergedTree) -> Result<Self, SnapshotError> {
        let folder = snapshots.store().temp_dir()?;
        let root = folder.path().join(ROOT);
        snapshots.copy_tree(&parent, &root)?;
        let before = snapshots.agent().look(&root, folder.path())?;
        Ok(Self {
            parent,
            folder,
            before,
        })
    }

    /// Returns the directory that holds the root file system.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join(ROOT)
    }

    pub(crate) fn parent(&self) -> &MergedTree {
        &self.parent
    }

    pub(crate) fn before(&self) -> &Before {
        &self.before
    }
}

/// The name of the copy in its folder.
const ROOT: &str = "root";

/// Returns what the upper directory begins with: the root directory with its attributes, and the
/// directories whose attributes overlayfs would get wrong, because the topmost layer that holds
/// something in them does not say what they are. When the step leaves them alone they are dropped
/// again.
fn start(parent: &MergedTree) -> Vec<NewEntry> {
    let root = parent.lookup(&EntryPath::root());
    let metadata = root.map_or(Metadata::with_mode(0o755), |root| root.entry.metadata);
    let root = stagewright_layer::Entry::directory(EntryPath::root(), metadata);
    let implied = parent.implied_directories();
    let mut paths: Vec<EntryPath> = Vec::new();
    for path in implied {
        // What is above them would be made with the wrong attributes as well.
        paths.extend(path.ancestors().filter(|path| !path.is_root()));
        paths.push(path);
    }
    paths.sort();
    paths.dedup();
    let entries = paths.iter().filter_map(|path| parent.lookup(path));
    let directories = entries
        .filter(|entry| matches!(entry.kind(), EntryKind::Directory { .. }))
        .map(|entry| NewEntry::Other(entry.entry));
    std::iter::once(NewEntry::Other(root))
        .chain(directories)
        .collect()
}

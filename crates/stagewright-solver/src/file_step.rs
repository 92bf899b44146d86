//! Steps that change files without running anything: `COPY`, `ADD`, `WORKDIR`.

use std::collections::BTreeMap;

use stagewright_digest::LayerId;
use stagewright_layer::{Entry, EntryKind, EntryPath};
use stagewright_plan::{CopyFrom, CopyOp, MkdirOp, Vertex};
use stagewright_snapshot::MergedTree;

use crate::accounts::Accounts;
use crate::action;
use crate::copy::{
    self, Below, Bytes, Node, NodeKind, Owner, Placement, Placing, Selection, SourceTree,
};
use crate::error::StepError;
use crate::services::Services;
use crate::snapshot_files::SnapshotFiles;
use crate::vertex::VertexResult;

/// Looks up what a copy's sources name.
pub(crate) fn select(
    services: &Services,
    op: &CopyOp,
    inputs: &[VertexResult],
    event: u64,
) -> Result<Selection, StepError> {
    let paths: Vec<&str> = action::path_sources(op).collect();
    with_source(services, op, inputs, event, |tree| copy::select(op, &paths, tree))
}

/// Calls `work` with the tree that a copy takes its files from.
fn with_source<T>(
    services: &Services,
    op: &CopyOp,
    inputs: &[VertexResult],
    event: u64,
    work: impl FnOnce(&dyn SourceTree) -> Result<T, StepError>,
) -> Result<T, StepError> {
    match (op.from, inputs.get(1)) {
        (CopyFrom::Context, Some(VertexResult::Context(name))) => {
            work(services.context(name)?.as_ref())
        }
        (CopyFrom::Snapshot, Some(VertexResult::Snapshot(snapshot))) => {
            let description = "the stage or image that is copied from";
            work(&SnapshotFiles::new(services.tree(snapshot, event)?, description))
        }
        _ => Err(StepError::Internal("a copy has no source".to_owned())),
    }
}

/// Makes the layer of a copy.
pub(crate) fn copy(
    services: &Services,
    op: &CopyOp,
    inputs: &[VertexResult],
    event: u64,
    selection: &Selection,
    vertex: &Vertex,
) -> Result<Option<LayerId>, StepError> {
    let parent = action::parent(inputs)?;
    let needs_names = op.chown.as_deref().is_some_and(has_names);
    // A linked layer knows nothing of what it goes onto.
    let tree = if op.link && !needs_names {
        MergedTree::empty(&services.store)
    } else {
        services.tree(parent, event)?
    };
    let owner = owner(op.chown.as_deref(), &tree)?;
    let below = if op.link { MergedTree::empty(&services.store) } else { tree };
    let below = SnapshotFiles::new(below, "the root file system");
    let placed = copy::place(op, selection, &below, owner, services.now())?;
    let forms = services.forms(vertex);
    if op.from == CopyFrom::Nothing {
        return write(services, placed, None, forms);
    }
    with_source(services, op, inputs, event, |tree| write(services, placed, Some(tree), forms))
}

/// Makes the layer of a `WORKDIR`: none when the directory is there.
pub(crate) fn mkdir(
    services: &Services,
    op: &MkdirOp,
    inputs: &[VertexResult],
    event: u64,
    vertex: &Vertex,
) -> Result<Option<LayerId>, StepError> {
    let parent = action::parent(inputs)?;
    let tree = services.tree(parent, event)?;
    let user = Some(op.user.as_str()).filter(|user| !user.is_empty());
    let owner = owner(user, &tree)?;
    let below = SnapshotFiles::new(tree, "the root file system");
    let mut placing = Placing::new(&below, owner, services.now());
    let path = placing.resolve(&copy::clean(&op.path)?)?;
    if below.node(&path)?.is_some_and(|node| node.kind == NodeKind::Directory) {
        return Ok(None);
    }
    placing.directories(&path)?;
    write(services, placing.into_entries(), None, services.forms(vertex))
}

fn has_names(owner: &str) -> bool {
    owner.split(':').any(|part| !part.is_empty() && part.parse::<u32>().is_err())
}

fn owner(spec: Option<&str>, tree: &MergedTree) -> Result<Option<Owner>, StepError> {
    let Some(spec) = spec else { return Ok(None) };
    let (uid, gid) = accounts(tree)?.owner(spec)?;
    Ok(Some(Owner { uid, gid }))
}

/// Reads the users and groups of a root file system.
pub(crate) fn accounts(tree: &MergedTree) -> Result<Accounts, StepError> {
    const BYTES_MAX: u64 = 16 << 20;
    let read = |path: &str| -> Result<String, StepError> {
        let bytes = tree.read_small(&copy::clean(path)?, BYTES_MAX)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}

/// Writes the layer that holds the entries.
fn write(
    services: &Services,
    placed: BTreeMap<EntryPath, Placement>,
    source: Option<&dyn SourceTree>,
    forms: stagewright_snapshot::Forms,
) -> Result<Option<LayerId>, StepError> {
    if placed.is_empty() {
        return Ok(None);
    }
    let mut builder = services.snapshots.layer_builder(forms)?;
    for (path, placement) in placed {
        if services.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        let Placement { node, bytes } = placement;
        add(&mut builder, path, &node, bytes, source)?;
    }
    Ok(Some(builder.finish()?))
}

fn add(
    builder: &mut stagewright_snapshot::LayerBuilder,
    path: EntryPath,
    node: &Node,
    bytes: Bytes,
    source: Option<&dyn SourceTree>,
) -> Result<(), StepError> {
    let metadata = node.metadata.clone();
    let entry = |kind| Entry { path: path.clone(), kind, metadata: metadata.clone() };
    match (&node.kind, bytes) {
        (NodeKind::Directory, _) => builder.add(entry(EntryKind::Directory { opaque: false }))?,
        (NodeKind::Symlink { target }, _) => {
            builder.add(entry(EntryKind::Symlink { target: target.clone() }))?;
        }
        (NodeKind::Special(kind), _) => builder.add(entry(kind.clone()))?,
        (NodeKind::File { .. }, Bytes::LinkTo(target)) => {
            builder.add(entry(EntryKind::Hardlink { target }))?;
        }
        (NodeKind::File { .. }, Bytes::Inline(text)) => {
            builder.add_file(&path, &metadata, text.len() as u64, &mut text.as_slice())?;
        }
        (NodeKind::File { bytes, .. }, _) => {
            let source = source.ok_or_else(|| {
                StepError::Internal(format!("{path} has no source to be copied from"))
            })?;
            builder.add_file(&path, &metadata, *bytes, &mut source.open(node)?)?;
        }
    }
    Ok(())
}

//! Steps that change files without running anything: `COPY`, `ADD`, `WORKDIR`, and layers that become one.

use std::sync::Arc;

use stagewright_digest::{ContentDigest, LayerId};
use stagewright_layer::{Entry, EntryKind, EntryPath, LayerIndex};
use stagewright_plan::{CopyFrom, CopyOp, MkdirOp, Vertex};
use stagewright_snapshot::{Content, Forms, LayerBuilder, MergedTree, NewEntry};

use crate::accounts::{Account, Accounts};
use crate::action;
use crate::archive;
use crate::context_files::ContextFiles;
use crate::copy::{
    self, Below, Bytes, NodeKind, Owner, Placement, Placing, Selection, SourceTree, Sources,
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
    copy::select(op, &sources(services, inputs, event)?)
}

/// Returns the trees that a copy takes its files from: all of its inputs but the first.
fn sources(services: &Services, inputs: &[VertexResult], event: u64) -> Result<Sources, StepError> {
    let mut sources = Sources::default();
    for (place, input) in inputs.iter().enumerate().skip(1) {
        let tree: Arc<dyn SourceTree> = match input {
            VertexResult::Context(name) => Arc::clone(services.context(name)?) as _,
            VertexResult::Snapshot(snapshot) => Arc::new(SnapshotFiles::new(
                services.tree(snapshot, event)?,
                "the stage or image that is copied from",
            )),
        };
        sources.insert(place, tree);
    }
    Ok(sources)
}

/// Makes a layer of all that a folder holds.
pub(crate) fn layer_of(
    services: &Services,
    files: Arc<ContextFiles>,
    forms: Forms,
) -> Result<Option<LayerId>, StepError> {
    let op = CopyOp {
        link: true,
        ..CopyOp::of("/", "/", CopyFrom::Context)
    };
    let mut sources = Sources::default();
    sources.insert(1, files);
    let selection = copy::select(&op, &sources)?;
    let nothing = MergedTree::default();
    let below = SnapshotFiles::new(nothing.clone(), "nothing");
    let placed = copy::place(&op, selection, &below, None, services.now(), None)?;
    let builder = services.snapshots.builder(nothing, forms);
    write(services, builder, placed, &sources)
}

/// Makes the layer of a copy.
pub(crate) fn copy(
    services: &Services,
    op: &CopyOp,
    inputs: &[VertexResult],
    event: u64,
    selection: Selection,
    vertex: &Vertex,
) -> Result<Option<LayerId>, StepError> {
    copy_with(
        services,
        op,
        inputs,
        event,
        selection,
        services.forms(vertex),
    )
}

/// Makes the layer of a copy in the forms that are asked for.
pub(crate) fn copy_with(
    services: &Services,
    op: &CopyOp,
    inputs: &[VertexResult],
    event: u64,
    mut selection: Selection,
    forms: Forms,
) -> Result<Option<LayerId>, StepError> {
    let parent = action::parent(inputs)?;
    let needs_names = op.chown.as_deref().is_some_and(has_names);
    // A linked layer knows nothing of what it goes onto.
    let tree = if op.link && !needs_names {
        MergedTree::default()
    } else {
        services.tree(parent, event)?
    };
    let owner = owner(op.chown.as_deref(), &tree)?;
    let below = if op.link { MergedTree::default() } else { tree };
    let files = SnapshotFiles::new(below.clone(), "the root file system");
    let sources = sources(services, inputs, event)?;
    let mut builder = services.snapshots.builder(below, forms);
    let mut unpacked_into = None;
    if selection.matches.iter().any(|matched| matched.unpack) {
        let dest = Placing::new(&files, owner, services.now()).resolve(&copy::clean(&op.dest)?)?;
        if archive::take_archives(&mut builder, &mut selection, &sources, &files, &dest, owner)? {
            unpacked_into = Some(dest);
        }
    }
    let now = services.now();
    let placed = copy::place(op, selection, &files, owner, now, unpacked_into.as_ref())?;
    write(services, builder, placed, &sources)
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
    let owner = match (owner(user, &tree), user) {
        // As in BuildKit, a user that is not there yet leaves the directory to root.
        (Err(StepError::UnknownUser { .. }), Some(user)) => {
            let (_, group) = user.split_once(':').unwrap_or_default();
            owner(Some(&format!("0:{group}")), &tree)?
        }
        (owner, _) => owner?,
    };
    let below = SnapshotFiles::new(tree.clone(), "the root file system");
    let mut placing = Placing::new(&below, owner, services.now());
    let path = placing.resolve(&copy::clean(&op.path)?)?;
    if below
        .node(&path)?
        .is_some_and(|node| node.kind == NodeKind::Directory)
    {
        return Ok(None);
    }
    placing.directories(&path)?;
    let builder = services.snapshots.builder(tree, services.forms(vertex));
    write(
        services,
        builder,
        placing.into_entries(),
        &Sources::default(),
    )
}

/// Makes one layer of those that the second root file system has above the first.
pub(crate) fn squash(
    services: &Services,
    inputs: &[VertexResult],
    event: u64,
    vertex: &Vertex,
) -> Result<Option<LayerId>, StepError> {
    let below = action::parent(inputs)?;
    let above = match inputs {
        [_, VertexResult::Snapshot(whole)] => whole.layers.strip_prefix(&below.layers[..]),
        _ => None,
    };
    let above = above.ok_or_else(|| {
        StepError::Internal("what is squashed does not lie on its base".to_owned())
    })?;
    services.ensure(&below.layers, event)?;
    services.ensure(above, event)?;
    let forms = services.forms(vertex);
    Ok(services.snapshots.squash(&below.layers, above, forms)?)
}

fn has_names(owner: &str) -> bool {
    owner
        .split(':')
        .any(|part| !part.is_empty() && part.parse::<u32>().is_err())
}

fn owner(spec: Option<&str>, tree: &MergedTree) -> Result<Option<Owner>, StepError> {
    let Some(spec) = spec else { return Ok(None) };
    let (uid, gid) = accounts(tree)?.owner(spec)?;
    Ok(Some(Owner { uid, gid }))
}

/// Finds a user of a root file system, as `USER` names it.
///
/// # Errors
/// When it has no such user or group.
pub fn accounts_of(tree: &MergedTree, user: &str) -> Result<Account, StepError> {
    accounts(tree)?.user(user)
}

/// Reads the users and groups of a root file system.
pub(crate) fn accounts(tree: &MergedTree) -> Result<Accounts, StepError> {
    const BYTES_MAX: u64 = 16 << 20;
    let read = |path: &str| -> Result<String, StepError> {
        let bytes = tree
            .read_small(path.as_bytes(), BYTES_MAX)?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Accounts {
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
    })
}

/// Writes the layer that holds the entries.
fn write(
    services: &Services,
    mut builder: LayerBuilder,
    placed: Vec<(EntryPath, Placement)>,
    sources: &Sources,
) -> Result<Option<LayerId>, StepError> {
    let mut expected = Vec::new();
    builder.reserve(placed.len());
    for (path, placement) in placed {
        let looked_at = match placement.node.kind {
            NodeKind::File { content, .. } => content,
            _ => None,
        };
        let entry = new_entry(path, placement, sources)?;
        if let (Some(looked_at), NewEntry::File { path, content, .. }) = (looked_at, &entry)
            && !content.is_checked()
        {
            expected.push((path.clone(), looked_at));
        }
        builder.entry(entry);
    }
    if services.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    let Some((layer, index)) = builder.finish_indexed()? else {
        return Ok(None);
    };
    check_content(&index, &expected)?;
    Ok(Some(layer))
}

/// The key was made of files as they were when they were looked at: what was copied must be that.
fn check_content(
    index: &LayerIndex,
    expected: &[(EntryPath, ContentDigest)],
) -> Result<(), StepError> {
    for (path, digest) in expected {
        let copied = index.get(path).map(|entry| &entry.kind);
        if !matches!(copied, Some(EntryKind::File { content, .. }) if *content == *digest) {
            let message =
                format!("what is copied to /{path} was changed while it was read: build again");
            return Err(StepError::Copy(message));
        }
    }
    Ok(())
}

fn new_entry(
    path: EntryPath,
    placement: Placement,
    sources: &Sources,
) -> Result<NewEntry, StepError> {
    let Placement { node, bytes } = placement;
    let metadata = node.metadata.clone();
    let kind = match (&node.kind, bytes) {
        (NodeKind::Directory, _) => EntryKind::Directory { opaque: false },
        (NodeKind::Symlink { target }, _) => EntryKind::Symlink {
            target: target.clone(),
        },
        (NodeKind::Special(kind), _) => kind.clone(),
        (NodeKind::File { .. }, Bytes::LinkTo(target)) => EntryKind::Hardlink { target },
        (NodeKind::File { .. }, Bytes::Inline(text)) => {
            return Ok(NewEntry::File {
                path,
                metadata,
                content: Content::bytes(text),
            });
        }
        (NodeKind::File { .. }, Bytes::Source(input)) => {
            return Ok(NewEntry::File {
                path,
                metadata,
                content: sources.tree(input)?.content(&node)?,
            });
        }
        (NodeKind::File { .. }, Bytes::None) => {
            return Err(StepError::Internal(format!(
                "{path} has no source to be copied from"
            )));
        }
    };
    Ok(NewEntry::Other(Entry {
        path,
        kind,
        metadata,
    }))
}

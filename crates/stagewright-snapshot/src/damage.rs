//! Layers whose bytes are not those that were stored.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use stagewright_digest::LayerId;
use stagewright_layer::{Entry, EntryKind, EntryPath, LayerIndex};
use stagewright_store::{Layer, LayerPart, Store};

use crate::agent::Marks;
use crate::error::SnapshotError;
use crate::snapshots::{Snapshots, name_of};

/// Sees to it that a layer which turned out to be damaged is not used again.
#[derive(Debug, Clone)]
pub struct Keeper {
    store: Store,
    id: LayerId,
}

impl Keeper {
    pub(crate) fn new(store: Store, id: LayerId) -> Self {
        Self { store, id }
    }

    /// Sets the layer aside, or one form of it.
    pub(crate) fn set_aside(&self, part: LayerPart, reason: &str) {
        // The damage itself is the error that is told.
        if let Err(error) = self.store.quarantine_layer(&self.id, part, reason) {
            tracing::warn!(layer = %self.id, %error, "a damaged layer stays where it is");
        }
    }
}

impl Snapshots {
    /// Checks what the store does not know of a layer: its index, and every file of its unpacked form
    /// against the index. Reads all of them. Says which parts are damaged, and how.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn inspect(&self, layer: &Layer) -> io::Result<Vec<(LayerPart, String)>> {
        let whole = |reason: String| Ok(vec![(LayerPart::Whole, reason)]);
        let index = match LayerIndex::decode(&fs_err::read(layer.index_path())?) {
            Ok(index) => index,
            Err(error) => return whole(error.to_string()),
        };
        if matches!(layer.id, LayerId::Made(_))
            && name_of(&index, layer.record.latest_time) != layer.id
        {
            return whole("its index is of another layer".to_owned());
        }
        let Some(root) = layer.unpacked_path() else {
            return Ok(Vec::new());
        };
        let found = match self.agent().scan(&root, Marks::Files) {
            Ok(found) => found,
            Err(SnapshotError::Scan { path, source }) => {
                let message = format!("{}: {source}", path.display());
                return Err(io::Error::new(source.kind(), message));
            }
            Err(error) => return Ok(vec![(LayerPart::Unpacked, error.to_string())]),
        };
        let owners = self.agent().keeps_owners();
        let devices = self.agent().namespace().is_none();
        Ok(difference(&index, &found, owners, devices)
            .map(|path| {
                let reason = format!("{path} in it is not what was stored");
                (LayerPart::Unpacked, reason)
            })
            .into_iter()
            .collect())
    }
}

/// Returns the first path at which an unpacked form is not what the index says. Without root,
/// devices are left out, and owners and some attributes are not those of the layer.
fn difference(
    index: &LayerIndex,
    found: &LayerIndex,
    owners: bool,
    devices: bool,
) -> Option<EntryPath> {
    let (expected, there) = (entries(index), entries(found));
    for (path, entry) in &expected {
        let device = matches!(
            entry.kind,
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }
        );
        match there.get(path) {
            None if device && !(owners && devices) => {}
            // Who may not move a directory changes what stands in the way: of the top one only.
            Some(other) if same(entry, other, owners && (devices || !path.is_root())) => {}
            _ => return Some((*path).clone()),
        }
    }
    // A layer may hold files in directories that only a lower one has.
    let mut above = BTreeSet::new();
    above.extend(expected.keys().flat_map(|path| path.ancestors()));
    let implied = |path: &EntryPath, entry: &Entry| {
        matches!(entry.kind, EntryKind::Directory { .. })
            && (path.is_root() || above.contains(path))
    };
    there
        .iter()
        .find(|(path, entry)| !expected.contains_key(*path) && !implied(path, entry))
        .map(|(path, _)| (*path).clone())
}

/// Returns the entries, each name of a file that has several as the file itself.
fn entries(index: &LayerIndex) -> BTreeMap<&EntryPath, &Entry> {
    let mut all = BTreeMap::new();
    all.extend(index.entries().map(|entry| (&entry.path, entry)));
    let mut entries = all.clone();
    for entry in entries.values_mut() {
        if let EntryKind::Hardlink { target } = &entry.kind {
            *entry = all.get(target).copied().unwrap_or(entry);
        }
    }
    entries
}

fn same(one: &Entry, other: &Entry, owners: bool) -> bool {
    let kinds = match (&one.kind, &other.kind) {
        (EntryKind::Directory { .. }, EntryKind::Directory { .. }) => true,
        (one, other) => one == other,
    };
    let link = matches!(one.kind, EntryKind::Symlink { .. } | EntryKind::Whiteout);
    let (one, other) = (&one.metadata, &other.metadata);
    kinds && (!owners || link || (one.mode, one.uid, one.gid) == (other.mode, other.uid, other.gid))
}

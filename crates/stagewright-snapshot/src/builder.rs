//! Layers that are written entry by entry: COPY, ADD, WORKDIR.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use fs_err as fs;
use stagewright_digest::LayerId;
use stagewright_layer::{
    Entry, EntryKind, EntryPath, IndexBuilder, LayerIndex, LayerItem, LayerReader, Metadata,
    Record, decompress, is_reserved,
};
use stagewright_store::LayerRecord;

use crate::content::{Content, NewEntry};
use crate::error::SnapshotError;
use crate::prune::prune_copy;
use crate::snapshots::{Forms, Snapshots};
use crate::tree::{FileId, MergedTree, TreeEntry};

/// A layer that is written entry by entry, in any order. Of entries with the same path the last
/// one counts. Nothing is read or written before [`LayerBuilder::finish`].
#[derive(Debug)]
pub struct LayerBuilder {
    snapshots: Snapshots,
    parent: MergedTree,
    forms: Forms,
    /// In the order in which they were added.
    entries: Vec<NewEntry>,
}

impl LayerBuilder {
    pub(crate) fn new(snapshots: Snapshots, parent: MergedTree, forms: Forms) -> Self {
        Self {
            snapshots,
            parent,
            forms,
            entries: Vec::new(),
        }
    }

    /// Returns the view of what the layer lies on.
    pub fn parent(&self) -> &MergedTree {
        &self.parent
    }

    /// Adds a file.
    pub fn file(&mut self, path: EntryPath, metadata: Metadata, content: Content) -> &mut Self {
        self.entry(NewEntry::File {
            path,
            metadata,
            content,
        })
    }

    /// Adds a directory. One that is there already keeps what it holds, and takes the attributes.
    pub fn directory(&mut self, path: EntryPath, metadata: Metadata) -> &mut Self {
        self.entry(NewEntry::Other(Entry::directory(path, metadata)))
    }

    /// Adds an entry of any kind.
    pub fn entry(&mut self, entry: NewEntry) -> &mut Self {
        self.entries.push(entry);
        self
    }

    /// Makes room for so many entries more.
    pub fn reserve(&mut self, entries: usize) -> &mut Self {
        self.entries.reserve(entries);
        self
    }

    /// Adds what a merged view holds at its root directory and below, to lie in `destination`.
    /// Hard links among it stay hard links.
    pub fn add_tree(&mut self, tree: &MergedTree, destination: &EntryPath) -> &mut Self {
        self.add_found(tree, &mut tree.walk(&EntryPath::root()), destination)
    }

    /// Adds what layers change in the parent, on which they lie.
    pub(crate) fn add_difference(&mut self, layers: &MergedTree) -> &mut Self {
        let changes = layers.difference(&self.parent);
        self.add_found(layers, &mut changes.into_iter(), &EntryPath::root())
    }

    fn add_found(
        &mut self,
        tree: &MergedTree,
        entries: &mut dyn Iterator<Item = TreeEntry>,
        destination: &EntryPath,
    ) -> &mut Self {
        let mut first_names: HashMap<FileId, EntryPath> = HashMap::new();
        for found in entries {
            let path = destination.join(found.path());
            let first = found
                .file_id()
                .filter(|_| !found.kind().is_directory())
                .map(|id| {
                    first_names
                        .entry(id)
                        .or_insert_with(|| path.clone())
                        .clone()
                });
            let entry = match first {
                Some(target) if target != path => {
                    let kind = EntryKind::Hardlink { target };
                    NewEntry::Other(Entry {
                        path,
                        kind,
                        metadata: found.entry.metadata,
                    })
                }
                _ => new_entry(tree, found, path),
            };
            self.entry(entry);
        }
        self
    }

    /// Adds what a tar holds, compressed with gzip, zstd or not at all, to lie in `destination`.
    /// `change` may change each entry, whose path is that in the layer by then. Whiteouts are taken
    /// as files, as ADD unpacks archives and does not apply layers.
    ///
    /// # Errors
    /// When the tar can't be read, or holds what an image can't.
    pub fn add_archive(
        &mut self,
        archive: impl BufRead + Send,
        destination: &EntryPath,
        change: &mut dyn FnMut(&mut Entry),
    ) -> Result<&mut Self, SnapshotError> {
        let spool = self.snapshots.store().temp_dir()?;
        let path = spool.path().join("archive");
        let mut plain = decompress(archive)?;
        let mut file = fs::File::create_new(&path).map_err(SnapshotError::Draft)?;
        std::io::copy(&mut plain, &mut file).map_err(SnapshotError::Draft)?;
        drop(file);
        let file = fs::File::open(&path).map_err(SnapshotError::Draft)?;
        let records = archive_records(BufReader::with_capacity(1 << 17, &file))?;
        // The open file outlives its name.
        let file = Arc::new(file);
        for Record { mut entry, data } in records {
            if entry.path.is_root() {
                continue;
            }
            entry.path = destination.join(&entry.path);
            if let EntryKind::Hardlink { target } = &mut entry.kind {
                *target = destination.join(target);
            }
            change(&mut entry);
            let new = match (entry.kind, data) {
                (EntryKind::File { bytes, .. }, Some(data)) => NewEntry::File {
                    path: entry.path,
                    metadata: entry.metadata,
                    content: Content::archive(Arc::clone(&file), data, bytes),
                },
                (kind, _) => NewEntry::Other(Entry {
                    path: entry.path,
                    kind,
                    metadata: entry.metadata,
                }),
            };
            self.entry(new);
        }
        Ok(self)
    }

    /// Writes the layer in its forms and stores it. Nothing when it would change nothing: every
    /// entry is a directory that is there with these attributes.
    ///
    /// Directories above entries that were not added themselves get the attributes that they have
    /// in the parent; new ones get root's and mode `0755`.
    ///
    /// # Errors
    /// When a file's content can't be read, the entries do not make a layer, or it can't be stored.
    pub fn finish(self) -> Result<Option<LayerId>, SnapshotError> {
        Ok(self.finish_indexed()?.map(|(id, _)| id))
    }

    /// As [`LayerBuilder::finish`], and returns what the layer holds too.
    ///
    /// # Errors
    /// As there.
    pub fn finish_indexed(mut self) -> Result<Option<(LayerId, Arc<LayerIndex>)>, SnapshotError> {
        let mut entries = self.all_entries();
        if let Some(entry) = entries.iter().find(|entry| is_reserved(entry.path())) {
            let path = entry.path().clone();
            return Err(stagewright_layer::WriteError::Reserved { path }.into());
        }
        if let Some(latest) = self.snapshots.latest() {
            for entry in &mut entries {
                let mtime = match entry {
                    NewEntry::File { metadata, .. } => &mut metadata.mtime,
                    NewEntry::Other(entry) => &mut entry.metadata.mtime,
                };
                *mtime = latest.min(*mtime);
            }
        }
        // Directories that are as they were and hold nothing new.
        prune_copy(&mut entries, &self.parent);
        if entries.is_empty() {
            return Ok(None);
        }
        let draft = self.snapshots.store().layer_draft()?;
        let _ahead = self.forms.unpacked.then(|| self.snapshots.ahead(&draft));
        let (index, tar) = self.snapshots.write(&draft, &entries, self.forms)?;
        drop(entries);
        let id = self.snapshots.name(&index);
        match tar {
            Some(name) => {
                self.snapshots.publish_packed(draft, &id, &index, name)?;
            }
            None if self.forms.named => {
                self.snapshots
                    .publish_named(draft, &id, Arc::clone(&index))?;
            }
            None => {
                let record = LayerRecord::default();
                self.snapshots.publish(draft, &id, &index, record)?;
            }
        }
        Ok(Some((id, index)))
    }

    /// Returns the entries and the directories above them, in the order of paths.
    pub(crate) fn all_entries(&mut self) -> Vec<NewEntry> {
        let mut all = std::mem::take(&mut self.entries);
        // Mostly they come out of a walk, in this order.
        if !all.is_sorted_by(|one, other| one.path() < other.path()) {
            // The last of equal paths comes first, and stays.
            all.reverse();
            all.sort_by(|one, other| one.path().cmp(other.path()));
            all.dedup_by(|one, other| one.path() == other.path());
        }
        let mut missing: Vec<NewEntry> = Vec::new();
        // The entry that came last and the directories above it, from the top down, the root left out.
        let mut open: Vec<EntryPath> = Vec::new();
        for path in all.iter().map(NewEntry::path) {
            if path.is_root() {
                continue;
            }
            while open.last().is_some_and(|open| !path.is_within(open)) {
                open.pop();
            }
            // Mostly an entry lies directly in one that is there.
            if !open.last().is_some_and(|open| path.is_directly_in(open)) {
                for above in path.ancestors().skip(1 + open.len()) {
                    missing.push(self.directory_above(above.clone()));
                    open.push(above);
                }
            }
            open.push(path.clone());
        }
        if !missing.is_empty() {
            all.extend(missing);
            all.sort_by(|one, other| one.path().cmp(other.path()));
        }
        all
    }

    fn directory_above(&self, path: EntryPath) -> NewEntry {
        let below = self
            .parent
            .lookup(&path)
            .filter(|below| below.kind().is_directory());
        let metadata = below.map_or(Metadata::with_mode(0o755), |below| below.entry.metadata);
        NewEntry::Other(Entry::directory(path, metadata))
    }
}

impl MergedTree {
    /// Returns an entry of this view as one that is to be made at `path` in another layer.
    pub fn copied(&self, entry: TreeEntry, path: EntryPath) -> NewEntry {
        new_entry(self, entry, path)
    }
}

fn new_entry(tree: &MergedTree, found: TreeEntry, path: EntryPath) -> NewEntry {
    match tree.content(&found) {
        Some(content) => NewEntry::File {
            path,
            metadata: found.entry.metadata,
            content,
        },
        None => NewEntry::Other(Entry {
            path,
            ..found.entry
        }),
    }
}

/// Reads what an archive extracts to.
fn archive_records(reader: impl Read) -> Result<Vec<Record>, SnapshotError> {
    let mut reader = LayerReader::archive(reader);
    let mut builder = IndexBuilder::new();
    while let Some(item) = reader.next().map_err(SnapshotError::Archive)? {
        match item {
            LayerItem::File(file) => {
                let (entry, data) = file.finish().map_err(SnapshotError::Archive)?;
                builder.add(entry, Some(data))?;
            }
            LayerItem::Other(entry) => {
                builder.add(entry, None)?;
            }
            LayerItem::Opaque(directory) => builder.mark_opaque(&directory)?,
        }
    }
    Ok(builder.finish()?.into_records())
}

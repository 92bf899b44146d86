//! Root file systems out of layers, and layers out of root file systems.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use stagewright_digest::{ContentDigest, DiffId, LayerId};
use stagewright_layer::{
    Entry, EntryPath, IndexedLayer, LayerIndex, Metadata, Mtime, PendingDiffId, UnnamedLayer,
    WrittenLayer, store_index,
};
use stagewright_store::{Layer, LayerDraft, LayerPart, LayerRecord, Store};

use crate::agent::{Marks, Prune, TreeAgent};
use crate::ahead::Ahead;
use crate::builder::LayerBuilder;
use crate::compressed::{index_until, is_the_layer};
use crate::content::NewEntry;
use crate::damage::Keeper;
use crate::draft_tar::DraftTar;
use crate::error::SnapshotError;
use crate::expansion::ExpansionLimit;
use crate::pack::pack_entries;
use crate::parallel::on_threads;
use crate::prepared::{Copied, Prepared};
use crate::prune::{prune_step, restore_owners, without_idle_whiteouts};
use crate::tree::{MergedTree, TreeLayer};
use crate::unpack::Unpacking;

/// The most layers that are mounted one above the other.
///
/// The kernel takes 500, but an uncached lookup asks every layer: 8 µs with 5 layers, 83 with 50,
/// 246 with 200. Images have at most 127; few have more than 30. What is below the limit is merged
/// into one layer by copying: its files could be hard links to those of the layers that they come
/// from, but then damage in one would be damage in both.
const MOUNTED_LAYERS_MAX: usize = 100;
/// So many layers are merged at once, that the steps that follow find the merged one.
const MERGED_LAYERS: usize = 50;

/// The forms in which a layer is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forms {
    /// As a tar: to be exported or copied from.
    pub packed: bool,
    /// As a directory: to be mounted below a step.
    pub unpacked: bool,
    /// The digest of its tar is wanted, whether or not the tar is: it is found while the files are
    /// being made durable.
    pub named: bool,
}

impl Forms {
    /// The form to export and copy from.
    pub const PACKED: Self = Self {
        packed: true,
        unpacked: false,
        named: false,
    };
    /// The form to mount.
    pub const UNPACKED: Self = Self {
        packed: false,
        unpacked: true,
        named: false,
    };
    /// Both.
    pub const BOTH: Self = Self {
        packed: true,
        unpacked: true,
        named: false,
    };

    fn are_in(self, layer: &Layer) -> bool {
        (!self.packed || layer.packed_path().is_some())
            && (!self.unpacked || layer.unpacked_path().is_some())
    }
}

/// The packed form of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    /// The uncompressed tar.
    pub path: PathBuf,
    /// Its name.
    pub diff_id: DiffId,
    /// Its length.
    pub bytes: u64,
}

/// Makes root file systems out of the layers of a store, and layers out of them. Clones share it.
///
/// All methods block: call them off an asynchronous runtime's threads.
#[derive(Debug, Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
    /// What is made carries no later time, in seconds since 1970.
    latest: Option<i64>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    agent: Arc<dyn TreeAgent>,
    threads: NonZeroUsize,
    /// Guards the map only. An index is found under the file that it was read from.
    indexes: Arc<Mutex<Indexes>>,
    /// Guards the map only. Two that miss at once make the same.
    merged: Arc<Mutex<Merged>>,
    /// Whether a thread has the disk write ahead.
    writing: Arc<AtomicBool>,
}

/// Names a layer that was made: by its content, and by the time that was given to its files, if one
/// was.
pub(crate) fn name_of(index: &LayerIndex, latest: Option<i64>) -> LayerId {
    LayerId::Made(name_until(index.content_digest(), latest))
}

fn name_until(content: ContentDigest, latest: Option<i64>) -> ContentDigest {
    match latest {
        None => content,
        Some(latest) => ContentDigest::of(format!("{content} until {latest}").as_bytes()),
    }
}

/// What was made of layers, from the bottom up, by those whose files are no later than a time.
type Merged = HashMap<(Vec<LayerId>, Option<i64>), Option<LayerId>>;

type Indexes = HashMap<LayerId, (FileVersion, Arc<LayerIndex>)>;

/// A file's device and inode: publishing an index makes another file.
type FileVersion = (u64, u64);

impl Snapshots {
    /// Works on a store. `agent` touches the files, `threads` compress.
    pub fn new(store: Store, agent: Arc<dyn TreeAgent>, threads: NonZeroUsize) -> Self {
        let inner = Arc::new(Inner {
            store,
            agent,
            threads,
            indexes: Arc::default(),
            merged: Arc::default(),
            writing: Arc::default(),
        });
        Self {
            inner,
            latest: None,
        }
    }

    /// Works on a session of the store: what is used through it is not collected while it lives.
    pub fn session(&self) -> Self {
        let inner = Arc::new(Inner {
            store: self.store().session(),
            agent: Arc::clone(&self.inner.agent),
            threads: self.inner.threads,
            indexes: Arc::clone(&self.inner.indexes),
            merged: Arc::clone(&self.inner.merged),
            writing: Arc::clone(&self.inner.writing),
        });
        Self {
            inner,
            latest: self.latest,
        }
    }

    /// Returns the same, but that no file of a layer that is made is later than `latest`, in seconds
    /// since 1970. Such a layer is another than one of the same files with natural times: it has a
    /// name of its own.
    #[must_use]
    pub fn with_latest_time(&self, latest: Option<i64>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            latest,
        }
    }

    pub(crate) fn latest(&self) -> Option<Mtime> {
        self.latest.map(Mtime::seconds)
    }

    /// Names a layer that was made. Times are no part of a layer's name unless they are fixed.
    pub(crate) fn name(&self, index: &LayerIndex) -> LayerId {
        name_of(index, self.latest)
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Returns how many threads compress.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.inner.threads
    }

    /// Returns who touches the files.
    pub(crate) fn agent(&self) -> &dyn TreeAgent {
        &*self.inner.agent
    }

    /// Returns what a layer holds.
    ///
    /// # Errors
    /// When the layer is not in the store, or its index is damaged.
    pub fn index(&self, id: &LayerId) -> Result<Arc<LayerIndex>, SnapshotError> {
        self.index_of(&self.layer(id)?)
    }

    /// Returns the merged view of layers, given from the bottom up.
    ///
    /// # Errors
    /// When one of them is not in the store, or its index is damaged.
    pub fn tree(&self, layers: &[LayerId]) -> Result<MergedTree, SnapshotError> {
        let layers: Result<Vec<_>, _> = layers.iter().map(|id| self.tree_layer(id)).collect();
        Ok(MergedTree::new(layers?))
    }

    /// Returns a layer as part of a merged view.
    ///
    /// # Errors
    /// When it is not in the store, or its index is damaged.
    pub fn tree_layer(&self, id: &LayerId) -> Result<TreeLayer, SnapshotError> {
        let layer = self.layer(id)?;
        // The forms first: an index that is newer than them is as good.
        let (packed, unpacked) = (layer.packed_path(), layer.unpacked_path());
        Ok(TreeLayer {
            index: self.index_of(&layer)?,
            packed,
            unpacked,
            keeper: Some(self.keeper(id)),
            namespace: self.agent().namespace().cloned(),
        })
    }

    /// Prepares a root file system of layers, given from the bottom up, for a step to change.
    /// Layers that are not unpacked yet are.
    ///
    /// # Errors
    /// When a layer is not in the store, or can't be unpacked.
    pub fn prepare(&self, layers: &[LayerId]) -> Result<Prepared, SnapshotError> {
        let parent = self.tree(layers)?;
        let mut mounted = topmost(layers);
        let layers = mounted.clone();
        if let Some(excess) = layers
            .len()
            .checked_sub(MOUNTED_LAYERS_MAX)
            .filter(|n| *n > 0)
        {
            let excess = excess.next_multiple_of(MERGED_LAYERS).min(layers.len() - 1);
            let flat = self.merged(&layers[..=excess])?;
            mounted.splice(..=excess, flat);
            mounted = topmost(&mounted);
        }
        let lowers: Result<Vec<_>, _> = mounted.iter().rev().map(|id| self.unpacked(id)).collect();
        Prepared::new(self, parent, lowers?, self.store().layer_draft()?)
    }

    /// Makes a copy of a root file system of layers, given from the bottom up, for a step to change
    /// where overlayfs cannot be mounted: its files are never those of a layer.
    ///
    /// # Errors
    /// When a layer is not in the store, or can't be copied.
    pub fn prepare_copy(&self, layers: &[LayerId]) -> Result<Copied, SnapshotError> {
        Copied::new(self, self.tree(layers)?)
    }

    /// Makes a new directory of all that a merged view holds.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn copy_tree(&self, tree: &MergedTree, directory: &Path) -> Result<(), SnapshotError> {
        let mut builder = self.builder(MergedTree::default(), Forms::UNPACKED);
        builder.add_tree(tree, &EntryPath::root());
        let mut entries = builder.all_entries();
        if !entries.first().is_some_and(|entry| entry.path().is_root()) {
            let metadata = Metadata::with_mode(0o755);
            let root = Entry::directory(EntryPath::root(), metadata);
            entries.insert(0, NewEntry::Other(root));
        }
        self.agent().create(directory, &entries).map(drop)
    }

    /// Makes a layer of what a step changed in a copy, as [`Snapshots::commit`] does.
    ///
    /// # Errors
    /// When what it made can't be read or stored.
    pub fn commit_copy(&self, copied: &Copied) -> Result<Option<LayerId>, SnapshotError> {
        let (root, parent) = (copied.root(), copied.parent());
        let index = self.agent().scan_changes(&root, copied.before())?;
        self.commit_as_tar(&root, index, parent)
    }

    /// Makes a layer of what a step changed above layers that fuse-overlayfs stacked, as
    /// [`Snapshots::commit`] does. Its marks are files, which overlayfs would show as such: the layer
    /// is stored as a tar.
    ///
    /// # Errors
    /// When what it made can't be read or stored.
    pub fn commit_stacked(&self, prepared: Prepared) -> Result<Option<LayerId>, SnapshotError> {
        let (parent, draft) = prepared.into_parts();
        let root = draft.fs();
        let index = self.agent().scan(&root, Marks::Files)?;
        self.commit_as_tar(&root, without_idle_whiteouts(index, &parent)?, &parent)
    }

    /// Makes a layer of all that is in a directory, which nobody changes meanwhile; nothing if nothing is. The
    /// directory stays as it is.
    ///
    /// # Errors
    /// When it can't be read, or the layer not be stored.
    pub fn commit_directory(&self, directory: &Path) -> Result<Option<LayerId>, SnapshotError> {
        let index = self.agent().scan(directory, Marks::Overlayfs)?;
        self.commit_as_tar(directory, index, &MergedTree::default())
    }

    fn commit_as_tar(
        &self,
        root: &Path,
        index: LayerIndex,
        parent: &MergedTree,
    ) -> Result<Option<LayerId>, SnapshotError> {
        let Some((mut index, _)) = self.changes(index, parent)? else {
            return Ok(None);
        };
        if let Some(latest) = self.latest() {
            index = index_until(&index, latest)?.0;
        }
        let layer = TreeLayer {
            index: Arc::new(index),
            packed: None,
            unpacked: Some(root.to_owned()),
            keeper: None,
            namespace: self.agent().namespace().cloned(),
        };
        let draft = self.store().layer_draft()?;
        let mut tar = self.new_tar(&draft)?;
        let written = self.agent().pack(&layer, &mut tar)?;
        drop(tar);
        let id = self.name(&written.index);
        self.publish(draft, &id, &written.index, tar_record(&written))?;
        Ok(Some(id))
    }

    /// Returns what of the files that a step left is a change, and what of them is to be removed; nothing when it changed
    /// nothing.
    fn changes(
        &self,
        mut index: LayerIndex,
        parent: &MergedTree,
    ) -> Result<Option<(LayerIndex, Prune)>, SnapshotError> {
        if !self.agent().keeps_owners() {
            index = restore_owners(index, parent)?;
        }
        let changes = prune_step(index, parent)?;
        Ok(Some(changes).filter(|(index, _)| !index.is_empty()))
    }

    /// Makes a layer of what a step changed; nothing when it changed nothing. The step's processes
    /// and mounts must be gone. `named` finds the digest of its tar too, as [`Forms::named`].
    ///
    /// # Errors
    /// When what it made can't be read or stored.
    pub fn commit(
        &self,
        prepared: Prepared,
        named: bool,
    ) -> Result<Option<LayerId>, SnapshotError> {
        let (parent, draft) = prepared.into_parts();
        let root = draft.fs();
        let _ahead = self.ahead(&draft);
        let index = self.agent().scan(&root, Marks::Overlayfs)?;
        let Some((index, prune)) = self.changes(index, &parent)? else {
            return Ok(None);
        };
        self.agent().prune(&root, &prune)?;
        let index = match self.latest() {
            None => index,
            Some(latest) => {
                let (index, changed) = index_until(&index, latest)?;
                self.agent().set_times(&root, &changed, latest)?;
                index
            }
        };
        let id = self.name(&index);
        if named {
            self.publish_named(draft, &id, Arc::new(index))?;
        } else {
            self.publish(draft, &id, &index, LayerRecord::default())?;
        }
        Ok(Some(id))
    }

    /// Starts a layer that is written entry by entry, on top of `parent`.
    pub fn builder(&self, parent: MergedTree, forms: Forms) -> LayerBuilder {
        LayerBuilder::new(self.clone(), parent, forms)
    }

    /// Stores a layer that came with an image, in the forms that are asked for. `blob` is its tar,
    /// compressed or not; it is not read when the forms are there already.
    ///
    /// # Errors
    /// When the blob can't be read, is not the layer that it should be, or can't be stored.
    pub fn import(
        &self,
        diff_id: &DiffId,
        forms: Forms,
        blob: impl FnOnce() -> io::Result<Box<dyn BufRead + Send>>,
    ) -> Result<Layer, SnapshotError> {
        self.import_as(&LayerId::Pulled(*diff_id), forms, blob)
    }

    /// Stores a layer that a step made elsewhere, as [`Snapshots::import`] does. Its name is checked
    /// against what it holds.
    ///
    /// # Errors
    /// When the blob can't be read, holds other files than its name says, or can't be stored.
    pub fn import_made(
        &self,
        content: &ContentDigest,
        forms: Forms,
        blob: impl FnOnce() -> io::Result<Box<dyn BufRead + Send>>,
    ) -> Result<Layer, SnapshotError> {
        self.import_as(&LayerId::Made(*content), forms, blob)
    }

    fn import_as(
        &self,
        id: &LayerId,
        forms: Forms,
        blob: impl FnOnce() -> io::Result<Box<dyn BufRead + Send>>,
    ) -> Result<Layer, SnapshotError> {
        let present = || -> Result<Option<Layer>, SnapshotError> {
            Ok(self.store().layer(id)?.filter(|layer| forms.are_in(layer)))
        };
        if let Some(layer) = present()? {
            return Ok(layer);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(layer) = present()? {
            return Ok(layer);
        }
        let existing = self.store().layer(id)?;
        if let Some(packed) = existing.as_ref().and_then(Layer::packed_path) {
            return self.unpack_into(id, packed);
        }
        let draft = self.store().layer_draft()?;
        let tar = fs::File::create_new(draft.packed()).map_err(SnapshotError::Draft)?;
        let blob = blob().map_err(SnapshotError::Draft)?;
        let plain = ExpansionLimit::LAYER.decompress(blob)?;
        let copy = Copying {
            reader: plain,
            copy: io::BufWriter::with_capacity(1 << 17, tar),
        };
        let read = copy.index(id, &draft.index())?;
        self.check_name(id, &read)?;
        let record = LayerRecord {
            diff_id: Some(read.diff_id),
            packed_bytes: Some(read.bytes),
            ..LayerRecord::default()
        };
        if forms.unpacked {
            let layer = Unpacking::Draft {
                index: &draft.index(),
                entries: read.index.entries,
                packed: &draft.packed(),
            };
            self.unpack(&layer, &draft)?;
        }
        if !forms.packed {
            fs::remove_file(draft.packed()).map_err(SnapshotError::Draft)?;
        }
        let size = (read.index.content_bytes, read.index.entries);
        self.publish_indexed(draft, id, size, record)
    }

    /// Checks that a layer that was read is the one that its name says.
    fn check_name(&self, id: &LayerId, read: &IndexedLayer) -> Result<(), SnapshotError> {
        let found = LayerId::Made(name_until(read.index.content, self.latest));
        match id {
            LayerId::Pulled(expected) if read.diff_id != *expected => {
                Err(SnapshotError::WrongDiffId {
                    expected: *expected,
                    found: read.diff_id,
                })
            }
            LayerId::Made(_) if found != *id => Err(SnapshotError::WrongContent {
                expected: *id,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Returns the unpacked form of a layer, and makes it if it is missing.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be unpacked.
    pub fn unpacked(&self, id: &LayerId) -> Result<PathBuf, SnapshotError> {
        if let Some(path) = self.layer(id)?.unpacked_path() {
            return Ok(path);
        }
        if let LayerId::Pulled(diff_id) = id
            && self.layer(id)?.packed_path().is_none()
        {
            let layer = self.import(diff_id, Forms::UNPACKED, || self.pulled_blob(id))?;
            return layer.unpacked_path().ok_or(SnapshotError::NoForm(*id));
        }
        let _making = self.store().lock_making(id)?;
        let layer = self.layer(id)?;
        if let Some(path) = layer.unpacked_path() {
            return Ok(path);
        }
        let packed = layer.packed_path().ok_or(SnapshotError::NoForm(*id))?;
        let layer = self.unpack_into(id, packed)?;
        layer.unpacked_path().ok_or(SnapshotError::NoForm(*id))
    }

    /// Makes a new directory of a layer's files, for the caller to keep and to change.
    ///
    /// # Errors
    /// When the layer is not in the store, or the directory can't be made.
    pub fn copy_out(&self, id: &LayerId, directory: &Path) -> Result<(), SnapshotError> {
        let layer = self.tree_layer(id)?;
        self.agent().unpack(&Unpacking::Layer(&layer), directory)
    }

    /// Makes a directory one that steps find with an owner and a mode, as far as owners are kept, and
    /// puts it into its place by `place`, which gives that place. Without root it belongs to
    /// somebody else then.
    ///
    /// # Errors
    /// When it cannot be given away, or not be put into its place.
    pub fn place_directory<E: From<SnapshotError>>(
        &self,
        directory: &Path,
        owner: (u32, u32),
        mode: u32,
        place: impl FnOnce(&Path) -> Result<PathBuf, E>,
    ) -> Result<(), E> {
        /// What allows to move a directory of somebody else.
        const ALL: u32 = 0o777;
        let ours = self.agent().namespace().is_none();
        let first = if ours { mode } else { mode | ALL };
        self.agent().give(directory, owner, first)?;
        let placed = place(directory)?;
        if first != mode {
            self.agent().give(&placed, owner, mode)?;
        }
        Ok(())
    }

    /// Returns the packed form of a layer, and makes it if it is missing.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be packed.
    pub fn packed(&self, id: &LayerId) -> Result<PackedLayer, SnapshotError> {
        if let Some(packed) = packed_of(&self.layer(id)?) {
            return Ok(packed);
        }
        if let LayerId::Pulled(diff_id) = id {
            // Only the original bytes have the name that the image gives them.
            let layer = self.import(diff_id, Forms::PACKED, || self.pulled_blob(id))?;
            return packed_of(&layer).ok_or(SnapshotError::NoForm(*id));
        }
        let _making = self.store().lock_making(id)?;
        if let Some(packed) = packed_of(&self.layer(id)?) {
            return Ok(packed);
        }
        let draft = self.store().layer_draft()?;
        let mut tar = self.new_tar(&draft)?;
        let written = self.agent().pack(&self.tree_layer(id)?, &mut tar)?;
        drop(tar);
        let record = tar_record(&written);
        let layer = self.publish(draft, id, &written.index, record)?;
        packed_of(&layer).ok_or(SnapshotError::NoForm(*id))
    }

    /// Returns the digest of a layer's tar. The tar itself is not kept when it is made for this: an
    /// image names its layers, and few are ever exported.
    ///
    /// # Errors
    /// When the layer is not in the store, or its files can't be read.
    pub fn diff_id(&self, id: &LayerId) -> Result<DiffId, SnapshotError> {
        if let LayerId::Pulled(diff_id) = id {
            return Ok(*diff_id);
        }
        if let Some(diff_id) = self.layer(id)?.record.diff_id {
            return Ok(diff_id);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(diff_id) = self.layer(id)?.record.diff_id {
            return Ok(diff_id);
        }
        let written = self.agent().pack(&self.tree_layer(id)?, &mut io::sink())?;
        self.note_tar(id, &written)?;
        Ok(written.diff_id)
    }

    /// Records what is known of a layer's tar, which is not kept.
    pub(crate) fn note_tar(
        &self,
        id: &LayerId,
        written: &WrittenLayer<()>,
    ) -> Result<(), SnapshotError> {
        self.store().update_record(id, |record| {
            record.diff_id = Some(written.diff_id);
            record.packed_bytes = Some(written.bytes);
        })?;
        Ok(())
    }

    /// Returns the digests of layers' tars, in their order. Several are made at once.
    ///
    /// # Errors
    /// As [`Snapshots::diff_id`].
    pub fn diff_ids(&self, layers: &[LayerId]) -> Result<Vec<DiffId>, SnapshotError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(id) = layers.get(at) else {
                    return Ok::<_, SnapshotError>(found);
                };
                found.push((at, self.diff_id(id)?));
            }
        };
        let unknown = layers
            .iter()
            .filter(|id| matches!(id, LayerId::Made(_)))
            .count();
        let threads = self.threads().get().min(unknown).max(1);
        let mut found = on_threads(threads, work)?;
        found.sort_unstable_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, diff_id)| diff_id).collect())
    }

    /// Returns the layer that was made of several, if this process did so and it is still there, or
    /// makes it.
    fn merged(&self, layers: &[LayerId]) -> Result<Option<LayerId>, SnapshotError> {
        let key = (layers.to_vec(), self.latest);
        let merged_so_far = || {
            let merged = &self.inner.merged;
            // A map is whole whoever let go of it.
            merged.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let known = merged_so_far().get(&key).copied();
        if let Some(merged) = known
            && merged.is_none_or(|id| self.layer(&id).is_ok())
        {
            return Ok(merged);
        }
        let merged = self.flatten(layers)?;
        merged_so_far().insert(key, merged);
        Ok(merged)
    }

    /// Makes one layer of several, given from the bottom up; nothing when nothing is left of them.
    ///
    /// # Errors
    /// When one of them is not in the store, or the layer can't be made.
    pub fn flatten(&self, layers: &[LayerId]) -> Result<Option<LayerId>, SnapshotError> {
        let tree = self.tree(layers)?;
        let mut builder = self.builder(MergedTree::default(), Forms::UNPACKED);
        builder.add_tree(&tree, &EntryPath::root());
        builder.finish()
    }

    /// Stores what was made in a draft.
    pub(crate) fn publish(
        &self,
        draft: LayerDraft,
        id: &LayerId,
        index: &LayerIndex,
        record: LayerRecord,
    ) -> Result<Layer, SnapshotError> {
        self.write_index(&draft, index)?;
        self.publish_indexed(draft, id, size_of(index), record)
    }

    /// Makes the tar of a draft.
    fn new_tar(&self, draft: &LayerDraft) -> Result<DraftTar, SnapshotError> {
        let tar = DraftTar::create(&draft.packed(), self.store().still_file());
        tar.map_err(SnapshotError::Draft)
    }

    /// Has the disk begin with what is made in a draft.
    pub(crate) fn ahead(&self, draft: &LayerDraft) -> Ahead {
        Ahead::of(draft.dir(), &self.inner.writing)
    }

    fn write_index(&self, draft: &LayerDraft, index: &LayerIndex) -> Result<(), SnapshotError> {
        fs::write(draft.index(), index.encode()).map_err(SnapshotError::Draft)
    }

    fn publish_indexed(
        &self,
        draft: LayerDraft,
        id: &LayerId,
        (content_bytes, entries): (u64, u64),
        record: LayerRecord,
    ) -> Result<Layer, SnapshotError> {
        if draft.fs().symlink_metadata().is_ok() {
            self.agent().settle(&draft.fs())?;
        }
        let record = LayerRecord {
            content_bytes,
            entries,
            latest_time: self.latest.filter(|_| matches!(id, LayerId::Made(_))),
            ..record
        };
        Ok(draft.publish(id, record)?)
    }

    /// Stores an unpacked layer that was made in a draft, with the digest of its tar.
    pub(crate) fn publish_named(
        &self,
        draft: LayerDraft,
        id: &LayerId,
        index: Arc<LayerIndex>,
    ) -> Result<Layer, SnapshotError> {
        self.agent().settle(&draft.fs())?;
        self.write_index(&draft, &index)?;
        let layer = TreeLayer {
            index,
            packed: None,
            keeper: None,
            namespace: self.agent().namespace().cloned(),
            unpacked: Some(draft.fs()),
        };
        let written = self.agent().pack(&layer, &mut io::sink())?;
        let record = tar_record(&written);
        self.publish_indexed(draft, id, size_of(&layer.index), record)
    }

    /// Writes entries, which are in the order of paths, to a draft, and returns what they are and the name of the tar,
    /// if one was written.
    pub(crate) fn write(
        &self,
        draft: &LayerDraft,
        entries: &[NewEntry],
        forms: Forms,
    ) -> Result<(Arc<LayerIndex>, Option<PendingDiffId>), SnapshotError> {
        if !forms.packed {
            let index = self.agent().create(&draft.fs(), entries)?;
            return Ok((Arc::new(index), None));
        }
        let mut tar = self.new_tar(draft)?;
        let UnnamedLayer { index, name, .. } = pack_entries(entries, &mut tar)?;
        drop(tar);
        let index = Arc::new(index);
        if forms.unpacked {
            let layer = TreeLayer {
                index: Arc::clone(&index),
                packed: Some(draft.packed()),
                unpacked: None,
                keeper: None,
                namespace: None,
            };
            self.agent()
                .unpack(&Unpacking::Layer(&layer), &draft.fs())?;
        }
        Ok((index, Some(name)))
    }

    /// Stores a layer whose tar was written to a draft. The last of the tar may still be hashed: meanwhile its index is
    /// written.
    pub(crate) fn publish_packed(
        &self,
        draft: LayerDraft,
        id: &LayerId,
        index: &LayerIndex,
        name: PendingDiffId,
    ) -> Result<Layer, SnapshotError> {
        self.write_index(&draft, index)?;
        let (diff_id, bytes) = name.wait();
        let record = LayerRecord {
            diff_id: Some(diff_id),
            packed_bytes: Some(bytes),
            ..LayerRecord::default()
        };
        self.publish_indexed(draft, id, size_of(index), record)
    }

    fn unpack_into(&self, id: &LayerId, packed: PathBuf) -> Result<Layer, SnapshotError> {
        let index = self.index(id)?;
        let draft = self.store().layer_draft()?;
        let layer = TreeLayer {
            index: Arc::clone(&index),
            packed: Some(packed),
            unpacked: None,
            keeper: Some(self.keeper(id)),
            namespace: self.agent().namespace().cloned(),
        };
        self.unpack(&Unpacking::Layer(&layer), &draft)?;
        self.publish(draft, id, &index, LayerRecord::default())
    }

    /// Makes the unpacked form of a layer in a draft; the disk begins with it meanwhile.
    fn unpack(&self, layer: &Unpacking<'_>, draft: &LayerDraft) -> Result<(), SnapshotError> {
        let _ahead = self.ahead(draft);
        self.agent().unpack(layer, &draft.fs())
    }

    /// Returns who is told when a layer turns out to be damaged.
    pub(crate) fn keeper(&self, id: &LayerId) -> Keeper {
        Keeper::new(self.store().clone(), *id)
    }

    pub(crate) fn layer(&self, id: &LayerId) -> Result<Layer, SnapshotError> {
        let found = self.store().layer(id)?;
        found.ok_or(SnapshotError::Store(
            stagewright_store::StoreError::NoLayer(*id),
        ))
    }

    fn index_of(&self, layer: &Layer) -> Result<Arc<LayerIndex>, SnapshotError> {
        let mut file = fs::File::open(layer.index_path()).map_err(SnapshotError::Draft)?;
        let metadata = file.metadata().map_err(SnapshotError::Draft)?;
        let version = (metadata.dev(), metadata.ino());
        let indexes = || {
            self.inner
                .indexes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some((known, index)) = indexes().get(&layer.id)
            && *known == version
        {
            return Ok(Arc::clone(index));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(SnapshotError::Draft)?;
        let index = LayerIndex::decode(&bytes).map_err(|source| {
            self.keeper(&layer.id)
                .set_aside(LayerPart::Whole, &source.to_string());
            SnapshotError::Index {
                layer: layer.id,
                source,
            }
        })?;
        let index = Arc::new(index);
        indexes().insert(layer.id, (version, Arc::clone(&index)));
        Ok(index)
    }

    /// Opens any compressed form of a layer.
    fn pulled_blob(&self, id: &LayerId) -> io::Result<Box<dyn BufRead + Send>> {
        let layer = self.layer(id).map_err(io::Error::other)?;
        for blob in layer
            .record
            .compressed
            .iter()
            .filter(|blob| is_the_layer(blob))
        {
            // What comes out of a damaged one would not be the layer: better to know before.
            if !self
                .store()
                .check_blob(&blob.digest)
                .map_err(io::Error::other)?
            {
                continue;
            }
            if let Some(blob) = self.store().blob(&blob.digest).map_err(io::Error::other)? {
                let file = fs::File::open(blob.path)?;
                return Ok(Box::new(io::BufReader::with_capacity(1 << 17, file)));
            }
        }
        let message = format!("layer {id} is in the store without its files");
        Err(io::Error::new(io::ErrorKind::NotFound, message))
    }
}

/// Leaves out layers that come again above: whatever such a layer adds and hides, it adds and hides
/// there. The kernel refuses to mount a directory twice.
fn topmost(layers: &[LayerId]) -> Vec<LayerId> {
    let mut seen = HashSet::new();
    let mut kept: Vec<LayerId> = layers
        .iter()
        .rev()
        .filter(|id| seen.insert(**id))
        .copied()
        .collect();
    kept.reverse();
    kept
}

/// Returns the bytes of a layer's files and how many entries it has.
fn size_of(index: &LayerIndex) -> (u64, u64) {
    (index.content_bytes(), index.len() as u64)
}

/// Returns the record of a layer whose tar was written.
fn tar_record(written: &WrittenLayer<()>) -> LayerRecord {
    LayerRecord {
        diff_id: Some(written.diff_id),
        packed_bytes: Some(written.bytes),
        ..LayerRecord::default()
    }
}

fn packed_of(layer: &Layer) -> Option<PackedLayer> {
    Some(PackedLayer {
        path: layer.packed_path()?,
        diff_id: layer.record.diff_id?,
        bytes: layer.record.packed_bytes?,
    })
}

/// Passes on what it reads, and writes it to a file.
struct Copying<R> {
    reader: R,
    copy: io::BufWriter<fs::File>,
}

impl<R: Read> Copying<R> {
    /// Reads a layer's tar to its end, and writes its index.
    fn index(mut self, layer: &LayerId, index: &Path) -> Result<IndexedLayer, SnapshotError> {
        let index = fs::File::create_new(index).map_err(SnapshotError::Draft)?;
        let read = store_index(&mut self, index).map_err(|source| SnapshotError::Import {
            layer: *layer,
            source,
        })?;
        self.copy.flush().map_err(SnapshotError::Draft)?;
        Ok(read)
    }
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.copy.write_all(&buffer[..count])?;
        Ok(count)
    }
}

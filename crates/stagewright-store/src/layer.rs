//! Layers, in up to two forms.
//!
//! ```text
//! layers/<name>/record       LayerRecord, checked
//! layers/<name>/record.provisional   the same of a layer that is not durable yet
//! layers/<name>/index        the layer's entries, as the layer crate encodes them
//! layers/<name>/packed.tar   the packed form, if something needed it
//! layers/<name>/fs/          the unpacked form, if something needed it
//! layers/<name>/lock         held while a form or the record is added
//! layers/<name>/making       held while somebody makes a form, so that it is made once
//! ```
//!
//! A layer exists when its `record` does, which gets its name last, when all the rest has its own. A form is renamed into
//! its place when it is complete, and durable if the layer is; a new layer is not until it is settled. The store does not
//! look inside.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use stagewright_digest::{DiffId, Digest, LayerId};

use crate::disk;
use crate::error::StoreError;
use crate::files::with_checksum;
use crate::lock::FileLock;
use crate::provisional;
use crate::store::Store;
use crate::temp::TempDir;

pub(crate) const RECORD: &str = "record";
pub(crate) const PROVISIONAL: &str = "record.provisional";
pub(crate) const INDEX: &str = "index";
const PACKED: &str = "packed.tar";
const UNPACKED: &str = "fs";
/// About what a file or directory takes beside its bytes: half a block that is not full, and an inode.
const ENTRY_BYTES: u64 = 2_560;

/// How many records are remembered: 10 MB at most.
const RECORDS_MAX: usize = 1 << 14;

/// Records that were read, each with the file that it was read from.
pub(crate) type Records = HashMap<LayerId, (Stamp, LayerRecord)>;

/// Tells whether a file is still the one that was read: records are replaced and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    changed: (i64, i64),
    bytes: u64,
}

fn stamp_of(path: &Path) -> io::Result<Option<Stamp>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    Ok(Some(Stamp {
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.size(),
    }))
}

/// Looks for a record under both of its names. One that is settled meanwhile has neither when it is looked for, and has the
/// first for ever then.
pub(crate) fn either_record<T>(
    look: impl Fn(&'static str) -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    for name in [RECORD, PROVISIONAL, RECORD] {
        if let Some(found) = look(name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What is recorded of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The digest of its uncompressed tar, once that was made.
    pub diff_id: Option<DiffId>,
    /// The length of its uncompressed tar, once that was made.
    pub packed_bytes: Option<u64>,
    /// The bytes of its files.
    pub content_bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The time, in seconds since 1970, that none of its files is later than, where that is part of
    /// its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_time: Option<i64>,
    /// The compressed forms that are blobs of the store.
    pub compressed: Vec<CompressedBlob>,
    /// The mark of a layer that is not durable yet, which [`LayerDraft::publish`] sets and [`Store::settle`] takes off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional: Option<String>,
}

impl LayerRecord {
    /// Returns what is recorded of the layer now that it is durable: the mark in the file counts no more.
    pub(crate) fn settled(self) -> Self {
        Self {
            provisional: None,
            ..self
        }
    }
}

/// A compressed form of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressedBlob {
    /// How it was made: `gzip2-6`, `zstd-3`, or `pulled`.
    pub codec: String,
    /// The blob.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
    /// What its descriptor says besides, for those who read only parts of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A layer that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub id: LayerId,
    /// What is recorded of it.
    pub record: LayerRecord,
    directory: PathBuf,
}

impl Layer {
    pub(crate) fn new(id: LayerId, record: LayerRecord, directory: PathBuf) -> Self {
        Self {
            id,
            record,
            directory,
        }
    }

    /// Returns the path of the index of its entries.
    pub fn index_path(&self) -> PathBuf {
        self.directory.join(INDEX)
    }

    /// Returns the path of its uncompressed tar, if it is stored in that form.
    pub fn packed_path(&self) -> Option<PathBuf> {
        Some(self.directory.join(PACKED)).filter(|path| path.exists())
    }

    /// Returns its directory of files, if it is stored in that form.
    pub fn unpacked_path(&self) -> Option<PathBuf> {
        Some(self.directory.join(UNPACKED)).filter(|path| path.exists())
    }
}

impl Store {
    /// Finds a layer.
    pub fn layer(&self, id: &LayerId) -> Result<Option<Layer>, StoreError> {
        self.protect(&name_of(id))?;
        let directory = self.layer_directory(id);
        let record = self.known_record(id, &directory)?;
        let record = record.filter(|record| !provisional::is_lost(record));
        if let Some(mark) = record
            .as_ref()
            .and_then(|record| record.provisional.as_ref())
        {
            self.unsettled().note(id, mark);
        }
        Ok(record.map(|record| Layer {
            id: *id,
            record,
            directory,
        }))
    }

    /// Returns the record of a layer, also of one that is lost. One that did not change since it was read is not read again.
    fn known_record(
        &self,
        id: &LayerId,
        directory: &Path,
    ) -> Result<Option<LayerRecord>, StoreError> {
        let look = |name| stamp_of(&directory.join(name));
        let Some(stamp) = either_record(look)? else {
            return Ok(None);
        };
        if let Some((known, record)) = self.records().get(id)
            && *known == stamp
        {
            return Ok(Some(record.clone()));
        }
        let record = self.read_record(directory)?;
        if let Some(record) = &record {
            let mut records = self.records();
            if records.len() >= RECORDS_MAX {
                records.clear();
            }
            records.insert(*id, (stamp, record.clone()));
        }
        Ok(record)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // The map is whole whatever happened to its last user.
        self.known_records()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the record of a layer, also of one that is lost.
    pub(crate) fn read_record(&self, directory: &Path) -> Result<Option<LayerRecord>, StoreError> {
        let read = |name| -> io::Result<Option<LayerRecord>> {
            let bytes = self.read_checked(&directory.join(name))?;
            Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
        };
        either_record(|name| {
            let record = read(name)?;
            Ok(match name {
                RECORD => record.map(LayerRecord::settled),
                _ => record.filter(|record| record.provisional.is_some()),
            })
        })
        .map_err(StoreError::from)
    }

    /// Starts a layer, or a form of one, in a place of its own on the same file system.
    pub fn layer_draft(&self) -> Result<LayerDraft, StoreError> {
        Ok(LayerDraft {
            store: self.clone(),
            temp: self.temp_dir()?,
        })
    }

    /// Changes what is recorded of a layer, alone.
    ///
    /// # Errors
    /// When the layer is not there or the record cannot be written.
    pub fn update_record(
        &self,
        id: &LayerId,
        change: impl FnOnce(&mut LayerRecord),
    ) -> Result<LayerRecord, StoreError> {
        let _lock = self.lock_layer(id)?;
        let mut record = self.layer(id)?.ok_or(StoreError::NoLayer(*id))?.record;
        change(&mut record);
        self.write_record(id, &record)?;
        Ok(record)
    }

    /// Waits until nobody else makes a form of a layer: to make it once. It may be published while
    /// this is held.
    ///
    /// # Errors
    /// When the lock cannot be made.
    pub fn lock_making(&self, id: &LayerId) -> Result<FileLock, StoreError> {
        self.protect(&name_of(id))?;
        let directory = self.layer_directory(id);
        disk::create_dir_within(&directory)?;
        Ok(FileLock::wait(&directory.join("making"))?)
    }

    /// Waits until this process is alone with a layer, for a moment: to change its record.
    pub fn lock_layer(&self, id: &LayerId) -> Result<FileLock, StoreError> {
        self.protect(&name_of(id))?;
        let directory = self.layer_directory(id);
        disk::create_dir_within(&directory)?;
        Ok(FileLock::wait(&directory.join("lock"))?)
    }

    pub(crate) fn layer_directory(&self, id: &LayerId) -> PathBuf {
        self.path().join("layers").join(id.file_name())
    }

    pub(crate) fn write_record(
        &self,
        id: &LayerId,
        record: &LayerRecord,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        let directory = self.layer_directory(id);
        match record.provisional {
            None => self.publish_checked(&directory.join(RECORD), &bytes)?,
            Some(_) => self.publish_hint(&directory.join(PROVISIONAL), &bytes)?,
        }
        // Two writes in one tick of the clock may look alike.
        self.records().remove(id);
        Ok(())
    }
}

/// A layer that is being made. Dropping it removes what was made.
#[derive(Debug)]
pub struct LayerDraft {
    store: Store,
    temp: TempDir,
}

impl LayerDraft {
    /// Returns the folder of the draft.
    pub fn dir(&self) -> &Path {
        self.temp.path()
    }

    /// Returns the path for the unpacked form: not made yet.
    pub fn fs(&self) -> PathBuf {
        self.dir().join(UNPACKED)
    }

    /// Returns the path for a work directory beside it: not made yet.
    pub fn work(&self) -> PathBuf {
        self.dir().join("work")
    }

    /// Returns the path for the packed form: not made yet.
    pub fn packed(&self) -> PathBuf {
        self.dir().join(PACKED)
    }

    /// Returns the path for the index: not made yet.
    pub fn index(&self) -> PathBuf {
        self.dir().join(INDEX)
    }

    /// Moves the forms that were made to their places and records the layer. Of a layer that is
    /// there already, forms that are missing are added and the rest is dropped. A new layer is not
    /// durable before [`Store::settle`].
    ///
    /// # Errors
    /// When a file cannot be moved or made durable.
    pub fn publish(self, id: &LayerId, record: LayerRecord) -> Result<Layer, StoreError> {
        let _lock = self.store.lock_layer(id)?;
        let directory = self.store.layer_directory(id);
        let existing = self.store.layer(id)?;
        if let Some(layer) = &existing
            && !self.adds_to(layer)
        {
            // Nothing is made durable that is about to be removed.
            let known = merged(layer.record.clone(), record);
            if known != layer.record {
                self.store.write_record(id, &known)?;
            }
            return Ok(Layer::new(*id, known, directory));
        }
        let fresh = existing.is_none();
        let added_bytes = record.content_bytes + record.entries * ENTRY_BYTES;
        // A form that is added gives a layer that is provisional a new mark: who settles it may have synced before.
        let settled = |layer: &Layer| layer.record.provisional.is_none();
        let mark =
            provisional::mark(self.dir()).filter(|_| !existing.as_ref().is_some_and(settled));
        let record = match existing {
            None => record,
            Some(layer) => merged(layer.record, record),
        };
        let record = LayerRecord {
            provisional: mark.clone(),
            ..record
        };
        self.write_record(&record)?;
        if mark.is_none() {
            self.make_durable()?;
        }
        let (mut packs, mut added) = (false, 0);
        for name in [PACKED, UNPACKED, INDEX] {
            let (from, to) = (self.dir().join(name), directory.join(name));
            // What a broken attempt left behind has no record: it is replaced.
            if fresh {
                disk::remove_any(&to, self.store.remover())?;
            }
            // The index of a packed form says where in it the files are: it comes with it.
            let replaces = to.symlink_metadata().is_err() || name == INDEX && packs;
            if from.symlink_metadata().is_ok() && replaces {
                disk::rename(&from, &to)?;
                packs |= name == PACKED;
                added += match name {
                    UNPACKED => added_bytes,
                    _ => to.metadata()?.len(),
                };
            }
        }
        let name = if mark.is_some() { PROVISIONAL } else { RECORD };
        disk::rename(&self.dir().join(RECORD), &directory.join(name))?;
        self.store.records().remove(id);
        self.store.note_growth(added);
        match &mark {
            Some(mark) => self.store.unsettled().note(id, mark),
            None => {
                disk::sync_directory(&directory)?;
                // Whoever made the folder may have died before its name was durable.
                disk::sync_directory(&self.store.path().join("layers"))?;
            }
        }
        Ok(Layer {
            id: *id,
            record,
            directory,
        })
    }

    /// Says whether a form was made that a layer does not have.
    fn adds_to(&self, layer: &Layer) -> bool {
        [PACKED, UNPACKED, INDEX]
            .iter()
            .any(|name| self.dir().join(name).exists() && !layer.directory.join(name).exists())
    }

    /// Writes the record beside the forms.
    fn write_record(&self, record: &LayerRecord) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        let path = self.dir().join(RECORD);
        let mut file = fs::File::create(&path)?;
        Ok(disk::write_all(&mut file, &path, &with_checksum(&bytes))?)
    }

    /// Makes what is there durable: files one by one, a tree and what is beside it by syncing its file system.
    fn make_durable(&self) -> Result<(), StoreError> {
        if self.fs().exists() {
            return Ok(disk::sync_file_system(self.dir())?);
        }
        for name in [PACKED, INDEX, RECORD] {
            let path = self.dir().join(name);
            if path.exists() {
                disk::sync_data(fs::File::open(&path)?.file(), &path)?;
            }
        }
        Ok(())
    }
}

/// Returns how leases name a layer.
pub(crate) fn name_of(id: &LayerId) -> String {
    format!("layers/{}", id.file_name())
}

/// Adds what a new record knows to an old one.
fn merged(mut old: LayerRecord, new: LayerRecord) -> LayerRecord {
    old.diff_id = old.diff_id.or(new.diff_id);
    old.packed_bytes = old.packed_bytes.or(new.packed_bytes);
    for blob in new.compressed {
        if !old.compressed.iter().any(|known| known.codec == blob.codec) {
            old.compressed.push(blob);
        }
    }
    old
}

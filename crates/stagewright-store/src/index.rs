//! What was used when: sled, as an index over the files.
//!
//! ```text
//! index/sled-0.34/   sled's own files; tree `layers`: name of the layer → LayerUse as JSON
//! index/pending      uses that are not in it yet, a line each: milliseconds since 1970, name
//! index/damaged-N    what could not be opened, set aside
//! ```
//!
//! Builds only append to `pending`: opening sled costs 2.6 ms with a thousand keys and 95 ms with a
//! million, it lets in one opener at a time, and a build must wait for neither. Who asks for the
//! index opens it, takes in what is pending, and brings it in line with the layers that are really
//! there. So whatever happens to it, nothing is lost but when something was last used.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use stagewright_digest::LayerId;

use crate::disk;
use crate::error::StoreError;
use crate::files;
use crate::lock::FileLock;
use crate::store::Store;
use crate::verify::Damage;

/// The format of the database is in the name of its folder: another one is rebuilt beside it.
const DATABASE: &str = "sled-0.34";
const PENDING: &str = "pending";
const TREE: &str = "layers";
/// How often, and how long apart, a database that another process holds is tried again.
const OPEN_ATTEMPTS: u32 = 40;
const OPEN_DELAY: Duration = Duration::from_millis(25);

/// When and how often a layer was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUse {
    /// The layer.
    pub id: LayerId,
    /// The bytes of its files.
    pub bytes: u64,
    /// When a build last used it, in milliseconds since 1970.
    pub last_used_unix_ms: u64,
    /// How many builds used it since the index was made.
    pub uses: u64,
}

impl Store {
    /// Notes that a build used layers. One append without waiting: losing it loses no result.
    pub fn note_use(&self, layers: &[LayerId], now_unix_ms: u64) -> Result<(), StoreError> {
        let mut lines = String::new();
        for layer in layers {
            lines += &format!("{now_unix_ms} {layer}\n");
        }
        let path = self.index_directory().join(PENDING);
        let mut file = match disk::append(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_dir_all(&self.index_directory())?;
                disk::append(&path)?
            }
            file => file?,
        };
        Ok(disk::write_all(&mut file, &path, lines.as_bytes())?)
    }

    /// Returns the layers that are stored, the least recently used first.
    ///
    /// A damaged index is set aside and made anew from the layers. One that another process holds
    /// is waited for up to a second; then the layers are listed by when they were made.
    ///
    /// # Errors
    /// When the layers cannot be listed.
    pub fn layer_uses(&self) -> Result<Vec<LayerUse>, StoreError> {
        let stored = self.stored_layers()?;
        let mut uses = self
            .locked_index(&stored)
            .unwrap_or_else(|error| without_index(&stored, &error.to_string()));
        uses.sort_by_key(|layer| (layer.last_used_unix_ms, layer.id));
        Ok(uses)
    }

    /// Takes the lock of the index and reads it, made anew if it is damaged.
    fn locked_index(&self, stored: &BTreeMap<LayerId, LayerUse>) -> io::Result<Vec<LayerUse>> {
        disk::create_dir_all(&self.index_directory())?;
        let _lock = FileLock::wait(&self.index_directory().join("lock"))?;
        match self.in_index(stored) {
            Ok(uses) => Ok(uses),
            Err(IndexFailure::Unavailable(reason)) => Err(io::Error::other(reason)),
            Err(IndexFailure::Damaged(reason)) => {
                self.set_index_aside()?;
                self.warn_of_damage(&self.index_directory().join(DATABASE), &reason);
                self.in_index(stored)
                    .map_err(|failure| io::Error::other(failure.reason().to_owned()))
            }
        }
    }

    /// Opens the index and brings it in line with the layers that are stored. The error says why
    /// it cannot be used: sled gives errors, and panics, for damage.
    fn in_index(
        &self,
        stored: &BTreeMap<LayerId, LayerUse>,
    ) -> Result<Vec<LayerUse>, IndexFailure> {
        let path = self.index_directory().join(DATABASE);
        let pending = self.index_directory().join(PENDING);
        catch_unwind(AssertUnwindSafe(|| {
            let database = open(&path)?;
            let uses = update(&database, stored, &pending)?;
            database.flush()?;
            // What is in the database now need not be taken in again.
            disk::remove_file(&pending)?;
            Ok(uses)
        }))
        .unwrap_or_else(|_| Err(IndexFailure::Damaged("it cannot be read".to_owned())))
    }

    /// Lists the layers that are stored, each as if it was last used when it was made.
    fn stored_layers(&self) -> Result<BTreeMap<LayerId, LayerUse>, StoreError> {
        let mut stored = BTreeMap::new();
        for entry in fs::read_dir(self.path().join("layers"))? {
            let entry = entry?;
            let name = entry.file_name();
            let Ok(id) = LayerId::from_file_name(&name.to_string_lossy()) else {
                continue;
            };
            let Some(layer) = self.layer(&id)? else {
                continue;
            };
            let made = entry.metadata()?.modified().unwrap_or(UNIX_EPOCH);
            let bytes = layer.record.content_bytes;
            let use_ = LayerUse {
                id,
                bytes,
                last_used_unix_ms: unix_ms(made),
                uses: 0,
            };
            stored.insert(id, use_);
        }
        Ok(stored)
    }

    /// Looks for damage in the index. It is only ever read by who makes it anew if need be.
    pub(crate) fn check_index(&self) -> io::Result<Option<Damage>> {
        let path = self.index_directory().join(DATABASE);
        if !path.exists() {
            return Ok(None);
        }
        let _lock = FileLock::wait(&self.index_directory().join("lock"))?;
        let read = catch_unwind(AssertUnwindSafe(|| {
            let tree = open(&path)?.open_tree(TREE)?;
            for entry in &tree {
                entry?;
            }
            Ok(())
        }))
        .unwrap_or_else(|_| Err(IndexFailure::Damaged("it cannot be read".to_owned())));
        Ok(match read {
            Err(IndexFailure::Damaged(reason)) => Some(Damage { path, reason }),
            _ => None,
        })
    }

    fn set_index_aside(&self) -> io::Result<()> {
        let path = self.index_directory().join(DATABASE);
        if !path.exists() {
            return Ok(());
        }
        // The newest damage is kept to be looked at, older damage is not.
        let aside = self.index_directory().join("damaged-0");
        disk::remove_tree(&aside)?;
        disk::rename(&path, &aside)
    }

    fn index_directory(&self) -> PathBuf {
        self.path().join("index")
    }
}

/// Why the index cannot be used.
#[derive(Debug)]
enum IndexFailure {
    /// Another process holds it, the disk is full, a file cannot be opened. It may be whole: it
    /// stays where it is.
    Unavailable(String),
    /// Its content makes no sense.
    Damaged(String),
}

impl IndexFailure {
    fn reason(&self) -> &str {
        match self {
            Self::Unavailable(reason) | Self::Damaged(reason) => reason,
        }
    }
}

impl From<sled::Error> for IndexFailure {
    fn from(error: sled::Error) -> Self {
        match error {
            // This is how sled reports files that are shorter than they should be.
            sled::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            sled::Error::Io(error) => Self::Unavailable(error.to_string()),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<io::Error> for IndexFailure {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn without_index(stored: &BTreeMap<LayerId, LayerUse>, reason: &str) -> Vec<LayerUse> {
    tracing::warn!(reason, "the store goes on without its index");
    stored.values().cloned().collect()
}

pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// sled lets in one opener, and its lock may outlast a handle a little.
fn open(path: &Path) -> Result<sled::Db, sled::Error> {
    let mut attempt = 1;
    loop {
        match sled::Config::new().path(path).open() {
            Err(sled::Error::Io(error)) if is_held(&error) && attempt < OPEN_ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(OPEN_DELAY);
            }
            result => return result,
        }
    }
}

/// Says whether another holds the database: sled tells so by its message alone.
fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().starts_with("could not acquire lock")
}

fn update(
    database: &sled::Db,
    stored: &BTreeMap<LayerId, LayerUse>,
    pending: &Path,
) -> Result<Vec<LayerUse>, IndexFailure> {
    let tree = database.open_tree(TREE)?;
    let mut known: BTreeMap<LayerId, LayerUse> = BTreeMap::new();
    for entry in &tree {
        let (key, value) = entry?;
        let use_: Option<LayerUse> = serde_json::from_slice(&value).ok();
        match use_.filter(|use_| stored.contains_key(&use_.id)) {
            Some(use_) => drop(known.insert(use_.id, use_)),
            None => drop(tree.remove(key)?),
        }
    }
    let mut changed: Vec<LayerId> = Vec::new();
    for (id, use_) in stored {
        if !known.contains_key(id) {
            known.insert(*id, use_.clone());
            changed.push(*id);
        }
    }
    let lines = files::read(pending)?.unwrap_or_default();
    for line in String::from_utf8_lossy(&lines).lines() {
        // A line that a crash cut off says nothing.
        let Some((time, id)) = line.split_once(' ') else {
            continue;
        };
        let (Ok(time), Ok(id)) = (time.parse::<u64>(), id.parse::<LayerId>()) else {
            continue;
        };
        if let Some(use_) = known.get_mut(&id) {
            use_.last_used_unix_ms = use_.last_used_unix_ms.max(time);
            use_.uses += 1;
            changed.push(id);
        }
    }
    for id in changed {
        let value = serde_json::to_vec(&known[&id]).map_err(io::Error::from)?;
        tree.insert(id.file_name(), value)?;
    }
    Ok(known.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerRecord, StoreOptions};
    use stagewright_digest::ContentDigest;

    fn store_with(names: &[&str]) -> (tempfile::TempDir, Store, Vec<LayerId>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            path: folder.path().join("store"),
        })
        .unwrap();
        let ids: Vec<LayerId> = names
            .iter()
            .map(|name| {
                let id = LayerId::Made(ContentDigest::of(name.as_bytes()));
                let draft = store.layer_draft().unwrap();
                fs::write(draft.index(), name).unwrap();
                let record = LayerRecord {
                    content_bytes: 7,
                    ..LayerRecord::default()
                };
                draft.publish(&id, record).unwrap();
                id
            })
            .collect();
        (folder, store, ids)
    }

    fn order(store: &Store) -> Vec<(LayerId, u64)> {
        store
            .layer_uses()
            .unwrap()
            .into_iter()
            .map(|layer| (layer.id, layer.uses))
            .collect()
    }

    const FUTURE: u64 = 1 << 45;

    #[test]
    fn layers_are_ordered_by_their_last_use() {
        let (_folder, store, ids) = store_with(&["a", "b", "c"]);
        assert_eq!(store.layer_uses().unwrap().len(), 3);
        store.note_use(&[ids[0], ids[1]], FUTURE).unwrap();
        store.note_use(&[ids[0]], FUTURE + 1).unwrap();
        assert_eq!(order(&store), [(ids[2], 0), (ids[1], 1), (ids[0], 2)]);
        // What was pending is counted once.
        assert_eq!(order(&store), [(ids[2], 0), (ids[1], 1), (ids[0], 2)]);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_is_cut_off_ignored() {
        let (_folder, store, ids) = store_with(&["a", "b"]);
        store.note_use(&ids, FUTURE).unwrap();
        order(&store);
        disk::remove_tree(&store.path().join("layers").join(ids[0].file_name())).unwrap();
        fs::write(
            store.path().join("index/pending"),
            format!("{FUTURE} {}\n99 blak", ids[1]),
        )
        .unwrap();
        assert_eq!(order(&store), [(ids[1], 2)]);
    }

    #[test]
    fn a_damaged_index_is_set_aside_and_made_anew() {
        let (_folder, store, ids) = store_with(&["a", "b"]);
        store.note_use(&ids, FUTURE).unwrap();
        order(&store);
        for entry in fs::read_dir(store.path().join("index/sled-0.34")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, [0x5a; 64]).unwrap();
            }
        }
        let mut found: Vec<LayerId> = order(&store).into_iter().map(|(id, _)| id).collect();
        found.sort();
        let mut all = ids.clone();
        all.sort();
        assert_eq!(found, all);
        assert!(store.path().join("index/damaged-0").exists());
        let warnings = store.take_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("index/sled-0.34 in the store was damaged and is set aside"),
            "{warnings:?}"
        );
    }

    #[test]
    fn an_index_that_is_held_is_done_without() {
        let (_folder, store, ids) = store_with(&["a"]);
        let path = store.path().join("index/sled-0.34");
        fs::create_dir_all(store.path().join("index")).unwrap();
        let held = sled::Config::new().path(&path).open().unwrap();
        held.insert("key", "value").unwrap();
        assert_eq!(order(&store), [(ids[0], 0)]);
        assert!(
            !store.path().join("index/damaged-0").exists(),
            "it is held, not damaged"
        );
        assert_eq!(held.get("key").unwrap(), Some("value".into()));
        drop(held);
        assert_eq!(order(&store), [(ids[0], 0)]);
    }

    #[test]
    fn an_index_that_is_held_for_a_moment_is_waited_for() {
        let (_folder, store, ids) = store_with(&["a", "b"]);
        store.note_use(&ids, FUTURE).unwrap();
        order(&store);
        let path = store.path().join("index/sled-0.34");
        let held = sled::Config::new().path(&path).open().unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            drop(held);
        });
        // Without the index nobody would know how often they were used.
        let uses: Vec<u64> = order(&store).into_iter().map(|(_, uses)| uses).collect();
        holder.join().unwrap();
        assert_eq!(uses, [1, 1]);
    }
}

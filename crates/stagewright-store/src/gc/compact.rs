//! Removing the records of what is gone.

use std::collections::HashSet;
use std::path::Path;

use stagewright_digest::{ActionKey, LayerId, PartsDigest};

use super::contents::modified;
use super::options::PruneOptions;
use crate::disk;
use crate::document::{PLACE_KIND, PlaceRecord, parts_name};
use crate::error::StoreError;
use crate::files::{self, file_name, list};
use crate::journal::{self, ActionResult};
use crate::lock::FileLock;
use crate::store::Store;

/// A shard is written anew when more than one in this many of its bytes is waste.
const WASTE: usize = 4;
/// How many files are removed while the gate is closed.
const BATCH: usize = 256;

/// Which records stay.
struct Kept<'a> {
    store: &'a Store,
    evicted: HashSet<String>,
    leased: HashSet<String>,
    /// Results without files go as well, those before this time.
    layerless_before: Option<u64>,
    /// Layers that were found.
    stored: HashSet<LayerId>,
    parts: HashSet<PartsDigest>,
}

impl Kept<'_> {
    fn keeps(&mut self, key: &ActionKey, result: &ActionResult) -> Result<bool, StoreError> {
        let keeps = self.leased.contains(&journal::name_of(key))
            || match &result.layer {
                None => self
                    .layerless_before
                    .is_none_or(|time| result.created_unix_ms >= time),
                // A record of what was collected says so when it is asked for.
                Some(layer) => self.is_stored(layer)? || self.evicted.contains(&layer.file_name()),
            };
        if keeps {
            self.parts.extend(result.parts);
        }
        Ok(keeps)
    }

    /// What is not there may be there the next time: a build that just made it records it next.
    fn is_stored(&mut self, layer: &LayerId) -> Result<bool, StoreError> {
        let stored = self.stored.contains(layer) || self.store.layer(layer)?.is_some();
        if stored {
            self.stored.insert(*layer);
        }
        Ok(stored)
    }
}

impl Store {
    /// Drops the records of actions whose layers are gone, and what only they were made of.
    pub(super) fn compact_actions(
        &self,
        options: &PruneOptions,
        began_unix_ms: u64,
    ) -> Result<(), StoreError> {
        self.trim_evicted()?;
        let outright = options.all && !options.has_end();
        let mut kept = Kept {
            store: self,
            evicted: self.evicted()?,
            leased: self.leased_names(false)?,
            layerless_before: outright
                .then(|| options.used_before_unix_ms.unwrap_or(began_unix_ms)),
            stored: HashSet::new(),
            parts: HashSet::new(),
        };
        for path in list(&self.path().join("actions"))? {
            self.compact_shard(&path, &mut kept)?;
        }
        for bytes in self.documents(PLACE_KIND)? {
            if let Ok(place) = serde_json::from_slice::<PlaceRecord>(&bytes) {
                kept.parts.insert(place.parts);
            }
        }
        self.remove_parts(&kept.parts, began_unix_ms)
    }

    /// Writes a shard anew without the records that do not stay. Who reads it has the old file or the
    /// new one; who waits to append finds that the old one has no name any more.
    fn compact_shard(&self, path: &Path, kept: &mut Kept) -> Result<(), StoreError> {
        let _lock = FileLock::wait(path)?;
        let bytes = files::read(path)?.unwrap_or_default();
        let last = journal::last_of_each(&bytes);
        let mut whole = Vec::new();
        for (key, frame) in last {
            let Some(result) = journal::result_of(&bytes[frame.clone()]) else {
                continue;
            };
            if kept.keeps(&key, &result)? {
                whole.extend_from_slice(&bytes[frame]);
            }
        }
        let waste = bytes.len() - whole.len();
        if waste == 0 || waste < bytes.len() / WASTE {
            return Ok(());
        }
        if whole.is_empty() {
            disk::remove_file(path)?;
            return Ok(());
        }
        Ok(self.publish(path, &whole)?)
    }

    /// Removes what keys were made of, where nothing names it. What was written since the collection
    /// began may be named by now.
    fn remove_parts(
        &self,
        needed: &HashSet<PartsDigest>,
        began_unix_ms: u64,
    ) -> Result<(), StoreError> {
        let mut garbage = Vec::new();
        for folder in list(&self.path().join("parts"))? {
            for path in list(&folder)? {
                let digest = format!("blake3:{}", file_name(&path)).parse::<PartsDigest>();
                if let Ok(digest) = digest
                    && !needed.contains(&digest)
                {
                    garbage.push((digest, path));
                }
            }
        }
        for batch in garbage.chunks(BATCH) {
            let gate = self.close_gate()?;
            for (digest, path) in batch {
                if !gate.leased(&parts_name(digest)) && modified(path) < began_unix_ms {
                    disk::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn key(n: u64) -> ActionKey {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&n.to_be_bytes());
        ActionKey::from_bytes(bytes)
    }

    fn result(n: u64) -> ActionResult {
        ActionResult {
            duration_ms: n,
            ..ActionResult::default()
        }
    }

    /// One shard, appended to and read by some while it is compacted again and again.
    #[test]
    fn appenders_and_readers_lose_nothing_while_a_shard_is_compacted() {
        const APPENDERS: u64 = 4;
        const RECORDS: u64 = 40;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::open(StoreOptions { path }).unwrap();
        store.record_action(&key(0), &result(0)).unwrap();
        let appending = std::sync::atomic::AtomicU64::new(APPENDERS);
        let running = || appending.load(std::sync::atomic::Ordering::SeqCst) > 0;
        std::thread::scope(|scope| {
            for appender in 0..APPENDERS {
                let (store, appending) = (store.clone(), &appending);
                scope.spawn(move || {
                    for n in 0..RECORDS {
                        let n = 1 + appender * RECORDS + n;
                        // The first of each is waste.
                        store.record_action(&key(n), &result(0)).unwrap();
                        store.record_action(&key(n), &result(n)).unwrap();
                        assert_eq!(store.action(&key(n)).unwrap(), Some(result(n)));
                    }
                    appending.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                });
            }
            scope.spawn(|| {
                while running() {
                    store.compact_actions(&PruneOptions::default(), 0).unwrap();
                }
            });
            while running() {
                assert_eq!(store.action(&key(0)).unwrap(), Some(result(0)));
            }
        });
        for n in 1..=APPENDERS * RECORDS {
            assert_eq!(store.action(&key(n)).unwrap(), Some(result(n)));
        }
    }
}

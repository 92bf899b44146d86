//! The action cache: results by action key.
//!
//! ```text
//! actions/<3 hex>   a shard: the records of all keys that begin with these digits
//!
//! shard  = frame*
//! frame  = u32le(length of body) checksum(8 bytes of BLAKE3 of body) body
//! body   = key(32 bytes) JSON of ActionResult
//! ```
//!
//! A shard is only ever appended to, under its lock, and made durable, with its layer if that is provisional. The last
//! frame of a key counts. What is no whole frame is skipped, so that a flipped bit costs one record and not all
//! that follow it. A frame that a crash cut off at the end is cut away by the next writer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stagewright_digest::{ActionKey, ContentDigest, Digest, LayerId, PartsDigest};

use crate::disk;
use crate::error::StoreError;
use crate::files;
use crate::lock::FileLock;
use crate::store::Store;

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = 4 + CHECKSUM_BYTES;
const KEY_BYTES: usize = 32;
/// A frame longer than this is damage, not a record.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The result of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// The layer that it made; none if it changed nothing.
    pub layer: Option<LayerId>,
    /// What its key was made of.
    pub parts: Option<PartsDigest>,
    /// When it ran, in milliseconds since 1970, as the history of images says it: that may be a time that builds share.
    pub created_unix_ms: u64,
    /// When it ran by the clock, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_unix_ms: Option<u64>,
    /// How long it ran.
    pub duration_ms: u64,
    /// The blob of what it wrote.
    pub log: Option<Digest>,
}

impl ActionResult {
    /// Says whether it was made before this time, in milliseconds since 1970.
    pub fn is_before(&self, unix_ms: u64) -> bool {
        self.made_unix_ms.unwrap_or(self.created_unix_ms) < unix_ms
    }
}

impl Store {
    /// Finds the result of an action. Nothing, too, when the layer that it made is not stored. What
    /// else it names and is not stored any more it does not name.
    pub fn action(&self, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let Some(mut result) = self.recorded(key)? else {
            return Ok(None);
        };
        if let Some(layer) = &result.layer
            && self.layer(layer)?.is_none()
        {
            return Ok(None);
        }
        result.parts = result.parts.filter(|parts| self.has_parts(parts));
        if let Some(log) = &result.log
            && self.blob(log)?.is_none()
        {
            result.log = None;
        }
        Ok(Some(result))
    }

    /// Returns the last record of an action, whether or not its layer is stored.
    pub(crate) fn recorded(&self, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let Some(bytes) = files::read(&self.shard_path(key))? else {
            return Ok(None);
        };
        Ok(last_of_key(&bytes, key).and_then(|json| serde_json::from_slice(json).ok()))
    }

    /// Records the result of an action. What it names must be stored already; it is durable when its layer is.
    ///
    /// # Errors
    /// When its layer is not stored, or the record cannot be written.
    pub fn record_action(&self, key: &ActionKey, result: &ActionResult) -> Result<(), StoreError> {
        if let Some(layer) = &result.layer
            && self.layer(layer)?.is_none()
        {
            return Err(StoreError::NoLayer(*layer));
        }
        let record = record(key, result)?;
        let path = self.shard_path(key);
        self.protect(&name_of(key))?;
        let lock = FileLock::wait(&path)?;
        let mut file = lock.file();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = Frames::new(&bytes).map(|(_, end)| end).last().unwrap_or(0);
        if end < bytes.len() {
            disk::set_len(file, end as u64)?;
        }
        file.seek(SeekFrom::Start(end as u64))?;
        disk::write_all(&mut file, &path, &record)?;
        // Looked at now that it is written: who settles the layer makes this durable after that.
        if let Some(layer) = &result.layer
            && let Some(layer) = self.layer(layer)?
            && layer.record.provisional.is_some()
        {
            return Ok(());
        }
        disk::sync_data(file.file(), &path)?;
        if end == 0 {
            // The first record comes with the shard's name.
            disk::sync_directory(&self.path().join("actions"))?;
        }
        Ok(())
    }

    /// Rewrites a shard without what is damaged, and without the results whose layers are gone.
    /// Nothing happens to one that has no such records.
    pub(crate) fn forget_broken(&self, path: &Path) -> Result<(), StoreError> {
        let lock = FileLock::wait(path)?;
        let mut file = lock.file();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut kept = Vec::new();
        for (start, end) in Frames::new(&bytes) {
            let result = serde_json::from_slice::<ActionResult>(&bytes[start + KEY_BYTES..end]);
            let Ok(result) = result else {
                continue;
            };
            let whole = match &result.layer {
                None => true,
                Some(layer) => self.layer(layer)?.is_some(),
            };
            if whole {
                kept.extend_from_slice(&bytes[start - HEADER_BYTES..end]);
            }
        }
        if kept == bytes {
            return Ok(());
        }
        if !is_sound(&bytes) {
            // The records that are whole are in both.
            self.quarantine_copy(path, &bytes, "a record of it is damaged")?;
        }
        Ok(self.publish(path, &kept)?)
    }

    fn shard_path(&self, key: &ActionKey) -> PathBuf {
        self.path().join("actions").join(&key.to_hex()[..3])
    }
}

/// Says whether a shard is made of whole frames. What a crash cut off at its end is not damage.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let frames = Frames::new(bytes);
    let mut at = 0;
    while let Some(body) = frames.extent_at(at) {
        if !frames.is_whole(body) {
            return false;
        }
        at = body.1;
    }
    frames.is_cut_off(at)
}

/// Returns the frame of a record.
pub(crate) fn record(key: &ActionKey, result: &ActionResult) -> io::Result<Vec<u8>> {
    let mut body = key.as_bytes().to_vec();
    serde_json::to_writer(&mut body, result).map_err(io::Error::from)?;
    Ok(frame(&body))
}

/// Returns how leases name the result of an action.
pub(crate) fn name_of(key: &ActionKey) -> String {
    format!("actions/{}", key.to_hex())
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let checksum = ContentDigest::of(body);
    [
        &length.to_le_bytes(),
        &checksum.as_bytes()[..CHECKSUM_BYTES],
        body,
    ]
    .concat()
}

/// Returns the last record of a key in a shard.
///
/// Checking every frame of a shard of 48 KiB, which a million actions make, is most of the time of
/// a lookup: 76 µs, and 20 without, measured on two busy cores. So only the frame that is wanted is
/// checked, and all of them when the shard is not made of frames from its beginning to its end, or
/// that frame is damaged.
pub(crate) fn last_of_key<'a>(bytes: &'a [u8], key: &ActionKey) -> Option<&'a [u8]> {
    let frames = Frames::new(bytes);
    let of_key = |(start, _): &(usize, usize)| &bytes[*start..start + KEY_BYTES] == key.as_bytes();
    let (mut at, mut found) = (0, None);
    while let Some(body) = frames.extent_at(at) {
        at = body.1;
        found = Some(body).filter(of_key).or(found);
    }
    let sound = at == bytes.len() && found.is_none_or(|body| frames.is_whole(body));
    if !sound {
        found = frames.filter(of_key).last();
    }
    found.map(|(start, end)| &bytes[start + KEY_BYTES..end])
}

/// Returns the last whole frame of each key of a shard, header and all, in their order.
pub(crate) fn last_of_each(bytes: &[u8]) -> Vec<(ActionKey, Range<usize>)> {
    let mut last: Vec<(ActionKey, Range<usize>)> = Vec::new();
    let mut places = HashMap::new();
    for (start, end) in Frames::new(bytes) {
        let Ok(key) = <[u8; KEY_BYTES]>::try_from(&bytes[start..start + KEY_BYTES]) else {
            continue;
        };
        let frame = (ActionKey::from_bytes(key), start - HEADER_BYTES..end);
        match places.entry(key) {
            Entry::Occupied(place) => last[*place.get()] = frame,
            Entry::Vacant(place) => {
                place.insert(last.len());
                last.push(frame);
            }
        }
    }
    last
}

/// Returns the result in a whole frame.
pub(crate) fn result_of(frame: &[u8]) -> Option<ActionResult> {
    serde_json::from_slice(&frame[HEADER_BYTES + KEY_BYTES..]).ok()
}

/// The bodies of the whole frames of a shard, as ranges.
struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns where the body of a frame that begins here would be.
    fn extent_at(&self, at: usize) -> Option<(usize, usize)> {
        let header = self.bytes.get(at..at + HEADER_BYTES)?;
        let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
        let start = at + HEADER_BYTES;
        let possible =
            (KEY_BYTES..=BODY_BYTES_MAX).contains(&length) && length <= self.bytes.len() - start;
        possible.then_some((start, start + length))
    }

    /// Says whether what follows is the beginning of a frame that is not there to its end, or was never written.
    fn is_cut_off(&self, at: usize) -> bool {
        let rest = &self.bytes[at..];
        if files::is_zero(rest) {
            return true;
        }
        let Some(length) = rest.first_chunk::<4>() else {
            return true;
        };
        let length = u32::from_le_bytes(*length) as usize;
        let possible =
            (KEY_BYTES..=BODY_BYTES_MAX).contains(&length) && rest.len() < HEADER_BYTES + length;
        // What follows a length that is too great, because it is damaged, was not cut off.
        let followed = || {
            Frames {
                bytes: self.bytes,
                at,
            }
            .next()
            .is_some()
        };
        let ended = || {
            let start = at + HEADER_BYTES;
            (start + KEY_BYTES..=self.bytes.len())
                .any(|end| self.bytes[end - 1] == b'}' && self.is_whole((start, end)))
        };
        possible && !followed() && !ended()
    }

    /// Says whether the bytes of a body are those that were written.
    fn is_whole(&self, (start, end): (usize, usize)) -> bool {
        let checksum = &self.bytes[start - CHECKSUM_BYTES..start];
        ContentDigest::of(&self.bytes[start..end]).as_bytes()[..CHECKSUM_BYTES] == *checksum
    }
}

impl Iterator for Frames<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let last = self.bytes.len().checked_sub(HEADER_BYTES + KEY_BYTES)?;
        let found = (self.at..=last).find_map(|at| {
            let body = self.extent_at(at)?;
            self.is_whole(body).then_some(body)
        });
        self.at = found.map_or(self.bytes.len(), |(_, end)| end);
        found
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;
    use crate::StoreOptions;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::open(StoreOptions { path }).unwrap();
        (folder, store)
    }

    /// Keys of one shard.
    fn key(n: u8) -> ActionKey {
        let mut bytes = [0; KEY_BYTES];
        bytes[KEY_BYTES - 1] = n;
        ActionKey::from_bytes(bytes)
    }

    fn result(n: u8) -> ActionResult {
        ActionResult {
            duration_ms: n.into(),
            ..ActionResult::default()
        }
    }

    fn fill(store: &Store) -> Vec<u8> {
        for n in 0..4 {
            store.record_action(&key(n), &result(n)).unwrap();
        }
        fs::read(store.shard_path(&key(0))).unwrap()
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let (_folder, store) = store();
        fill(&store);
        store.record_action(&key(1), &result(9)).unwrap();
        assert_eq!(store.action(&key(1)).unwrap(), Some(result(9)));
        assert_eq!(store.action(&key(2)).unwrap(), Some(result(2)));
        assert_eq!(store.action(&key(7)).unwrap(), None);
    }

    #[test]
    fn a_shard_cut_off_anywhere_keeps_what_is_whole_and_takes_more() {
        let (_folder, store) = store();
        let bytes = fill(&store);
        let ends: Vec<usize> = Frames::new(&bytes).map(|(_, end)| end).collect();
        for cut in 0..bytes.len() {
            fs::write(store.shard_path(&key(0)), &bytes[..cut]).unwrap();
            store.record_action(&key(8), &result(8)).unwrap();
            for n in 0..4 {
                let expected = (ends[usize::from(n)] <= cut).then(|| result(n));
                assert_eq!(store.action(&key(n)).unwrap(), expected, "cut at {cut}");
            }
            assert_eq!(store.action(&key(8)).unwrap(), Some(result(8)));
        }
    }

    #[test]
    fn what_was_not_written_when_the_power_went_is_no_damage() {
        let (_folder, store) = store();
        let bytes = fill(&store);
        for end in Frames::new(&bytes).map(|(_, end)| end) {
            let mut lost = bytes.clone();
            lost[end..].fill(0);
            assert!(is_sound(&lost), "after {end}");
            lost[end - 1] ^= 1;
            assert!(!is_sound(&lost), "before {end}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record() {
        let (_folder, store) = store();
        let bytes = fill(&store);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(store.shard_path(&key(0)), &damaged).unwrap();
            store.record_action(&key(8), &result(8)).unwrap();
            let lost = (0..4)
                .filter(|n| store.action(&key(*n)).unwrap() != Some(result(*n)))
                .map(|n| assert_eq!(store.action(&key(n)).unwrap(), None, "flipped at {at}"))
                .count();
            assert_eq!(lost, 1, "flipped at {at}");
            assert_eq!(store.action(&key(8)).unwrap(), Some(result(8)));
        }
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = store.clone();
                scope.spawn(move || {
                    for n in 0..8 {
                        let n = writer * 8 + n;
                        store.record_action(&key(n), &result(n)).unwrap();
                    }
                });
            }
        });
        for n in 0..64 {
            assert_eq!(store.action(&key(n)).unwrap(), Some(result(n)));
        }
    }
}

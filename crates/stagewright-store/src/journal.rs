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
//! A shard is only ever appended to, under its lock, and made durable. The last frame of a key
//! counts. A frame that a crash cut off ends the shard: the next writer cuts it away.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use stagewright_digest::{ActionKey, ContentDigest, Digest, LayerId, PartsDigest};

use crate::error::StoreError;
use crate::files;
use crate::store::Store;

const HEADER_BYTES: usize = 12;
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
    /// When it ran, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// How long it ran.
    pub duration_ms: u64,
    /// The blob of what it wrote.
    pub log: Option<Digest>,
}

impl Store {
    /// Finds the result of an action. Nothing, too, when the layer that it made is not stored.
    pub fn action(&self, key: &ActionKey) -> Result<Option<ActionResult>, StoreError> {
        let Some(bytes) = files::read(&self.shard_path(key))? else {
            return Ok(None);
        };
        let mut found = None;
        for (start, end) in Frames::new(&bytes) {
            let body = &bytes[start..end];
            if &body[..KEY_BYTES] == key.as_bytes() {
                found = Some(&body[KEY_BYTES..]);
            }
        }
        let Some(result) = found.and_then(|json| serde_json::from_slice::<ActionResult>(json).ok())
        else {
            return Ok(None);
        };
        if let Some(layer) = &result.layer
            && self.layer(layer)?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(result))
    }

    /// Records the result of an action. What it names must be stored already.
    ///
    /// # Errors
    /// When its layer is not stored, or the record cannot be written.
    pub fn record_action(&self, key: &ActionKey, result: &ActionResult) -> Result<(), StoreError> {
        if let Some(layer) = &result.layer
            && self.layer(layer)?.is_none()
        {
            return Err(StoreError::NoLayer(*layer));
        }
        let mut body = key.as_bytes().to_vec();
        serde_json::to_writer(&mut body, result).map_err(io::Error::from)?;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.shard_path(key))?;
        flock(&file, FlockOperation::LockExclusive).map_err(io::Error::from)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = Frames::new(&bytes).map(|(_, end)| end).last().unwrap_or(0);
        if end < bytes.len() {
            file.set_len(end as u64)?;
        }
        file.seek(SeekFrom::Start(end as u64))?;
        file.write_all(&frame(&body))?;
        Ok(file.sync_data()?)
    }

    fn shard_path(&self, key: &ActionKey) -> PathBuf {
        self.path().join("actions").join(&key.to_hex()[..3])
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let checksum = ContentDigest::of(body);
    [&length.to_le_bytes(), &checksum.as_bytes()[..8], body].concat()
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
}

impl Iterator for Frames<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.bytes.get(self.at..self.at + HEADER_BYTES)?;
        let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
        let start = self.at + HEADER_BYTES;
        if !(KEY_BYTES..=BODY_BYTES_MAX).contains(&length) {
            return None;
        }
        let body = self.bytes.get(start..start + length)?;
        if ContentDigest::of(body).as_bytes()[..8] != header[4..] {
            return None;
        }
        self.at = start + length;
        Some((start, self.at))
    }
}

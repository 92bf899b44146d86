//! Which bytes a file had the last time, so that an unchanged file need not be read.

use std::cmp::Ordering;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use stagewright_digest::ContentDigest;
use thiserror::Error;

use crate::entry::{Entry, FileStamp, Xattrs};

/// The version of the encoding; a cache of another one is not read.
const VERSION: u32 = 1;
const MAGIC: &[u8; 4] = b"swsc";
const CHECKSUM_BYTES: usize = 32;
const HEADER_BYTES: usize = 4 + 4 + 8;

/// What is known of a context's files: by path, the stamp that a file had, its digest and its
/// extended attributes.
///
/// An entry is believed as long as the stamp is the same. A file that was changed in the very
/// moment in which it was hashed could change again without its stamp changing, so no such entry
/// is ever taken in: the file is read again the next time.
///
/// Encoded, the cache is one document:
///
/// ```text
/// "swsc"  version: u32  entries: u64
/// entries × ( dev ino bytes: u64  mtime_ns ctime_ns: i128  content: [u8; 32]
///             path: u32 length, bytes   xattrs: u32 count × (name, value: u32 length, bytes) )
/// BLAKE3 over all of the above: [u8; 32]
/// ```
///
/// Numbers are little-endian, entries are sorted by path as a walk lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatCache {
    records: Vec<Record>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) path: PathBuf,
    pub(crate) stamp: FileStamp,
    pub(crate) content: ContentDigest,
    pub(crate) xattrs: Xattrs,
}

/// Why bytes are not a stat cache. A cache only saves time: whoever gets this starts an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StatCacheError {
    /// The bytes were written by another version.
    #[error("the stat cache has format {found}, not {VERSION}")]
    Version {
        /// The version that was found.
        found: u32,
    },
    /// The bytes are no stat cache, or were damaged.
    #[error("the stat cache is damaged")]
    Damaged,
}

impl StatCache {
    /// Returns how many files are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Tells whether no file is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Tells whether anything was learned since the cache was made or decoded, so that it is worth
    /// being stored.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Starts to look up entries; quick for entries in the order of a walk.
    pub(crate) fn lookups(&self) -> Lookups<'_> {
        Lookups {
            records: &self.records,
            next: 0,
        }
    }

    /// Takes in what was learned of some files, sorted as a walk lists them.
    pub(crate) fn merge(&mut self, learned: Vec<Record>) {
        if learned.is_empty() {
            return;
        }
        self.changed = true;
        let mut merged = Vec::with_capacity(self.records.len() + learned.len());
        let mut old = std::mem::take(&mut self.records).into_iter().peekable();
        for record in learned {
            while let Some(kept) = old.next_if(|kept| walk_order(&kept.path, &record.path).is_lt())
            {
                merged.push(kept);
            }
            old.next_if(|replaced| replaced.path == record.path);
            merged.push(record);
        }
        merged.extend(old);
        self.records = merged;
    }

    /// Forgets files below a folder that a walk of this folder did not list; `entries` are the
    /// whole walk. Without this a cache only ever grows.
    pub fn retain_walked(&mut self, folder: &Path, entries: &[Entry]) {
        let mut walked = entries.iter().peekable();
        let before = self.records.len();
        self.records.retain(|record| {
            if !record.path.starts_with(folder) {
                return true;
            }
            while walked
                .next_if(|entry| walk_order(&entry.path, &record.path).is_lt())
                .is_some()
            {}
            walked.peek().is_some_and(|entry| entry.path == record.path)
        });
        self.changed |= self.records.len() != before;
    }

    /// Returns the cache as bytes that detect their own damage.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + CHECKSUM_BYTES + self.records.len() * 144);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.records.len() as u64).to_le_bytes());
        for record in &self.records {
            let stamp = &record.stamp;
            for number in [stamp.dev, stamp.ino, stamp.bytes] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(stamp.mtime_ns.to_le_bytes());
            bytes.extend(stamp.ctime_ns.to_le_bytes());
            bytes.extend(record.content.as_bytes());
            put(&mut bytes, record.path.as_os_str().as_bytes());
            bytes.extend((record.xattrs.len() as u32).to_le_bytes());
            for (name, value) in &record.xattrs {
                put(&mut bytes, name);
                put(&mut bytes, value);
            }
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    /// Reads what [`StatCache::encode`] returned.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatCacheError> {
        let (payload, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(StatCacheError::Damaged)?;
        let mut rest = Rest(payload);
        if rest.take(4)? != MAGIC {
            return Err(StatCacheError::Damaged);
        }
        let found = rest.u32()?;
        if found != VERSION {
            return Err(StatCacheError::Version { found });
        }
        if blake3::hash(payload).as_bytes() != checksum {
            return Err(StatCacheError::Damaged);
        }
        let count = rest.u64()?;
        let mut records = Vec::with_capacity((count as usize).min(payload.len() / 64));
        for _ in 0..count {
            records.push(rest.record()?);
        }
        let sorted = records.is_sorted_by(|a: &Record, b| walk_order(&a.path, &b.path).is_lt());
        if !rest.0.is_empty() || !sorted {
            return Err(StatCacheError::Damaged);
        }
        Ok(Self {
            records,
            changed: false,
        })
    }
}

/// Looks up one entry after the other.
pub(crate) struct Lookups<'a> {
    records: &'a [Record],
    next: usize,
}

impl<'a> Lookups<'a> {
    /// Returns what is known of a file, if it is in the state that it was in.
    pub(crate) fn find(&mut self, entry: &Entry) -> Option<&'a Record> {
        let record = match self.records.get(self.next) {
            Some(record) if record.path == entry.path => record,
            _ => {
                let found = self
                    .records
                    .binary_search_by(|record| walk_order(&record.path, &entry.path));
                self.next = found.unwrap_or_else(|next| next);
                self.records.get(found.ok()?)?
            }
        };
        self.next += 1;
        (record.stamp == entry.stamp).then_some(record)
    }
}

/// Compares two paths by the order in which a walk lists them: name by name.
fn walk_order(a: &Path, b: &Path) -> Ordering {
    let rank = |byte: &u8| {
        if *byte == b'/' {
            0_u16
        } else {
            u16::from(*byte) + 1
        }
    };
    let (a, b) = (a.as_os_str().as_bytes(), b.as_os_str().as_bytes());
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    match differs {
        Some(at) => rank(&a[at]).cmp(&rank(&b[at])),
        None => a.len().cmp(&b.len()),
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

/// The part of an encoded cache that is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], StatCacheError> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(StatCacheError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StatCacheError> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(StatCacheError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, StatCacheError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, StatCacheError> {
        self.array().map(u64::from_le_bytes)
    }

    fn part(&mut self) -> Result<Vec<u8>, StatCacheError> {
        let len = self.u32()?;
        Ok(self.take(len as usize)?.to_vec())
    }

    fn record(&mut self) -> Result<Record, StatCacheError> {
        let stamp = FileStamp {
            dev: self.u64()?,
            ino: self.u64()?,
            bytes: self.u64()?,
            mtime_ns: self.array().map(i128::from_le_bytes)?,
            ctime_ns: self.array().map(i128::from_le_bytes)?,
        };
        let content = ContentDigest::from_bytes(self.array()?);
        let path = PathBuf::from(std::ffi::OsString::from_vec(self.part()?));
        let mut xattrs = Vec::new();
        for _ in 0..self.u32()? {
            xattrs.push((self.part()?, self.part()?));
        }
        Ok(Record {
            path,
            stamp,
            content,
            xattrs,
        })
    }
}

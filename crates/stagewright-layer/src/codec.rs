//! The stored form of an index.

use std::collections::BTreeMap;

use stagewright_digest::ContentDigest;
use thiserror::Error;

use crate::entry::{Entry, EntryKind, Metadata, Mtime};
use crate::index::{Extent, FileData, IndexFault, LayerIndex, Record};
use crate::path::{EntryPath, InvalidPath};

/// Marks the file as an index of a layer.
pub(crate) const MAGIC: [u8; 4] = *b"SWLI";
/// The version of the encoding. A change makes existing indexes unreadable, so that their layers
/// are made again.
pub(crate) const VERSION: u32 = 1;
/// The fewest bytes of a record: nine numbers below 128.
const RECORD_BYTES_MIN: usize = 9;
/// Magic, version, checksum.
pub(crate) const HEADER_BYTES: usize = 4 + 4 + 32;

/// Bytes that are not a stored index.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IndexError {
    /// The bytes are something else.
    #[error("this is not the index of a layer")]
    Magic,
    /// It was written by another version of stagewright.
    #[error("the layer's index has format {found}, this version reads {VERSION}")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The checksum does not match.
    #[error("the layer's index is damaged: its checksum does not match")]
    Checksum,
    /// The checksum matches, but the content can't be.
    #[error("the layer's index is damaged: it ends too early or holds an impossible value")]
    Malformed,
    /// A path is not one.
    #[error("the layer's index is damaged")]
    Path(#[from] InvalidPath),
    /// The entries do not make a layer.
    #[error("the layer's index is damaged")]
    Entries(#[from] IndexFault),
}

/// ```text
/// index  = "SWLI" u32le(VERSION) blake3(body) body
/// body   = count record*
/// record = shared suffix kind mode uid gid seconds nanos
///          xattr-count (framed(name) framed(value))* payload
/// shared = how many bytes of the last path this one begins with
/// suffix = framed
/// framed = length bytes
/// payload  kind 1, file: bytes, content (32), data
///          kind 2, directory: opaque         kind 3, symbolic link: framed(target)
///          kind 4, hard link: framed(target) kind 5, 6, devices: major minor
///          kind 7, pipe; 8, whiteout: nothing
/// data   = 0 | 1 offset | 2 count (file-offset tar-offset bytes)*
/// ```
/// Every number is LEB128; seconds are zigzag-coded.
impl LayerIndex {
    /// Returns the stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, self.len() as u64);
        let mut last: &[u8] = &[];
        for record in self.records() {
            let path = record.entry.path.as_bytes();
            put_path(&mut bytes, path, last);
            put_record(&mut bytes, record);
            last = path;
        }
        let checksum = blake3::hash(&bytes[HEADER_BYTES..]);
        bytes[..HEADER_BYTES].copy_from_slice(&header(&checksum));
        bytes
    }

    /// Reads what [`LayerIndex::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let (header, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or(IndexError::Magic)?;
        if blake3::hash(body).as_bytes() != checksum_in(header)? {
            return Err(IndexError::Checksum);
        }
        let mut body = Body(body);
        let count = body.count(RECORD_BYTES_MIN)?;
        let mut records = Vec::with_capacity(count);
        let mut path = Vec::new();
        for _ in 0..count {
            body.path(&mut path)?;
            records.push(body.record(EntryPath::parse(&path)?)?);
        }
        if !body.0.is_empty() {
            return Err(IndexError::Malformed);
        }
        Ok(Self::from_sorted(records)?)
    }
}

/// Returns what comes before a body of this checksum.
pub(crate) fn header(checksum: &blake3::Hash) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..].copy_from_slice(checksum.as_bytes());
    header
}

/// Returns the checksum that a header names.
pub(crate) fn checksum_in(header: &[u8]) -> Result<&[u8], IndexError> {
    if header[..4] != MAGIC {
        return Err(IndexError::Magic);
    }
    let found = u32::from_le_bytes(header[4..8].try_into().expect("because it is 4 bytes"));
    if found != VERSION {
        return Err(IndexError::Version { found });
    }
    Ok(&header[8..])
}

/// Reads what [`put_record`] wrote.
pub(crate) fn read_record(bytes: &[u8], path: EntryPath) -> Record {
    Body(bytes)
        .record(path)
        .expect("because it was written by this process")
}

/// Writes how a path differs from the last one.
pub(crate) fn put_path(bytes: &mut Vec<u8>, path: &[u8], last: &[u8]) {
    let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
    put(bytes, shared as u64);
    put_framed(bytes, &path[shared..]);
}

pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_framed(bytes: &mut Vec<u8>, value: &[u8]) {
    put(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

pub(crate) fn put_record(bytes: &mut Vec<u8>, record: &Record) {
    let Entry { kind, metadata, .. } = &record.entry;
    bytes.push(match kind {
        EntryKind::File { .. } => 1,
        EntryKind::Directory { .. } => 2,
        EntryKind::Symlink { .. } => 3,
        EntryKind::Hardlink { .. } => 4,
        EntryKind::CharDevice { .. } => 5,
        EntryKind::BlockDevice { .. } => 6,
        EntryKind::Fifo => 7,
        EntryKind::Whiteout => 8,
    });
    for number in [metadata.mode, metadata.uid, metadata.gid] {
        put(bytes, number.into());
    }
    let seconds = metadata.mtime.seconds;
    put(bytes, ((seconds << 1) ^ (seconds >> 63)) as u64);
    put(bytes, metadata.mtime.nanos.into());
    put(bytes, metadata.xattrs.len() as u64);
    for (name, value) in &metadata.xattrs {
        put_framed(bytes, name);
        put_framed(bytes, value);
    }
    match kind {
        EntryKind::File {
            bytes: length,
            content,
        } => {
            put(bytes, *length);
            bytes.extend_from_slice(content.as_bytes());
            put_data(bytes, record.data.as_ref());
        }
        EntryKind::Directory { opaque } => bytes.push(u8::from(*opaque)),
        EntryKind::Symlink { target } => put_framed(bytes, target),
        EntryKind::Hardlink { target } => put_framed(bytes, target.as_bytes()),
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            put(bytes, (*major).into());
            put(bytes, (*minor).into());
        }
        EntryKind::Fifo | EntryKind::Whiteout => {}
    }
}

fn put_data(bytes: &mut Vec<u8>, data: Option<&FileData>) {
    match data {
        None => bytes.push(0),
        Some(FileData::Whole { offset }) => {
            bytes.push(1);
            put(bytes, *offset);
        }
        Some(FileData::Sparse { extents }) => {
            bytes.push(2);
            put(bytes, extents.len() as u64);
            for extent in extents {
                put(bytes, extent.file_offset);
                put(bytes, extent.tar_offset);
                put(bytes, extent.bytes);
            }
        }
    }
}

/// What of the body was not read yet.
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err(IndexError::Malformed);
        };
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, IndexError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, IndexError> {
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(IndexError::Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(IndexError::Malformed)
    }

    pub(crate) fn size(&mut self) -> Result<usize, IndexError> {
        usize::try_from(self.number()?).map_err(|_| IndexError::Malformed)
    }

    /// Reads how many items follow, of which each takes at least `bytes_min`: what can't be there
    /// is refused before memory is set aside for it.
    fn count(&mut self, bytes_min: usize) -> Result<usize, IndexError> {
        let count = self.size()?;
        if count > self.0.len() / bytes_min {
            return Err(IndexError::Malformed);
        }
        Ok(count)
    }

    fn small(&mut self) -> Result<u32, IndexError> {
        u32::try_from(self.number()?).map_err(|_| IndexError::Malformed)
    }

    fn framed(&mut self) -> Result<&'a [u8], IndexError> {
        let size = self.size()?;
        self.take(size)
    }

    /// Makes the last path the next one.
    pub(crate) fn path(&mut self, path: &mut Vec<u8>) -> Result<(), IndexError> {
        let shared = self.size()?;
        if shared > path.len() {
            return Err(IndexError::Malformed);
        }
        path.truncate(shared);
        path.extend_from_slice(self.framed()?);
        Ok(())
    }

    pub(crate) fn record(&mut self, path: EntryPath) -> Result<Record, IndexError> {
        let kind = self.byte()?;
        let metadata = self.metadata()?;
        let mut data = None;
        let kind = match kind {
            1 => {
                let bytes = self.number()?;
                let content = self.take(32)?.try_into().expect("because it is 32 bytes");
                data = self.data()?;
                EntryKind::File {
                    bytes,
                    content: ContentDigest::from_bytes(content),
                }
            }
            2 => match self.byte()? {
                opaque @ 0..=1 => EntryKind::Directory {
                    opaque: opaque == 1,
                },
                _ => return Err(IndexError::Malformed),
            },
            3 => EntryKind::Symlink {
                target: self.framed()?.to_vec(),
            },
            4 => EntryKind::Hardlink {
                target: EntryPath::parse(self.framed()?)?,
            },
            5 => EntryKind::CharDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            6 => EntryKind::BlockDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            7 => EntryKind::Fifo,
            8 => EntryKind::Whiteout,
            _ => return Err(IndexError::Malformed),
        };
        Ok(Record {
            entry: Entry {
                path,
                kind,
                metadata,
            },
            data,
        })
    }

    fn metadata(&mut self) -> Result<Metadata, IndexError> {
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let zigzag = self.number()?;
        let seconds = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let mtime = Mtime {
            seconds,
            nanos: self.small()?,
        };
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.count(2)? {
            let name = self.framed()?.to_vec();
            xattrs.insert(name, self.framed()?.to_vec());
        }
        Ok(Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }

    fn data(&mut self) -> Result<Option<FileData>, IndexError> {
        Ok(match self.byte()? {
            0 => None,
            1 => Some(FileData::Whole {
                offset: self.number()?,
            }),
            2 => {
                let count = self.count(3)?;
                let mut extents = Vec::with_capacity(count);
                for _ in 0..count {
                    extents.push(Extent {
                        file_offset: self.number()?,
                        tar_offset: self.number()?,
                        bytes: self.number()?,
                    });
                }
                Some(FileData::Sparse { extents })
            }
            _ => return Err(IndexError::Malformed),
        })
    }
}

//! Writing a layer's tar.

use std::io::{self, BufWriter, Read, Write};

use stagewright_digest::{ContentDigest, ContentHasher, DiffId, DigestWriter};
use tar::{EntryType, Header};
use thiserror::Error;

use crate::entry::{Entry, EntryKind, Metadata, xattr_belongs};
use crate::index::{FileData, IndexFault, LayerIndex, Record};
use crate::path::EntryPath;
use crate::whiteout;

/// Tars consist of blocks of this size.
const BLOCK_BYTES: usize = 512;
/// Content is copied in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;
/// What a header's fields of eight and twelve bytes hold: octal digits and a NUL.
const OCTAL_7_MAX: u64 = 0o777_7777;
const OCTAL_11_MAX: u64 = 0o777_7777_7777;

/// A layer's tar can't be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The writer failed.
    #[error("can't write the layer's tar")]
    Write(#[source] io::Error),
    /// The content of a file can't be read.
    #[error("can't read the content of {path}")]
    Content {
        /// The file.
        path: EntryPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's content is not as long as was said.
    #[error("{path} changed while it was read: it should have {expected} bytes; try again")]
    Length {
        /// The file.
        path: EntryPath,
        /// How long it should be.
        expected: u64,
    },
    /// A file was given to [`LayerWriter::append`], which has no content for it.
    #[error("{path} is a file, give its content with `append_file`")]
    NoContent {
        /// The file.
        path: EntryPath,
    },
    /// The name of an extended attribute has a `=`, which a tar can't say.
    #[error(
        "{path} has an extended attribute {name:?}, whose name can't be written to a tar; remove it"
    )]
    XattrName {
        /// The entry.
        path: EntryPath,
        /// The attribute's name.
        name: String,
    },
    /// The entry's name would mark a whiteout.
    #[error("{path} begins with `.wh.`, which means a deletion in a layer; rename it")]
    Reserved {
        /// The entry.
        path: EntryPath,
    },
    /// The entries are not in order, or do not make a layer.
    #[error("can't write the layer's tar")]
    Entries(#[from] IndexFault),
}

/// A tar that was written.
#[derive(Debug)]
pub struct WrittenLayer<W> {
    /// The writer, flushed.
    pub writer: W,
    /// The name of the tar.
    pub diff_id: DiffId,
    /// Its length.
    pub bytes: u64,
    /// What it holds, and where.
    pub index: LayerIndex,
}

/// Writes the tar of a layer, the same bytes for the same entries.
///
/// The format is PAX, as Docker and BuildKit write it: a plain ustar header, with an extended
/// header before it only for what the plain one can't say (long or non-ASCII names, large numbers,
/// extended attributes). Times are cut to whole seconds, as theirs are; owners are numbers only.
/// Entries come in the order of their paths, each at most once.
#[derive(Debug)]
pub struct LayerWriter<W: Write> {
    out: BufWriter<DigestWriter<W>>,
    /// How many bytes were written.
    position: u64,
    records: Vec<Record>,
    piece: Vec<u8>,
}

impl<W: Write> LayerWriter<W> {
    /// Starts an empty layer. `writer` need not be buffered.
    pub fn new(writer: W) -> Self {
        Self {
            out: BufWriter::with_capacity(PIECE_BYTES, DigestWriter::new(writer)),
            position: 0,
            records: Vec::new(),
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// Writes an entry that is not a file.
    ///
    /// # Errors
    /// When it is a file, comes out of order, or can't be written.
    pub fn append(&mut self, entry: &Entry) -> Result<(), WriteError> {
        if let EntryKind::File { .. } = entry.kind {
            return Err(WriteError::NoContent {
                path: entry.path.clone(),
            });
        }
        self.check_order(&entry.path)?;
        self.write_header(entry)?;
        if entry.kind == (EntryKind::Directory { opaque: true }) {
            let marker = Metadata::default();
            self.write_blocks(
                &[],
                &whiteout::opaque_marker(&entry.path),
                b"",
                &marker,
                |header| {
                    header.set_entry_type(EntryType::Regular);
                },
            )?;
        }
        self.records.push(entry.clone().into());
        Ok(())
    }

    /// Writes a file of `bytes` bytes, and returns the name of its content.
    ///
    /// # Errors
    /// When it comes out of order, `content` is shorter or longer, or something can't be read or
    /// written. The tar is then unusable.
    pub fn append_file(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<ContentDigest, WriteError> {
        self.file(path, metadata, bytes, |writer| {
            let mut hasher = ContentHasher::new();
            writer.copy(path, bytes, content, |piece| {
                hasher.update(piece);
            })?;
            Ok(hasher.finish())
        })
    }

    /// As [`LayerWriter::append_file`], for a reader that fails at its end when the bytes are not those that `name` names.
    ///
    /// # Errors
    /// As there.
    pub fn append_checked_file(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        bytes: u64,
        content: &mut dyn Read,
        name: ContentDigest,
    ) -> Result<(), WriteError> {
        self.file(path, metadata, bytes, |writer| {
            writer.copy(path, bytes, content, |_| {})?;
            Ok(name)
        })?;
        Ok(())
    }

    /// Writes a file whose bytes are in memory. `content` is their name: it is believed.
    ///
    /// # Errors
    /// When it comes out of order, or can't be written. The tar is then unusable.
    pub fn append_bytes(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        bytes: &[u8],
        content: ContentDigest,
    ) -> Result<(), WriteError> {
        self.file(path, metadata, bytes.len() as u64, |writer| {
            writer.put(bytes)?;
            Ok(content)
        })?;
        Ok(())
    }

    /// Writes a file, its bytes with `write`, which returns their name.
    fn file(
        &mut self,
        path: &EntryPath,
        metadata: &Metadata,
        bytes: u64,
        write: impl FnOnce(&mut Self) -> Result<ContentDigest, WriteError>,
    ) -> Result<ContentDigest, WriteError> {
        self.check_order(path)?;
        let mut entry = Entry {
            path: path.clone(),
            kind: EntryKind::File {
                bytes,
                content: ContentDigest::from_bytes([0; 32]),
            },
            metadata: metadata.clone(),
        };
        self.write_header(&entry)?;
        let offset = self.position;
        let content = write(self)?;
        self.pad(bytes)?;
        entry.kind = EntryKind::File { bytes, content };
        self.records.push(Record {
            entry,
            data: Some(FileData::Whole { offset }),
        });
        Ok(content)
    }

    /// Ends the tar.
    ///
    /// # Errors
    /// When the end can't be written, or a hard link has no target.
    pub fn finish(mut self) -> Result<WrittenLayer<W>, WriteError> {
        self.put(&[0; 2 * BLOCK_BYTES])?;
        let digesting = self
            .out
            .into_inner()
            .map_err(|error| WriteError::Write(error.into_error()))?;
        let (mut writer, digest, bytes) = digesting.finish();
        writer.flush().map_err(WriteError::Write)?;
        let index = LayerIndex::from_sorted(self.records)?;
        Ok(WrittenLayer {
            writer,
            diff_id: DiffId::from_bytes(*digest.as_bytes()),
            bytes,
            index,
        })
    }

    fn check_order(&self, path: &EntryPath) -> Result<(), WriteError> {
        if self
            .records
            .last()
            .is_some_and(|last| last.entry.path >= *path)
        {
            return Err(IndexFault::Order { path: path.clone() }.into());
        }
        if path
            .name()
            .is_some_and(|name| name.starts_with(whiteout::PREFIX))
        {
            return Err(WriteError::Reserved { path: path.clone() });
        }
        Ok(())
    }

    fn copy(
        &mut self,
        path: &EntryPath,
        bytes: u64,
        content: &mut dyn Read,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<(), WriteError> {
        let failed = |source| WriteError::Content {
            path: path.clone(),
            source,
        };
        let changed = || WriteError::Length {
            path: path.clone(),
            expected: bytes,
        };
        let mut rest = bytes;
        while rest > 0 {
            let size = usize::try_from(rest).map_or(PIECE_BYTES, |rest| rest.min(PIECE_BYTES));
            let count = match content.read(&mut self.piece[..size]) {
                Ok(0) => return Err(changed()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            seen(&self.piece[..count]);
            self.out
                .write_all(&self.piece[..count])
                .map_err(WriteError::Write)?;
            self.position += count as u64;
            rest -= count as u64;
        }
        loop {
            match content.read(&mut self.piece[..1]) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(changed()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn pad(&mut self, bytes: u64) -> Result<(), WriteError> {
        let used = (bytes % BLOCK_BYTES as u64) as usize;
        if used > 0 {
            let padding = [0; BLOCK_BYTES];
            self.put(&padding[used..])?;
        }
        Ok(())
    }

    fn write_header(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let mut name = entry.path.as_bytes().to_vec();
        let mut link: &[u8] = b"";
        match &entry.kind {
            EntryKind::Directory { .. } if entry.path.is_root() => name = b"./".to_vec(),
            EntryKind::Directory { .. } => name.push(b'/'),
            EntryKind::Symlink { target } => link = target,
            EntryKind::Hardlink { target } => link = target.as_bytes(),
            EntryKind::Whiteout => name = whiteout::marker(&entry.path),
            _ => {}
        }
        let mut records = Vec::new();
        let mut metadata = entry.metadata.clone();
        match &entry.kind {
            EntryKind::Whiteout => metadata = Metadata::default(),
            // Attributes belong to the file: its first name carries them.
            EntryKind::Hardlink { .. } => metadata.xattrs.clear(),
            EntryKind::Symlink { .. } => metadata.mode = 0o777,
            EntryKind::File { bytes, .. } if *bytes > OCTAL_11_MAX => {
                records.push((b"size".to_vec(), bytes.to_string().into_bytes()));
            }
            _ => {}
        }
        for (xattr, value) in metadata
            .xattrs
            .iter()
            .filter(|(name, _)| xattr_belongs(name))
        {
            if xattr.contains(&b'=') || xattr.contains(&0) {
                let name = String::from_utf8_lossy(xattr).into_owned();
                return Err(WriteError::XattrName {
                    path: entry.path.clone(),
                    name,
                });
            }
            records.push(([&b"SCHILY.xattr."[..], xattr].concat(), value.clone()));
        }
        self.write_blocks(&records, &name, link, &metadata, |header| {
            set_kind(header, &entry.kind)
        })
    }

    /// Writes a header, before it what only an extended header can say.
    fn write_blocks(
        &mut self,
        records: &[(Vec<u8>, Vec<u8>)],
        name: &[u8],
        link: &[u8],
        metadata: &Metadata,
        set_kind: impl FnOnce(&mut Header),
    ) -> Result<(), WriteError> {
        let mut header = Header::new_ustar();
        let mut records = records.to_vec();
        let mut number = |key: &str, value: i64, max: u64| {
            let small = u64::try_from(value).ok().filter(|value| *value <= max);
            if small.is_none() {
                records.push((key.into(), value.to_string().into_bytes()));
            }
            small.unwrap_or(0)
        };
        header.set_mode(metadata.mode);
        header.set_uid(number("uid", metadata.uid.into(), OCTAL_7_MAX));
        header.set_gid(number("gid", metadata.gid.into(), OCTAL_7_MAX));
        header.set_mtime(number("mtime", metadata.mtime.seconds, OCTAL_11_MAX));
        header.set_size(0);
        set_kind(&mut header);
        set_text(&mut header.as_old_mut().name, name, "path", &mut records);
        set_text(
            &mut header.as_old_mut().linkname,
            link,
            "linkpath",
            &mut records,
        );
        if !records.is_empty() {
            self.write_extended(records, name)?;
        }
        header.set_cksum();
        self.put(header.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes).map_err(WriteError::Write)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn write_extended(
        &mut self,
        mut records: Vec<(Vec<u8>, Vec<u8>)>,
        name: &[u8],
    ) -> Result<(), WriteError> {
        records.sort();
        let mut body = Vec::new();
        for (key, value) in &records {
            append_record(&mut body, key, value);
        }
        let trimmed = name.strip_suffix(b"/").unwrap_or(name);
        let split = trimmed
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |at| at + 1);
        let (folder, file) = trimmed.split_at(split);
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(body.len() as u64);
        let mut ignored = Vec::new();
        let name = [folder, b"PaxHeaders.0/", file].concat();
        set_text(&mut header.as_old_mut().name, &name, "path", &mut ignored);
        header.set_cksum();
        self.put(header.as_bytes())?;
        self.put(&body)?;
        self.pad(body.len() as u64)
    }
}

fn set_kind(header: &mut Header, kind: &EntryKind) {
    let mut device = |kind, major: u32, minor: u32| {
        header.set_entry_type(kind);
        let fields = header.as_ustar_mut().expect("because it was made as ustar");
        fields.set_device_major(major);
        fields.set_device_minor(minor);
    };
    match kind {
        EntryKind::File { bytes, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(if *bytes > OCTAL_11_MAX { 0 } else { *bytes });
        }
        EntryKind::Whiteout => header.set_entry_type(EntryType::Regular),
        EntryKind::Directory { .. } => header.set_entry_type(EntryType::Directory),
        EntryKind::Symlink { .. } => header.set_entry_type(EntryType::Symlink),
        EntryKind::Hardlink { .. } => header.set_entry_type(EntryType::Link),
        EntryKind::CharDevice { major, minor } => device(EntryType::Char, *major, *minor),
        EntryKind::BlockDevice { major, minor } => device(EntryType::Block, *major, *minor),
        EntryKind::Fifo => header.set_entry_type(EntryType::Fifo),
    }
}

/// Puts text into a field, and into the extended header when the field can't say it.
fn set_text(field: &mut [u8; 100], text: &[u8], key: &str, records: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    if text.len() > field.len() || !text.is_ascii() {
        records.push((key.into(), text.to_vec()));
    }
    let ascii = text.iter().filter(|byte| byte.is_ascii());
    for (place, byte) in field.iter_mut().zip(ascii) {
        *place = *byte;
    }
}

/// Appends `length key=value\n`, where the length counts its own digits.
fn append_record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while bare + length.to_string().len() != length {
        length = bare + length.to_string().len();
    }
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b' ');
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_count_their_own_digits() {
        for size in 0..1200 {
            let mut body = Vec::new();
            append_record(&mut body, b"k", &vec![b'v'; size]);
            let text = String::from_utf8(body.clone()).unwrap();
            let (length, _) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), body.len(), "{size}");
        }
    }
}

//! Writing a layer's tar.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use stagewright_digest::{ContentDigest, ContentHasher, DiffId};
use tar::{EntryType, Header};
use thiserror::Error;

use crate::behind::{Behind, PIECE_BYTES};
use crate::entry::{Entry, EntryKind, Metadata, xattr_belongs};
use crate::index::{FileData, IndexFault, LayerIndex, Record};
use crate::path::EntryPath;
use crate::whiteout;

/// Tars consist of blocks of this size.
const BLOCK_BYTES: usize = 512;
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

/// A tar that was written, whose name may not be known yet: the last of it may still be hashed, on another thread.
#[derive(Debug)]
pub struct UnnamedLayer<W> {
    /// The writer, flushed.
    pub writer: W,
    /// What it holds, and where.
    pub index: LayerIndex,
    /// Its name.
    pub name: PendingDiffId,
}

impl<W> UnnamedLayer<W> {
    /// Waits until the name is known.
    pub fn finish(self) -> WrittenLayer<W> {
        let (diff_id, bytes) = self.name.wait();
        WrittenLayer {
            writer: self.writer,
            diff_id,
            bytes,
            index: self.index,
        }
    }
}

/// The name of a tar of which the last bytes may still be hashed.
#[derive(Debug)]
pub struct PendingDiffId(Behind);

impl PendingDiffId {
    /// Waits until it is known, and returns it with the length of the tar.
    pub fn wait(self) -> (DiffId, u64) {
        let (digest, bytes) = self.0.finish();
        (DiffId::from_bytes(*digest.as_bytes()), bytes)
    }
}

/// Writes the tar of a layer, the same bytes for the same entries.
///
/// The format is PAX, as Docker and BuildKit write it: a plain ustar header, with an extended
/// header before it only for what the plain one can't say (long or non-ASCII names, large numbers,
/// extended attributes). Times are cut to whole seconds, as theirs are; owners are numbers only.
/// Entries come in the order of their paths, each at most once.
#[derive(Debug)]
pub struct LayerWriter<W: Write> {
    writer: W,
    digest: Behind,
    /// What was not written yet, in its first `filled` bytes.
    piece: Vec<u8>,
    filled: usize,
    /// How many bytes were added.
    position: u64,
    records: Vec<Record>,
}

impl<W: Write> LayerWriter<W> {
    /// Starts an empty layer. `writer` need not be buffered.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            digest: Behind::new(),
            piece: vec![0; PIECE_BYTES],
            filled: 0,
            position: 0,
            records: Vec::new(),
        }
    }

    /// Makes room for so many entries more.
    pub fn reserve(&mut self, entries: usize) {
        self.records.reserve(entries);
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
                Vec::new(),
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
    pub fn finish(self) -> Result<WrittenLayer<W>, WriteError> {
        Ok(self.end()?.finish())
    }

    /// Ends the tar without waiting for its name.
    ///
    /// # Errors
    /// As [`LayerWriter::finish`].
    pub fn end(mut self) -> Result<UnnamedLayer<W>, WriteError> {
        self.put(&[0; 2 * BLOCK_BYTES])?;
        self.hand_on()?;
        self.writer.flush().map_err(WriteError::Write)?;
        Ok(UnnamedLayer {
            writer: self.writer,
            index: LayerIndex::from_sorted(self.records)?,
            name: PendingDiffId(self.digest),
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
            .is_some_and(|name| name.starts_with(whiteout::WHITEOUT_PREFIX))
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
            let space = &mut self.piece[self.filled..];
            let size = usize::try_from(rest).map_or(space.len(), |rest| rest.min(space.len()));
            let count = match content.read(&mut space[..size]) {
                Ok(0) => return Err(changed()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            seen(&space[..count]);
            self.fill(count)?;
            rest -= count as u64;
        }
        let mut more = [0];
        loop {
            match content.read(&mut more) {
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
        let path = entry.path.as_bytes();
        let mut name = Cow::Borrowed(path);
        let mut link: &[u8] = b"";
        match &entry.kind {
            EntryKind::Directory { .. } if entry.path.is_root() => name = Cow::Borrowed(b"./"),
            EntryKind::Directory { .. } => name = Cow::Owned([path, b"/"].concat()),
            EntryKind::Symlink { target } => link = target,
            EntryKind::Hardlink { target } => link = target.as_bytes(),
            EntryKind::Whiteout => name = Cow::Owned(whiteout::whiteout_marker(&entry.path)),
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
        self.write_blocks(records, &name, link, &metadata, |header| {
            set_kind(header, &entry.kind)
        })
    }

    /// Writes a header, before it what only an extended header can say.
    fn write_blocks(
        &mut self,
        mut records: Vec<(Vec<u8>, Vec<u8>)>,
        name: &[u8],
        link: &[u8],
        metadata: &Metadata,
        set_kind: impl FnOnce(&mut Header),
    ) -> Result<(), WriteError> {
        let mut header = Header::new_ustar();
        let mut number = |key: &str, value: i64, max: u64| {
            let small = u64::try_from(value).ok().filter(|value| *value <= max);
            if small.is_none() {
                records.push((key.into(), value.to_string().into_bytes()));
            }
            small.unwrap_or(0)
        };
        let fields = header.as_old_mut();
        set_number(&mut fields.mode, metadata.mode.into());
        let uid = number("uid", metadata.uid.into(), OCTAL_7_MAX);
        set_number(&mut fields.uid, uid);
        let gid = number("gid", metadata.gid.into(), OCTAL_7_MAX);
        set_number(&mut fields.gid, gid);
        let seconds = number("mtime", metadata.mtime.seconds, OCTAL_11_MAX);
        set_number(&mut fields.mtime, seconds);
        set_number(&mut fields.size, 0);
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
        set_checksum(&mut header);
        self.put(header.as_bytes())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let space = &mut self.piece[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            self.fill(now.len())?;
            bytes = later;
        }
        Ok(())
    }

    /// Counts bytes that were put behind the filled part of the piece.
    fn fill(&mut self, count: usize) -> Result<(), WriteError> {
        self.filled += count;
        self.position += count as u64;
        if self.filled == self.piece.len() {
            self.hand_on()?;
        }
        Ok(())
    }

    /// Writes the piece, and has it hashed.
    fn hand_on(&mut self) -> Result<(), WriteError> {
        let filled = std::mem::take(&mut self.filled);
        let written = self.writer.write_all(&self.piece[..filled]);
        written.map_err(WriteError::Write)?;
        let next = self.digest.next();
        let piece = std::mem::replace(&mut self.piece, next);
        let taken = self.digest.take(piece, filled);
        taken.map_err(WriteError::Write)
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
            let bytes = Some(*bytes).filter(|bytes| *bytes <= OCTAL_11_MAX);
            set_number(&mut header.as_old_mut().size, bytes.unwrap_or(0));
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

/// Puts a number into a field: octal digits and a NUL, as the tar library does, for which each costs an allocation.
fn set_number(field: &mut [u8], mut number: u64) {
    let mut places = field.iter_mut().rev();
    if let Some(last) = places.next() {
        *last = 0;
    }
    for place in places {
        *place = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}

/// Sets the sum of all bytes, those of the sum itself taken as spaces.
fn set_checksum(header: &mut Header) {
    header.as_old_mut().cksum = [b' '; 8];
    // Eight bytes at a time, as four sums of 16 bits: of 64 times two bytes none overflows.
    const LOW: u64 = 0x00ff_00ff_00ff_00ff;
    let words = header.as_bytes().as_chunks::<8>().0.iter();
    let sums = words.fold(0, |sums, word| {
        let word = u64::from_le_bytes(*word);
        sums + (word & LOW) + (word >> 8 & LOW)
    });
    let sum = (0..4).map(|lane| sums >> (16 * lane) & 0xffff).sum();
    set_number(&mut header.as_old_mut().cksum, sum);
}

/// Puts text into a field, and into the extended header when the field can't say it.
fn set_text(field: &mut [u8; 100], text: &[u8], key: &str, records: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    if text.len() > field.len() || !text.is_ascii() {
        records.push((key.into(), text.to_vec()));
    }
    if let Some(places) = field.get_mut(..text.len())
        && text.is_ascii()
    {
        places.copy_from_slice(text);
        return;
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
    fn numbers_and_sums_are_those_of_the_tar_library() {
        for number in [0, 1, 7, 8, 0o644, 0o7777, 123_456_789, OCTAL_11_MAX] {
            let mut theirs = Header::new_ustar();
            theirs.set_size(number);
            theirs.set_mtime(number);
            theirs.set_mode((number & 0o7777) as u32);
            theirs.set_uid(number & OCTAL_7_MAX);
            let mut ours = Header::new_ustar();
            let fields = ours.as_old_mut();
            set_number(&mut fields.size, number);
            set_number(&mut fields.mtime, number);
            set_number(&mut fields.mode, number & 0o7777);
            set_number(&mut fields.uid, number & OCTAL_7_MAX);
            theirs.set_cksum();
            set_checksum(&mut ours);
            assert_eq!(ours.as_bytes(), theirs.as_bytes(), "{number}");
        }
    }

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

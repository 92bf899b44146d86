//! Indexes that are written and read record by record.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::codec::{
    Body, HEADER_BYTES, IndexError, checksum_in, header, put, put_path, put_record,
};
use crate::index::Record;
use crate::path::EntryPath;

/// About so much is written and read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes what [`crate::LayerIndex::encode`] gives, without having it in memory.
pub(crate) struct IndexWriter<W> {
    writer: W,
    hasher: blake3::Hasher,
    /// What was not written yet.
    bytes: Vec<u8>,
    last: EntryPath,
}

impl<W: Write + Seek> IndexWriter<W> {
    /// Starts an index of so many records.
    pub(crate) fn new(mut writer: W, records: usize) -> io::Result<Self> {
        writer.write_all(&[0; HEADER_BYTES])?;
        let mut bytes = Vec::with_capacity(PIECE_BYTES * 2);
        put(&mut bytes, records as u64);
        Ok(Self {
            writer,
            hasher: blake3::Hasher::new(),
            bytes,
            last: EntryPath::root(),
        })
    }

    /// Adds the next record in the order of paths.
    pub(crate) fn add(&mut self, record: &Record) -> io::Result<()> {
        let path = &record.entry.path;
        put_path(&mut self.bytes, path.as_bytes(), self.last.as_bytes());
        put_record(&mut self.bytes, record);
        self.last = path.clone();
        if self.bytes.len() >= PIECE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is left, and the header.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.writer.seek(SeekFrom::Start(0))?;
        self.writer.write_all(&header(&self.hasher.finalize()))?;
        self.writer.flush()
    }

    fn write(&mut self) -> io::Result<()> {
        self.hasher.update(&self.bytes);
        self.writer.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// Reads what [`crate::LayerIndex::encode`] gave, record by record: in little memory, however long it is.
///
/// Whether the whole was damaged is known at its end only, which fails then. What records say of each other is not checked.
#[derive(Debug)]
pub struct IndexReader<R> {
    reader: R,
    hasher: blake3::Hasher,
    checksum: Vec<u8>,
    /// What was read of the file and not of the index, from `begin` on.
    bytes: Vec<u8>,
    begin: usize,
    at_end: bool,
    rest: usize,
    /// The path of the last record.
    last: Vec<u8>,
    path: Vec<u8>,
    ended: bool,
}

impl<R: Read> IndexReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// When it can't be read, or is something else.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        reader.read_exact(&mut header)?;
        let checksum = checksum_in(&header).map_err(damaged)?.to_vec();
        let mut reader = Self {
            reader,
            hasher: blake3::Hasher::new(),
            checksum,
            bytes: Vec::with_capacity(PIECE_BYTES * 2),
            begin: 0,
            at_end: false,
            rest: 0,
            last: Vec::new(),
            path: Vec::new(),
            ended: false,
        };
        reader.rest = reader.read(|body, _, _| body.size())?;
        Ok(reader)
    }

    fn next_record(&mut self) -> io::Result<Option<Record>> {
        if self.rest == 0 {
            return self.check_end().map(|()| None);
        }
        self.rest -= 1;
        let record = self.read(|body, last, path| {
            path.clear();
            path.extend_from_slice(last);
            body.path(path)?;
            body.record(EntryPath::parse(path)?)
        })?;
        std::mem::swap(&mut self.last, &mut self.path);
        Ok(Some(record))
    }

    /// Reads something. Where the bytes that are there do not do, there may be more.
    fn read<T>(
        &mut self,
        what: impl Fn(&mut Body<'_>, &[u8], &mut Vec<u8>) -> Result<T, IndexError>,
    ) -> io::Result<T> {
        if self.bytes.len() - self.begin < PIECE_BYTES {
            self.fill()?;
        }
        loop {
            let mut body = Body(&self.bytes[self.begin..]);
            match what(&mut body, &self.last, &mut self.path) {
                Ok(read) => {
                    self.begin = self.bytes.len() - body.0.len();
                    return Ok(read);
                }
                Err(error) if self.at_end => return Err(damaged(error)),
                Err(_) => self.fill()?,
            }
        }
    }

    /// Reads as much again as is there, and at least a piece.
    fn fill(&mut self) -> io::Result<()> {
        if self.at_end {
            return Ok(());
        }
        self.bytes.drain(..self.begin);
        self.begin = 0;
        let (filled, wanted) = (self.bytes.len(), self.bytes.len().max(PIECE_BYTES));
        let mut more = (&mut self.reader).take(wanted as u64);
        self.at_end = more.read_to_end(&mut self.bytes)? < wanted;
        self.hasher.update(&self.bytes[filled..]);
        Ok(())
    }

    fn check_end(&mut self) -> io::Result<()> {
        self.fill()?;
        if self.begin < self.bytes.len() || !self.at_end {
            return Err(damaged(IndexError::Malformed));
        }
        match self.hasher.finalize().as_bytes() == self.checksum.as_slice() {
            true => Ok(()),
            false => Err(damaged(IndexError::Checksum)),
        }
    }
}

impl<R: Read> Iterator for IndexReader<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_record().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn damaged(error: IndexError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, EntryKind, LayerIndex, Metadata};

    /// `longest` is longer than what is read at once.
    fn index(entries: usize, longest: usize) -> LayerIndex {
        let records = (0..entries).map(|number| {
            let mut metadata = Metadata::with_mode(0o644);
            let long = if number == entries / 2 {
                longest
            } else {
                number % 50
            };
            metadata
                .xattrs
                .insert(b"user.long".to_vec(), vec![b'x'; long]);
            let path = format!("folder-{}/entry-{number:06}", number / 1_000);
            Record::from(Entry {
                path: EntryPath::parse(path.as_bytes()).unwrap(),
                kind: EntryKind::Fifo,
                metadata,
            })
        });
        LayerIndex::from_records(records.collect()).unwrap()
    }

    #[test]
    fn records_are_read_as_the_whole_is() {
        for entries in [0, 1, 20_000] {
            let index = index(entries, 300_000);
            let stored = index.encode();
            let read: io::Result<Vec<_>> = IndexReader::new(stored.as_slice()).unwrap().collect();
            assert_eq!(read.unwrap(), index.records());
        }
    }

    #[test]
    fn damage_is_found_at_the_end_at_the_latest() {
        let stored = index(20, 100).encode();
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            for bytes in [&damaged[..], &stored[..at]] {
                let read =
                    IndexReader::new(bytes).and_then(Iterator::collect::<io::Result<Vec<_>>>);
                assert!(read.is_err(), "byte {at}");
            }
        }
    }
}

//! A file that is read here and there.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use super::error::DatabaseError;

/// More is no header of a package: rpm itself writes none that is as large.
const BLOB_BYTES_MAX: u64 = 64 << 20;

/// The file of a database. Blobs taken out of it are together no larger than it is, and no page is part of two things:
/// who reads one asks for it here.
pub(super) struct Source<R> {
    reader: R,
    bytes: u64,
    /// How much may still be taken out as blobs.
    rest: u64,
    /// The pages that are part of something.
    claimed: HashSet<u32>,
}

impl<R: Read + Seek> Source<R> {
    /// Takes a file.
    pub(super) fn new(mut reader: R) -> Result<Self, DatabaseError> {
        let bytes = reader.seek(SeekFrom::End(0))?;
        Ok(Self {
            reader,
            bytes,
            rest: bytes,
            claimed: HashSet::new(),
        })
    }

    /// Returns how large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads bytes that have to be there.
    pub(super) fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, DatabaseError> {
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(DatabaseError::Cut {
                bytes: self.bytes,
                offset,
            });
        }
        self.reader.seek(SeekFrom::Start(offset))?;
        let mut read = vec![0; length];
        self.reader.read_exact(&mut read)?;
        Ok(read)
    }

    /// Lets more be taken out than it has bytes: what is in its log.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.rest = self.rest.saturating_add(bytes);
    }

    /// Notes that a blob is taken out.
    pub(super) fn take(&mut self, page: u64, bytes: u64) -> Result<(), DatabaseError> {
        let wrong = |what| DatabaseError::Page { page, what };
        if bytes > BLOB_BYTES_MAX {
            return Err(wrong("has a header of more than 64 MiB"));
        }
        let rest = self.rest.checked_sub(bytes);
        self.rest = rest.ok_or_else(|| wrong("has headers that lie in each other"))?;
        Ok(())
    }

    /// Notes that a page is part of something.
    pub(super) fn claim(&mut self, page: u32) -> Result<(), DatabaseError> {
        match self.claimed.insert(page) {
            true => Ok(()),
            false => Err(DatabaseError::Page {
                page: page.into(),
                what: "is part of two things",
            }),
        }
    }
}

//! The log beside a file of SQLite, `rpmdb.sqlite-wal` (<https://www.sqlite.org/fileformat.html#walformat>): pages
//! that are newer than those in the file. rpm puts them into the file when it ends, so that there is none but after a
//! step that was cut off.
//!
//! ```text
//! magic, version, bytes of a page, checkpoint, salts, checksums             4 × 4, 2 × 4, 2 × 4
//! frames: page, pages of the file (where a change ends), salts, checksums   2 × 4, 2 × 4, 2 × 4
//!         the page
//! ```

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::error::DatabaseError;
use super::numbers::Order;
use super::source::Source;

/// The last bit says in which order the checksums take their numbers.
const MAGIC: u32 = 0x377f_0682;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The pages of a log that count.
pub(super) struct Log<R> {
    file: Source<R>,
    page_bytes: usize,
    /// Where each page lies, as it was last written.
    pages: HashMap<u32, u64>,
}

impl<R: Read + Seek> Log<R> {
    /// Reads which pages a log has; nothing for one without a beginning, which SQLite does not heed, either.
    pub(super) fn open(file: R) -> Result<Option<Self>, DatabaseError> {
        let mut file = Source::new(file)?;
        let Ok(header) = file.read(0, HEADER_BYTES) else {
            return Ok(None);
        };
        let number = |place: usize| Order::Big.u32(&header, place * 4).unwrap_or_default();
        let page_bytes = number(2) as usize;
        let sizes = 512..=65536;
        let mut checksum = Checksum {
            order: match number(0) & 1 {
                0 => Order::Little,
                _ => Order::Big,
            },
            sums: (0, 0),
        };
        checksum.add(&header[..24]);
        let is_log = number(0) & !1 == MAGIC
            && page_bytes.is_power_of_two()
            && sizes.contains(&page_bytes)
            && checksum.sums == (number(6), number(7));
        if !is_log {
            return Ok(None);
        }
        let mut log = Self {
            file,
            page_bytes,
            pages: HashMap::new(),
        };
        log.read_frames((number(4), number(5)), checksum)?;
        Ok(Some(log))
    }

    /// Returns how large a page is.
    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Returns how large the log is.
    pub(super) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Returns a page, if there is a newer one.
    pub(super) fn page(&mut self, number: u32) -> Result<Option<Vec<u8>>, DatabaseError> {
        let place = self.pages.get(&number).copied();
        place
            .map(|place| self.file.read(place, self.page_bytes))
            .transpose()
    }

    /// Goes through the frames up to the first that is of an older log or not whole. Only those count behind which a
    /// change ends.
    fn read_frames(
        &mut self,
        salts: (u32, u32),
        mut checksum: Checksum,
    ) -> Result<(), DatabaseError> {
        let frame_bytes = FRAME_HEADER_BYTES + self.page_bytes;
        let mut place = HEADER_BYTES as u64;
        let mut begun = Vec::new();
        while place + frame_bytes as u64 <= self.file.bytes() {
            let frame = self.file.read(place, frame_bytes)?;
            let number = |place: usize| Order::Big.u32(&frame, place * 4).unwrap_or_default();
            checksum.add(&frame[..8]);
            checksum.add(&frame[FRAME_HEADER_BYTES..]);
            if (number(2), number(3)) != salts || checksum.sums != (number(4), number(5)) {
                break;
            }
            begun.push((number(0), place + FRAME_HEADER_BYTES as u64));
            if number(1) != 0 {
                self.pages.extend(begun.drain(..));
            }
            place += frame_bytes as u64;
        }
        Ok(())
    }
}

/// Two sums over pairs of numbers, each of which goes into the other.
struct Checksum {
    order: Order,
    sums: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let number = |offset| self.order.u32(pair, offset).unwrap_or_default();
            let first = self
                .sums
                .0
                .wrapping_add(number(0))
                .wrapping_add(self.sums.1);
            let second = self.sums.1.wrapping_add(number(4)).wrapping_add(first);
            self.sums = (first, second);
        }
    }
}

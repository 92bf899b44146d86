//! rpm's own format, `Packages.db`: slots that say where blobs lie.
//!
//! ```text
//! "RpmP", version 0, generation, pages of slots, next number, 12 bytes   32
//! slots: "Slot", number of the package, first block, blocks              4 × 4 each, to the end of those pages
//! blobs: "BlbS", number of the package, generation, bytes                4 × 4
//!        header of the package, filled up with zeros
//!        checksum, bytes, "BlbE"                                         3 × 4
//! ```
//!
//! Numbers are little-endian, a block has 16 bytes, a page of slots 4,096. A slot whose first block is 0 is free.

use std::io::{Read, Seek};

use super::error::DatabaseError;
use super::numbers::Order;
use super::source::Source;

const FORMAT: &str = "rpm's own format";
const BLOCK_BYTES: u64 = 16;
const SLOT_BYTES: usize = 16;
const PAGE_BYTES: u64 = 4096;
const HEADER_BYTES: usize = 32;
const HEAD_BYTES: u64 = 16;
const TAIL_BYTES: u64 = 12;

/// Hands over each header.
pub(super) fn read<R: Read + Seek>(
    mut file: Source<R>,
    each: &mut dyn FnMut(Result<Vec<u8>, DatabaseError>),
) -> Result<(), DatabaseError> {
    let other = || DatabaseError::OtherFormat { format: FORMAT };
    let header = file.read(0, HEADER_BYTES).map_err(|_| other())?;
    if !header.starts_with(b"RpmP") {
        return Err(other());
    }
    let number = |place: usize| Order::Little.u32(&header, place * 4).unwrap_or_default();
    if number(1) != 0 {
        return Err(DatabaseError::Unsupported {
            format: FORMAT,
            what: "of a later version",
        });
    }
    for page in 0..u64::from(number(3)) {
        let slots = file.read(page * PAGE_BYTES, PAGE_BYTES as usize)?;
        // The first two are the file's header.
        let skipped = if page == 0 { HEADER_BYTES } else { 0 };
        for slot in slots[skipped..].chunks_exact(SLOT_BYTES) {
            match Slot::parse(page, slot) {
                Ok(slot) if slot.block == 0 => {}
                slot => each(slot.and_then(|slot| slot.blob(&mut file))),
            }
        }
    }
    Ok(())
}

struct Slot {
    page: u64,
    package: u32,
    block: u32,
    blocks: u32,
}

impl Slot {
    fn parse(page: u64, bytes: &[u8]) -> Result<Self, DatabaseError> {
        let number = |place: usize| Order::Little.u32(bytes, place * 4).unwrap_or_default();
        match bytes.starts_with(b"Slot") {
            true => Ok(Self {
                page,
                package: number(1),
                block: number(2),
                blocks: number(3),
            }),
            false => Err(DatabaseError::Page {
                page,
                what: "has a slot that is none",
            }),
        }
    }

    fn blob<R: Read + Seek>(&self, file: &mut Source<R>) -> Result<Vec<u8>, DatabaseError> {
        let start = u64::from(self.block) * BLOCK_BYTES;
        let head = file.read(start, HEAD_BYTES as usize)?;
        let number = |place: usize| Order::Little.u32(&head, place * 4).unwrap_or_default();
        let bytes = u64::from(number(3));
        let blocks = (HEAD_BYTES + bytes + TAIL_BYTES).div_ceil(BLOCK_BYTES);
        let wrong = |what| DatabaseError::Page {
            page: self.page,
            what,
        };
        if !head.starts_with(b"BlbS") || number(1) != self.package {
            return Err(wrong("points to something else than the package"));
        }
        if blocks != u64::from(self.blocks) {
            return Err(wrong("has a package of another size"));
        }
        let end = start + blocks * BLOCK_BYTES;
        let tail = file.read(end - TAIL_BYTES, TAIL_BYTES as usize)?;
        if !tail.ends_with(b"BlbE") || Order::Little.u32(&tail, 4) != Some(number(3)) {
            return Err(wrong("has a package that was not written to its end"));
        }
        file.take(self.page, bytes)?;
        file.read(start + HEAD_BYTES, bytes as usize)
    }
}

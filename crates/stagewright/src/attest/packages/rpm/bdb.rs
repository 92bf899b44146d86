//! Hash files of Berkeley DB, `Packages`.
//!
//! ```text
//! page 0:     8 bytes, number 0, magic 0x061561, version, bytes of a page, encryption, type 8, flags, 1 byte,
//!             free page, last page, …
//! each page:  8 bytes, its number, previous, next (4 × 3), items, free space (2 × 2), level, type (1 × 2)
//! type 13, 2: offsets of the items (2 each), in pairs of key and value; they lie from the page's end downwards, each
//!             with its type before it: 1 for bytes, 3 for bytes that lie on pages of their own (3 bytes, page, bytes)
//! type 7:     such bytes; "free space" is how many of them are on this page
//! ```
//!
//! Numbers are in the order of the machine that made the file. The key is a package's number; under 0 lies the last
//! number. All pages of items are read, whichever bucket they are of: those that are free have another type.

use std::io::{Read, Seek};

use super::error::DatabaseError;
use super::numbers::Order;
use super::source::Source;

const FORMAT: &str = "Berkeley DB";
const MAGIC: u32 = 0x0006_1561;
const METADATA_BYTES: usize = 512;
const PAGE_HEADER_BYTES: usize = 26;
const PAGE_OVERFLOW: u8 = 7;
const PAGE_METADATA: u8 = 8;
/// Sorted ones, and those of older versions.
const PAGES_HASH: [u8; 2] = [13, 2];
const ITEM_HERE: u8 = 1;
const ITEM_ELSEWHERE: u8 = 3;
/// An item: 0 in four bytes.
const KEY_OF_LAST_NUMBER: &[u8] = &[ITEM_HERE, 0, 0, 0, 0];
const CHECKSUM_FLAG: u8 = 1;

/// Hands over each header.
pub(super) fn read<R: Read + Seek>(
    file: Source<R>,
    each: &mut dyn FnMut(Result<Vec<u8>, DatabaseError>),
) -> Result<(), DatabaseError> {
    let mut hash = Hash::open(file)?;
    // Pages that the file says to have and that are not there are damage. The rest of them is read.
    for number in 1..=hash.last_page {
        let page = match hash.page(number) {
            Ok(page) => page,
            Err(error @ DatabaseError::Cut { .. }) => return Err(error),
            Err(error) => {
                each(Err(error));
                continue;
            }
        };
        if PAGES_HASH.contains(&page.kind) {
            for pair in 0..page.items / 2 {
                if let Some(blob) = hash.value(&page, pair).transpose() {
                    each(blob);
                }
            }
        }
    }
    Ok(())
}

struct Hash<R> {
    file: Source<R>,
    order: Order,
    page_bytes: usize,
    last_page: u32,
}

struct Page {
    number: u32,
    kind: u8,
    items: usize,
    bytes: Vec<u8>,
}

impl<R: Read + Seek> Hash<R> {
    fn open(mut file: Source<R>) -> Result<Self, DatabaseError> {
        let other = || DatabaseError::OtherFormat { format: FORMAT };
        let metadata = file.read(0, METADATA_BYTES).map_err(|_| other())?;
        let magic = |order: Order| order.u32(&metadata, 12) == Some(MAGIC);
        let order = match (magic(Order::Little), magic(Order::Big)) {
            (true, _) => Order::Little,
            (_, true) => Order::Big,
            _ => return Err(other()),
        };
        let unsupported = |what| DatabaseError::Unsupported {
            format: FORMAT,
            what,
        };
        if metadata[25] != PAGE_METADATA {
            return Err(other());
        }
        if metadata[24] != 0 {
            return Err(unsupported("that is encrypted"));
        }
        if metadata[26] & CHECKSUM_FLAG != 0 {
            return Err(unsupported("with checksums"));
        }
        let number = |offset| order.u32(&metadata, offset).unwrap_or_default();
        let page_bytes = number(20) as usize;
        if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
            return Err(unsupported("with pages of another size"));
        }
        Ok(Self {
            last_page: number(32),
            file,
            order,
            page_bytes,
        })
    }

    fn page(&mut self, number: u32) -> Result<Page, DatabaseError> {
        let offset = u64::from(number) * self.page_bytes as u64;
        let bytes = self.file.read(offset, self.page_bytes)?;
        let page = Page {
            number,
            kind: bytes[25],
            items: usize::from(self.order.u16(&bytes, 20).unwrap_or_default()),
            bytes,
        };
        // Pages that were never written are empty.
        let own = self.order.u32(&page.bytes, 8).unwrap_or_default();
        if own != number && (own != 0 || page.kind != 0) {
            return Err(page.wrong("says that it is another one"));
        }
        let offsets_end = PAGE_HEADER_BYTES + 2 * page.items;
        if PAGES_HASH.contains(&page.kind) && offsets_end > self.page_bytes {
            return Err(page.wrong("has more items than it can hold"));
        }
        Ok(page)
    }

    /// Returns the header of a package; nothing for a pair that is none.
    fn value(&mut self, page: &Page, pair: usize) -> Result<Option<Vec<u8>>, DatabaseError> {
        let offset = |item: usize| match item.checked_sub(1) {
            // What lies highest in the page ends at its end.
            None => Some(self.page_bytes),
            Some(item) => {
                let offset = self.order.u16(&page.bytes, PAGE_HEADER_BYTES + 2 * item);
                offset.map(usize::from)
            }
        };
        // The key ends where the item before it begins, the value where the key begins.
        let places = [offset(2 * pair), offset(2 * pair + 1), offset(2 * pair + 2)];
        let ([Some(end), Some(key)], Some(value)) = ([places[0], places[1]], places[2]) else {
            return Err(page.wrong("has more items than it can hold"));
        };
        let items = (page.bytes.get(key..end), page.bytes.get(value..key));
        let (Some(key), Some(value)) = items else {
            return Err(page.wrong("has items that lie in each other"));
        };
        if key == KEY_OF_LAST_NUMBER {
            return Ok(None);
        }
        match value.split_first() {
            Some((&ITEM_HERE, bytes)) => {
                self.file.take(page.number.into(), bytes.len() as u64)?;
                Ok(Some(bytes.to_vec()))
            }
            Some((&ITEM_ELSEWHERE, place)) if place.len() == 11 => {
                let number = |offset| self.order.u32(place, offset).unwrap_or_default();
                self.elsewhere(number(3), number(7) as usize).map(Some)
            }
            _ => Err(page.wrong("has an item of a kind that rpm does not write")),
        }
    }

    /// Returns what lies on pages of its own.
    fn elsewhere(&mut self, first: u32, length: usize) -> Result<Vec<u8>, DatabaseError> {
        self.file.take(first.into(), length as u64)?;
        let mut blob = Vec::new();
        let mut number = first;
        while blob.len() < length {
            self.file.claim(number)?;
            let page = self.page(number)?;
            let here = usize::from(self.order.u16(&page.bytes, 22).unwrap_or_default());
            let here = page.bytes.get(PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + here);
            match here {
                Some(here) if page.kind == PAGE_OVERFLOW && here.len() <= length - blob.len() => {
                    blob.extend_from_slice(here);
                }
                _ => return Err(page.wrong("is not the next one of a header")),
            }
            number = self.order.u32(&page.bytes, 16).unwrap_or_default();
        }
        Ok(blob)
    }
}

impl Page {
    fn wrong(&self, what: &'static str) -> DatabaseError {
        DatabaseError::Page {
            page: self.number.into(),
            what,
        }
    }
}

//! Files of SQLite, `rpmdb.sqlite` (<https://www.sqlite.org/fileformat.html>): the rows of one table.
//!
//! Tables are trees of pages. An inner page has the numbers of pages below it, a leaf has rows, and what of a row does
//! not fit lies on a chain of pages. Page 1 begins with the file's header and is the root of the table that says where
//! the others have theirs. Numbers are big-endian. rpm keeps its headers in the second column of `Packages`.

use std::io::{Read, Seek};

use super::error::DatabaseError;
use super::numbers::Order;
use super::source::Source;
use super::wal::Log;

const FORMAT: &str = "SQLite";
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const SCHEMA_ROOT: u32 = 1;
const TABLE: &[u8] = b"Packages";
const LEAF: u8 = 0x0d;
const INNER: u8 = 0x05;

/// Hands over each header.
pub(super) fn read<R: Read + Seek>(
    file: Source<R>,
    log: Option<R>,
    each: &mut dyn FnMut(Result<Vec<u8>, DatabaseError>),
) -> Result<(), DatabaseError> {
    let mut database = Database::open(file, log)?;
    let mut root = None;
    let mut schema = Rows::of(SCHEMA_ROOT, &mut database)?;
    while let Some(row) = schema.next(&mut database) {
        let row = Record(row?);
        if row.column(0) == Some(b"table") && row.column(1) == Some(TABLE) {
            root = row.column(3).and_then(page_number);
        }
    }
    let root = root.ok_or(DatabaseError::Page {
        page: SCHEMA_ROOT.into(),
        what: "names no table of packages",
    })?;
    let mut packages = Rows::of(root, &mut database)?;
    while let Some(row) = packages.next(&mut database) {
        each(row.and_then(|row| {
            let blob = Record(row).column(1).map(<[u8]>::to_vec);
            blob.ok_or(DatabaseError::Header {
                what: "is not in its row",
            })
        }));
    }
    Ok(())
}

struct Database<R> {
    file: Source<R>,
    log: Option<Log<R>>,
    page_bytes: usize,
    /// The bytes of a page that are used.
    usable: usize,
}

impl<R: Read + Seek> Database<R> {
    fn open(mut file: Source<R>, log: Option<R>) -> Result<Self, DatabaseError> {
        let mut log = log.map(Log::open).transpose()?.flatten();
        let other = || DatabaseError::OtherFormat { format: FORMAT };
        let logged = log.as_mut().map(|log| log.page(SCHEMA_ROOT)).transpose()?;
        let header = match logged.flatten() {
            Some(page) => page,
            None => file.read(0, HEADER_BYTES).map_err(|_| other())?,
        };
        if !header.starts_with(MAGIC) || header.len() < HEADER_BYTES {
            return Err(other());
        }
        let unsupported = |what| DatabaseError::Unsupported {
            format: FORMAT,
            what,
        };
        let page_bytes = match Order::Big.u16(&header, 16) {
            Some(1) => 65536,
            bytes => usize::from(bytes.unwrap_or_default()),
        };
        if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
            return Err(unsupported("with pages of another size"));
        }
        let usable = page_bytes - usize::from(header[20]);
        if usable < 480 {
            return Err(unsupported("with pages of which too little is used"));
        }
        if header[19] > 2 {
            return Err(unsupported("of a later version"));
        }
        if Order::Big.u32(&header, 56).is_some_and(|code| code > 1) {
            return Err(unsupported("in UTF-16"));
        }
        if let Some(log) = &log {
            if log.page_bytes() != page_bytes {
                return Err(unsupported("with a log of other pages"));
            }
            file.allow(log.bytes());
        }
        Ok(Self {
            file,
            log,
            page_bytes,
            usable,
        })
    }

    /// Reads a page that was claimed.
    fn page(&mut self, number: u32) -> Result<Vec<u8>, DatabaseError> {
        let logged = self.log.as_mut().map(|log| log.page(number)).transpose()?;
        if let Some(page) = logged.flatten() {
            return Ok(page);
        }
        let before = number.checked_sub(1).ok_or(DatabaseError::Page {
            page: 0,
            what: "is asked for, and there is none",
        })?;
        let offset = u64::from(before) * self.page_bytes as u64;
        self.file.read(offset, self.page_bytes)
    }

    /// Returns how much of a row lies in the leaf.
    fn bytes_in_leaf(&self, bytes: usize) -> usize {
        let most = self.usable - 35;
        if bytes <= most {
            return bytes;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let wanted = least + (bytes - least) % (self.usable - 4);
        if wanted <= most { wanted } else { least }
    }

    fn row(&mut self, leaf: &Page, place: usize) -> Result<Vec<u8>, DatabaseError> {
        let wrong = |what| DatabaseError::Page {
            page: leaf.number.into(),
            what,
        };
        let cut = || wrong("has rows that go over its end");
        let start = leaf.cell(place).ok_or_else(cut)?;
        let (bytes, rest) = varint(&leaf.bytes, start).ok_or_else(cut)?;
        let (_, start) = varint(&leaf.bytes, rest).ok_or_else(cut)?;
        self.file.take(leaf.number.into(), bytes)?;
        let bytes = bytes as usize;
        let here = self.bytes_in_leaf(bytes);
        let end = start.saturating_add(here);
        let mut row = leaf.bytes.get(start..end).ok_or_else(cut)?.to_vec();
        if row.len() == bytes {
            return Ok(row);
        }
        let mut next = Order::Big.u32(&leaf.bytes, end).ok_or_else(cut)?;
        while row.len() < bytes {
            self.file.claim(next)?;
            let page = self.page(next)?;
            let more = (bytes - row.len()).min(self.usable - 4);
            row.extend_from_slice(&page[4..4 + more]);
            next = Order::Big.u32(&page, 0).unwrap_or_default();
        }
        Ok(row)
    }
}

/// The rows of a table, one after the other. What is damaged is said, and what lies behind it comes next.
struct Rows {
    /// Pages that were not looked at yet, the next one last.
    pages: Vec<u32>,
    leaf: Option<(Page, usize)>,
}

impl Rows {
    fn of<R: Read + Seek>(root: u32, database: &mut Database<R>) -> Result<Self, DatabaseError> {
        database.file.claim(root)?;
        Ok(Self {
            pages: vec![root],
            leaf: None,
        })
    }

    fn next<R: Read + Seek>(
        &mut self,
        database: &mut Database<R>,
    ) -> Option<Result<Vec<u8>, DatabaseError>> {
        loop {
            if let Some((leaf, place)) = &mut self.leaf {
                if *place < leaf.cells {
                    *place += 1;
                    return Some(database.row(leaf, *place - 1));
                }
                self.leaf = None;
            }
            let number = self.pages.pop()?;
            let page = database
                .page(number)
                .and_then(|bytes| Page::parse(number, bytes));
            let looked = page.and_then(|page| match page.kind {
                LEAF => {
                    self.leaf = Some((page, 0));
                    Ok(())
                }
                _ => self.descend(&page, database),
            });
            if let Err(error) = looked {
                return Some(Err(error));
            }
        }
    }

    /// Puts off the pages below an inner one.
    fn descend<R>(&mut self, page: &Page, database: &mut Database<R>) -> Result<(), DatabaseError>
    where
        R: Read + Seek,
    {
        let last = Order::Big.u32(&page.bytes, page.start + 8);
        let below = (0..page.cells).map(|place| Order::Big.u32(&page.bytes, page.cell(place)?));
        let below: Option<Vec<u32>> = below.chain([last]).collect();
        let below = below.ok_or(DatabaseError::Page {
            page: page.number.into(),
            what: "has pages below it that are not named",
        })?;
        for number in below.into_iter().rev() {
            database.file.claim(number)?;
            self.pages.push(number);
        }
        Ok(())
    }
}

/// A page of a table's tree.
struct Page {
    number: u32,
    /// Where its own header begins: behind that of the file.
    start: usize,
    kind: u8,
    cells: usize,
    bytes: Vec<u8>,
}

impl Page {
    fn parse(number: u32, bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let start = if number == 1 { HEADER_BYTES } else { 0 };
        let wrong = |what| DatabaseError::Page {
            page: number.into(),
            what,
        };
        let kind = bytes.get(start).copied().unwrap_or_default();
        if kind != LEAF && kind != INNER {
            return Err(wrong("is not of a table"));
        }
        let page = Self {
            number,
            start,
            kind,
            cells: usize::from(Order::Big.u16(&bytes, start + 3).unwrap_or_default()),
            bytes,
        };
        match page.pointers() + 2 * page.cells <= page.bytes.len() {
            true => Ok(page),
            false => Err(wrong("has more rows than it can hold")),
        }
    }

    /// Returns where it is said where its cells begin.
    fn pointers(&self) -> usize {
        self.start + if self.kind == LEAF { 8 } else { 12 }
    }

    /// Returns where a cell begins.
    fn cell(&self, place: usize) -> Option<usize> {
        let cell = Order::Big.u16(&self.bytes, self.pointers() + 2 * place)?;
        Some(usize::from(cell))
    }
}

/// A row: the types of its columns, and then their values.
struct Record(Vec<u8>);

impl Record {
    /// Returns the bytes of a column, if the row has as many.
    fn column(&self, wanted: usize) -> Option<&[u8]> {
        let (header, mut next) = varint(&self.0, 0)?;
        let header = usize::try_from(header).ok()?;
        let mut value = header;
        let mut column = 0;
        while next < header {
            let (kind, behind) = varint(&self.0, next)?;
            let bytes = match kind {
                kind @ 0..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                8..=11 => 0,
                kind => (kind - 12) / 2,
            };
            let end = value.checked_add(usize::try_from(bytes).ok()?)?;
            if column == wanted {
                return self.0.get(value..end);
            }
            (next, value, column) = (behind, end, column + 1);
        }
        None
    }
}

fn page_number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.iter().try_fold(0_u64, |number, byte| {
        Some(number.checked_mul(256)? + u64::from(*byte))
    })?;
    u32::try_from(digits).ok().filter(|number| *number != 0)
}

/// Reads a number of one to nine bytes, and returns where the next thing begins.
fn varint(bytes: &[u8], offset: usize) -> Option<(u64, usize)> {
    let bytes = bytes.get(offset..)?;
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        let last = place == 8;
        let digits = if last { *byte } else { *byte & 0x7f };
        number = number << if last { 8 } else { 7 } | u64::from(digits);
        if last || *byte & 0x80 == 0 {
            return Some((number, offset + place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_bytes_as_they_need() {
        for (bytes, expected) in [
            (&[0x7f_u8][..], Some((0x7f, 1))),
            (&[0x81, 0x00], Some((0x80, 2))),
            (&[0xff; 9], Some((u64::MAX, 9))),
            (&[0x80; 8], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes, 0), expected, "{bytes:?}");
        }
    }

    #[test]
    fn columns_lie_behind_their_types() {
        // NULL, 1 as a constant, two bytes, text of three, a blob that is cut.
        let row = Record(vec![6, 0, 9, 2, 19, 20, 1, 2, b'a', b'b', b'c', 7]);
        for (column, expected) in [
            (0, Some(&b""[..])),
            (1, Some(b"")),
            (2, Some(&[1, 2])),
            (3, Some(b"abc")),
            (4, None),
            (5, None),
        ] {
            assert_eq!(row.column(column), expected, "{column}");
        }
    }
}

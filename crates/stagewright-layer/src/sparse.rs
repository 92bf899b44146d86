//! Files with holes: where their pieces are.

use tar::{GnuExtSparseHeader, GnuSparseHeader};

use crate::pax::{PaxRecords, decimal};

/// The largest sparse file that is read. Holes cost nothing in a tar but are hashed like other
/// bytes, so that a tiny tar could keep a reader busy for years.
pub(crate) const SPARSE_BYTES_MAX: u64 = 1 << 40;
/// The most pieces that a sparse file may have.
const PIECES_MAX: usize = 1 << 20;

/// A piece of a sparse file that has bytes in the tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) bytes: u64,
}

/// The pieces of a file of `bytes` bytes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// The length of the file.
    pub(crate) bytes: u64,
    /// Its pieces, in order, without overlaps.
    pub(crate) pieces: Vec<Piece>,
}

impl SparseMap {
    /// Checks pieces; nothing when they can't be those of a file whose pieces have `stored` bytes.
    pub(crate) fn new(bytes: u64, mut pieces: Vec<Piece>, stored: u64) -> Option<Self> {
        let mut end = 0u64;
        let mut sum = 0u64;
        for piece in &pieces {
            if piece.offset < end {
                return None;
            }
            end = piece.offset.checked_add(piece.bytes)?;
            sum = sum.checked_add(piece.bytes)?;
        }
        if end > bytes || sum != stored || bytes > SPARSE_BYTES_MAX {
            return None;
        }
        pieces.retain(|piece| piece.bytes > 0);
        Some(Self { bytes, pieces })
    }
}

/// Adds the pieces of an old GNU header; nothing when a number is malformed.
pub(crate) fn add_gnu(pieces: &mut Vec<Piece>, headers: &[GnuSparseHeader]) -> Option<()> {
    for header in headers.iter().filter(|header| !header.is_empty()) {
        pieces.push(Piece {
            offset: header.offset().ok()?,
            bytes: header.length().ok()?,
        });
    }
    (pieces.len() <= PIECES_MAX).then_some(())
}

/// Adds the pieces of a continuation block, and returns whether another one follows.
pub(crate) fn add_gnu_block(pieces: &mut Vec<Piece>, block: &[u8; 512]) -> Option<bool> {
    let mut extended = GnuExtSparseHeader::new();
    extended.as_mut_bytes().copy_from_slice(block);
    add_gnu(pieces, extended.sparse())?;
    Some(extended.is_extended())
}

/// Where a PAX header says that the map of a sparse file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PaxSparse {
    /// The file is not sparse.
    No,
    /// In the header itself (versions 0.0 and 0.1).
    Header {
        /// The length of the file.
        bytes: u64,
        /// Its pieces.
        pieces: Vec<Piece>,
    },
    /// Before the file's content (version 1.0).
    Content {
        /// The length of the file.
        bytes: u64,
    },
}

/// Reads what a PAX header says about a sparse file; nothing when it is malformed.
pub(crate) fn of_pax(records: &PaxRecords) -> Option<PaxSparse> {
    if records.get("GNU.sparse.major").is_some() {
        let bytes = records.number("GNU.sparse.realsize").ok()??;
        let version = (
            records.get("GNU.sparse.major"),
            records.get("GNU.sparse.minor"),
        );
        return (version == (Some(b"1"), Some(b"0"))).then_some(PaxSparse::Content { bytes });
    }
    let Some(bytes) = records.number("GNU.sparse.size").ok()? else {
        // A map of a file whose length nobody says would make its pieces the file.
        let mapped = records.get("GNU.sparse.map").is_some();
        return (!mapped).then_some(PaxSparse::No);
    };
    let numbers: Vec<u64> = match records.get("GNU.sparse.map") {
        Some(map) => map
            .split(|&byte| byte == b',')
            .map(decimal)
            .collect::<Result<_, ()>>()
            .ok()?,
        None => pairs(records)?,
    };
    let pieces = pieces(&numbers)?;
    Some(PaxSparse::Header { bytes, pieces })
}

/// Version 0.0 repeats two keys.
fn pairs(records: &PaxRecords) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for (key, value) in records.iter() {
        let expected = match key {
            b"GNU.sparse.offset" => 0,
            b"GNU.sparse.numbytes" => 1,
            _ => continue,
        };
        if numbers.len() % 2 != expected {
            return None;
        }
        numbers.push(decimal(value).ok()?);
    }
    Some(numbers)
}

fn pieces(numbers: &[u64]) -> Option<Vec<Piece>> {
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > PIECES_MAX {
        return None;
    }
    let pieces = numbers.chunks_exact(2);
    Some(
        pieces
            .map(|pair| Piece {
                offset: pair[0],
                bytes: pair[1],
            })
            .collect(),
    )
}

/// Reads the map that stands before the content in version 1.0: decimal lines, the first of which
/// says how many pairs follow.
#[derive(Debug, Default)]
pub(crate) struct ContentMap {
    numbers: Vec<u64>,
    line: Vec<u8>,
}

impl ContentMap {
    /// Takes the next block. Returns the pieces once they are complete, an error when the map is
    /// malformed.
    pub(crate) fn push(&mut self, block: &[u8]) -> Result<Option<Vec<Piece>>, ()> {
        for &byte in block {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > 20 {
                    return Err(());
                }
                continue;
            }
            if self.line.is_empty() {
                return Err(());
            }
            self.numbers.push(decimal(&self.line)?);
            self.line.clear();
            let count = usize::try_from(self.numbers[0]).map_err(drop)?;
            if count > PIECES_MAX {
                return Err(());
            }
            if self.numbers.len() == 1 + 2 * count {
                return pieces(&self.numbers[1..]).map(Some).ok_or(());
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, bytes: u64) -> Piece {
        Piece { offset, bytes }
    }

    #[test]
    fn maps_that_cannot_be_are_refused() {
        assert!(SparseMap::new(10, vec![piece(0, 2), piece(8, 2)], 4).is_some());
        assert!(SparseMap::new(10, vec![piece(0, 2), piece(10, 0)], 2).is_some());
        for (bytes, pieces, stored) in [
            (10, vec![piece(8, 2), piece(0, 2)], 4),
            (10, vec![piece(0, 4), piece(2, 2)], 6),
            (10, vec![piece(8, 3)], 3),
            (10, vec![piece(0, 2)], 3),
            (10, vec![piece(u64::MAX, 2)], 2),
            (u64::MAX, vec![], 0),
        ] {
            assert_eq!(SparseMap::new(bytes, pieces, stored), None);
        }
    }

    #[test]
    fn the_three_pax_versions() {
        let parse = |lines: &[&str]| {
            let mut body = String::new();
            for line in lines {
                let length = line.len() + 4;
                body.push_str(&format!("{length} {line}\n"));
            }
            of_pax(&PaxRecords::parse(body.as_bytes()).unwrap())
        };
        let expected = Some(PaxSparse::Header {
            bytes: 90,
            pieces: vec![piece(0, 5), piece(50, 40)],
        });
        let old = [
            "GNU.sparse.size=90",
            "GNU.sparse.offset=0",
            "GNU.sparse.numbytes=5",
            "GNU.sparse.offset=50",
            "GNU.sparse.numbytes=40",
        ];
        assert_eq!(parse(&old), expected);
        assert_eq!(
            parse(&["GNU.sparse.size=90", "GNU.sparse.map=0,5,50,40"]),
            expected
        );
        assert_eq!(
            parse(&["GNU.sparse.size=90", "GNU.sparse.map=0,5,50"]),
            None
        );
        let new = [
            "GNU.sparse.major=1",
            "GNU.sparse.minor=0",
            "GNU.sparse.realsize=90",
        ];
        assert_eq!(parse(&new), Some(PaxSparse::Content { bytes: 90 }));
        let mut map = ContentMap::default();
        assert_eq!(map.push(b"2\n0\n5\n5"), Ok(None));
        assert_eq!(
            map.push(b"0\n40\n\0\0\0"),
            Ok(Some(vec![piece(0, 5), piece(50, 40)]))
        );
        assert_eq!(ContentMap::default().push(b"x\n"), Err(()));
    }
}

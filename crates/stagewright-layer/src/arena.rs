//! Many short rows of bytes, kept until all of them go.

/// The first piece of memory is this long, and each is twice as long as the last, up to a limit.
const FIRST_BYTES: usize = 4 * 1024;
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    piece: u32,
    offset: u32,
}

/// Rows of bytes behind one another: none has memory of its own, and none is moved when more come.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pieces: Vec<Vec<u8>>,
}

impl Arena {
    /// Adds the bytes of some parts as one row.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Place {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let last = self.pieces.last();
        if last.is_none_or(|last| last.capacity() - last.len() < bytes) {
            let usual = last.map_or(FIRST_BYTES, |last| {
                (last.capacity() * 2).min(PIECE_BYTES_MAX)
            });
            self.pieces.push(Vec::with_capacity(usual.max(bytes)));
        }
        let piece = self.pieces.len() - 1;
        let last = &mut self.pieces[piece];
        let place = Place {
            piece: index(piece),
            offset: index(last.len()),
        };
        for part in parts {
            last.extend_from_slice(part);
        }
        place
    }

    /// Makes the row longer that ends at a place. Returns whether that was possible: it must be the last one.
    pub(crate) fn extend_last(&mut self, end: Place, bytes: &[u8]) -> bool {
        if end.piece as usize + 1 != self.pieces.len() {
            return false;
        }
        let last = &mut self.pieces[end.piece as usize];
        if last.len() != end.offset as usize || last.capacity() - last.len() < bytes.len() {
            return false;
        }
        last.extend_from_slice(bytes);
        true
    }

    /// Returns what begins at a place: the row, and what came after it.
    pub(crate) fn from(&self, place: Place) -> &[u8] {
        &self.pieces[place.piece as usize][place.offset as usize..]
    }
}

impl Place {
    /// Returns the place so many bytes further in the same row.
    pub(crate) fn after(self, bytes: usize) -> Self {
        Self {
            piece: self.piece,
            offset: self.offset + index(bytes),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.piece) << 32 | u64::from(self.offset)).to_le_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        let both = u64::from_le_bytes(bytes);
        Self {
            piece: (both >> 32) as u32,
            offset: both as u32,
        }
    }
}

/// A row is an entry of a tar, whose headers are a few MiB long at most.
fn index(number: usize) -> u32 {
    u32::try_from(number).expect("because pieces are short and memory is not that large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_where_they_are() {
        let mut arena = Arena::default();
        let row = |number: usize| vec![number as u8; number * 97 % 3_000 + 1];
        let places: Vec<_> = (0..5_000)
            .map(|number| arena.push(&[b"row ", &row(number)]))
            .collect();
        let large = arena.push(&[&vec![7; 3 << 20]]);
        for (number, place) in places.iter().enumerate() {
            assert!(arena.from(*place).starts_with(b"row "));
            assert!(arena.from(place.after(4)).starts_with(&row(number)));
            assert_eq!(Place::from_bytes(place.to_bytes()), *place);
        }
        assert_eq!(arena.from(large).len(), 3 << 20);
        let short = arena.push(&[b"one"]);
        assert!(arena.extend_last(short.after(3), b" two"));
        assert_eq!(arena.from(short), b"one two");
        assert!(!arena.extend_last(short.after(3), b" three"));
    }
}

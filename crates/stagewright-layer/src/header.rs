//! The fields of one tar header, as read.

use std::io;

use tar::Header;

use crate::entry::Mtime;

/// The fields of a header that matter here, before extended headers are applied.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    /// The type flag.
    pub(crate) kind: u8,
    /// The name, with ustar's prefix.
    pub(crate) name: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// How many bytes of content follow.
    pub(crate) size: u64,
    pub(crate) mtime: Mtime,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Fields {
    /// Reads a header block.
    pub(crate) fn read(block: &[u8; 512]) -> io::Result<Self> {
        let header = Header::from_byte_slice(block);
        if !checksum_matches(block, header.cksum()?) {
            let message = "its checksum does not match: this is not a tar, or it is damaged";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let device = |range: std::ops::Range<usize>| -> io::Result<u32> {
            if &block[257..262] != b"ustar" {
                return Ok(0);
            }
            u32::try_from(number(&block[range])?).map_err(|_| out_of_range())
        };
        let unsigned = |range: std::ops::Range<usize>| -> io::Result<u64> {
            u64::try_from(number(&block[range])?).map_err(|_| out_of_range())
        };
        Ok(Self {
            kind: block[156],
            name: header.path_bytes().into_owned(),
            link: header
                .link_name_bytes()
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default(),
            // Some writers add the bits of the file's type.
            mode: (unsigned(100..108)? & 0o7777) as u32,
            uid: unsigned(108..116)?,
            gid: unsigned(116..124)?,
            size: unsigned(124..136)?,
            mtime: Mtime::seconds(number(&block[136..148])?),
            major: device(329..337)?,
            minor: device(337..345)?,
        })
    }
}

/// Early tars summed signed bytes.
fn checksum_matches(block: &[u8; 512], expected: u32) -> bool {
    let bytes = || block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
    let unsigned: u32 = bytes().map(|&byte| u32::from(byte)).sum();
    let signed: i32 = bytes().map(|&byte| i32::from(byte as i8)).sum();
    unsigned == expected || i64::from(signed) == i64::from(expected)
}

/// Reads a numeric field: octal digits, or GNU's binary form, which begins with a set bit.
fn number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        // Two's complement, in which the topmost bit is the mark and the next one the sign.
        let negative = field[0] & 0x40 != 0;
        let first = if negative { field[0] } else { field[0] & 0x7f };
        let mut value = if negative {
            i128::from(first as i8)
        } else {
            i128::from(first)
        };
        for &byte in &field[1..] {
            value = value << 8 | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| out_of_range());
    }
    let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = text.trim_ascii();
    let mut value = 0i64;
    for &byte in text {
        let digit = match byte {
            b'0'..=b'7' => i64::from(byte - b'0'),
            _ => return Err(out_of_range()),
        };
        value = value.checked_mul(8).ok_or_else(out_of_range)? + digit;
    }
    Ok(value)
}

fn out_of_range() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a number is malformed or out of range",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let cases: [(&[u8], Option<i64>); 8] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o7777_7777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"0000648\0", None),
            (b"-1\0\0\0\0\0\0", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field).ok(), expected, "{field:?}");
        }
    }
}

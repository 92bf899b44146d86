//! Headers of packages: an index of tags, and the values behind it.
//!
//! ```text
//! number of entries, bytes of values             4 + 4
//! entries: tag, type, offset, number of values   4 × 4 each
//! values
//! ```
//!
//! Numbers are big-endian. Of two entries of a tag the later counts: rpm adds to headers, and does not change them.

use super::error::DatabaseError;
use super::numbers::Order;

const ENTRY_BYTES: usize = 16;
const TYPE_INT32: u32 = 4;
const TYPE_STRING: u32 = 6;
const TYPE_STRING_ARRAY: u32 = 8;
const TYPE_I18N_STRING: u32 = 9;
/// No name, licence or address is as long.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// How rpm writes what is not there, and what packages then have as a value.
const NONE: &str = "(none)";

/// What a header says; what it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Header {
    pub(in super::super) name: String,
    pub(in super::super) epoch: Option<u32>,
    pub(in super::super) version: String,
    pub(in super::super) release: String,
    pub(in super::super) architecture: String,
    pub(in super::super) license: String,
    pub(in super::super) vendor: String,
    pub(in super::super) packager: String,
    pub(in super::super) url: String,
    /// The file name of the source package.
    pub(in super::super) source: String,
}

impl Header {
    /// Reads a header as databases have it: without the magic number of package files.
    pub(super) fn parse(blob: &[u8]) -> Result<Self, DatabaseError> {
        let wrong = |what| DatabaseError::Header { what };
        let number = |offset| Order::Big.u32(blob, offset).map(|number| number as usize);
        let (Some(entries), Some(values_bytes)) = (number(0), number(4)) else {
            return Err(wrong("is shorter than its first line"));
        };
        let rest = &blob[8..];
        let index = entries
            .checked_mul(ENTRY_BYTES)
            .and_then(|bytes| rest.split_at_checked(bytes));
        let values = index.and_then(|(index, rest)| Some((index, rest.get(..values_bytes)?)));
        let Some((index, values)) = values else {
            return Err(wrong("is shorter than it says"));
        };
        let entry = |tag| Entry::find(index, values, tag);
        let text = |tag| entry(tag).map_or(Ok(String::new()), |entry| entry.text());
        let header = Self {
            name: text(1000)?,
            epoch: entry(1003).map(|entry| entry.number()).transpose()?,
            version: text(1001)?,
            release: text(1002)?,
            architecture: text(1022)?,
            license: text(1014)?,
            vendor: text(1011)?,
            packager: text(1015)?,
            url: text(1020)?,
            source: text(1044)?,
        };
        match header.name.is_empty() || header.version.is_empty() {
            true => Err(wrong("has no name or no version")),
            false => Ok(header),
        }
    }

    /// Returns how much it says.
    pub(super) fn text_bytes(&self) -> usize {
        let texts = [
            &self.name,
            &self.version,
            &self.release,
            &self.architecture,
            &self.license,
            &self.vendor,
            &self.packager,
            &self.url,
            &self.source,
        ];
        texts.into_iter().map(String::len).sum()
    }
}

/// One entry of the index.
struct Entry<'h> {
    kind: u32,
    /// The values from the entry's on.
    value: &'h [u8],
}

impl<'h> Entry<'h> {
    /// Returns the last entry of a tag.
    fn find(index: &[u8], values: &'h [u8], tag: u32) -> Option<Self> {
        let field = |entry: &[u8], place: usize| Order::Big.u32(entry, place * 4);
        let mut entries = index.chunks_exact(ENTRY_BYTES).rev();
        let entry = entries.find(|entry| field(entry, 0) == Some(tag))?;
        Some(Self {
            kind: field(entry, 1)?,
            value: values.get(field(entry, 2)? as usize..).unwrap_or_default(),
        })
    }

    fn number(&self) -> Result<u32, DatabaseError> {
        let number = Order::Big.u32(self.value, 0);
        let number = number.filter(|_| self.kind == TYPE_INT32);
        number.ok_or(DatabaseError::Header {
            what: "has an epoch that is no number",
        })
    }

    /// Returns the text, or the first of several.
    fn text(&self) -> Result<String, DatabaseError> {
        let kinds = [TYPE_STRING, TYPE_STRING_ARRAY, TYPE_I18N_STRING];
        let value = &self.value[..self.value.len().min(TEXT_BYTES_MAX)];
        let end = value.iter().position(|byte| *byte == 0);
        match end {
            Some(end) if kinds.contains(&self.kind) => {
                let text = String::from_utf8_lossy(&value[..end]);
                Ok(match text.trim() {
                    NONE => String::new(),
                    text => text.to_owned(),
                })
            }
            _ => Err(DatabaseError::Header {
                what: "has a field that should be text and is not",
            }),
        }
    }
}

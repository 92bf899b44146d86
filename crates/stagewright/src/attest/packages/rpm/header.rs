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
        let mut header = Self::default();
        for entry in index.chunks_exact(ENTRY_BYTES) {
            let field = |place: usize| Order::Big.u32(entry, place * 4).unwrap_or_default();
            let entry = Entry {
                tag: field(0),
                kind: field(1),
                value: values.get(field(2) as usize..).unwrap_or_default(),
            };
            header.set(&entry)?;
        }
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

    fn set(&mut self, entry: &Entry<'_>) -> Result<(), DatabaseError> {
        let field = match entry.tag {
            1000 => &mut self.name,
            1001 => &mut self.version,
            1002 => &mut self.release,
            1003 => {
                self.epoch = Some(entry.number()?);
                return Ok(());
            }
            1011 => &mut self.vendor,
            1014 => &mut self.license,
            1015 => &mut self.packager,
            1020 => &mut self.url,
            1022 => &mut self.architecture,
            1044 => &mut self.source,
            _ => return Ok(()),
        };
        *field = entry.text()?;
        Ok(())
    }
}

/// One entry of the index that is wanted.
struct Entry<'h> {
    tag: u32,
    kind: u32,
    /// The values from the entry's on.
    value: &'h [u8],
}

impl Entry<'_> {
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
        let end = self.value.iter().position(|byte| *byte == 0);
        match end {
            Some(end) if kinds.contains(&self.kind) => {
                let text = String::from_utf8_lossy(&self.value[..end]);
                Ok(text.trim().to_owned()).map(|text| match text.as_str() {
                    NONE => String::new(),
                    _ => text,
                })
            }
            _ => Err(DatabaseError::Header {
                what: "has a field that should be text and is not",
            }),
        }
    }
}

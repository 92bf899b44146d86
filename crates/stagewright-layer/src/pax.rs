//! The records of PAX extended headers, as read.

use crate::entry::Mtime;

/// The records of one extended header, in their order. Of equal keys the last one counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct PaxRecords(Vec<(Vec<u8>, Vec<u8>)>);

impl PaxRecords {
    /// Reads `length key=value\n` records; nothing when they are malformed. Values are bytes: an
    /// extended attribute may hold newlines.
    pub(crate) fn parse(mut body: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        // Some writers pad the records with NUL bytes.
        while !body.iter().all(|&byte| byte == 0) {
            let space = body.iter().position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(&body[..space]).ok()?.parse().ok()?;
            let record = body.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            body = &body[length..];
        }
        Some(Self(records))
    }

    /// Returns all records, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Returns the value of a key; nothing when it is missing, or empty, which means the same.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = self
            .0
            .iter()
            .rev()
            .find(|(name, _)| name == key.as_bytes())?;
        (!value.is_empty()).then_some(value)
    }

    /// Returns the number of a key: nothing when it is missing, an error when it is no number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, ()> {
        self.get(key).map(decimal).transpose()
    }

    /// Returns the time of a key: nothing when it is missing, an error when it is no time.
    pub(crate) fn time(&self, key: &str) -> Result<Option<Mtime>, ()> {
        self.get(key).map(|value| time(value).ok_or(())).transpose()
    }
}

/// Reads a decimal number.
pub(crate) fn decimal(text: &[u8]) -> Result<u64, ()> {
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(());
    }
    std::str::from_utf8(text)
        .map_err(drop)?
        .parse()
        .map_err(drop)
}

/// Reads `[-]seconds[.fraction]`.
fn time(text: &[u8]) -> Option<Mtime> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Mtime { seconds, nanos },
        (true, 0) => Mtime::seconds(-seconds),
        (true, nanos) => Mtime {
            seconds: -seconds - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_bytes() {
        let body = b"12 path=a/b\n27 SCHILY.xattr.user.x=\n\0=\n5 a=\n";
        let records = PaxRecords::parse(body).unwrap();
        assert_eq!(records.get("path"), Some(&b"a/b"[..]));
        assert_eq!(records.get("SCHILY.xattr.user.x"), Some(&b"\n\0="[..]));
        assert_eq!(records.get("a"), None);
        assert_eq!(records.iter().count(), 3);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"3 a",
            b"6 a=b",
            b"99 a=b\n",
            b"5 ab\n",
            b"0 a=b\n",
            b" a=b\n",
        ] {
            assert!(
                PaxRecords::parse(bad).is_none(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn times() {
        let cases: [(&str, Option<(i64, u32)>); 9] = [
            ("0", Some((0, 0))),
            ("1700000000.123456789", Some((1_700_000_000, 123_456_789))),
            ("1.5", Some((1, 500_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-0.25", Some((-1, 750_000_000))),
            ("", None),
            ("1e3", None),
            ("1.+5", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(seconds, nanos)| Mtime { seconds, nanos });
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }
}

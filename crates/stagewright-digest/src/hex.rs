//! Text forms of 32-byte names: `algorithm:64 lower-case hex digits`.

use std::fmt;

use thiserror::Error;

/// A text is not a digest of the form that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a digest: expected `{algorithm}:` and 64 lower-case hex digits")]
pub struct InvalidDigest {
    /// The text that was parsed.
    pub text: String,
    /// The algorithm that was expected, as it is written before the colon.
    pub algorithm: &'static str,
}

/// Puts 32 bytes into `text` as 64 lower-case hex digits.
pub(crate) fn digits<'a>(bytes: &[u8; 32], text: &'a mut [u8; 64]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).expect("because hex digits are ASCII")
}

/// Writes 32 bytes as 64 lower-case hex digits.
pub(crate) fn write(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(digits(bytes, &mut [0; 64]))
}

/// Parses `algorithm:hex`.
pub(crate) fn parse(text: &str, algorithm: &'static str) -> Result<[u8; 32], InvalidDigest> {
    let invalid = || InvalidDigest {
        text: text.to_owned(),
        algorithm,
    };
    let hex = text
        .strip_prefix(algorithm)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(invalid)?
        .as_bytes();
    if hex.len() != 64 {
        return Err(invalid());
    }
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let high = value(pair[0]).ok_or_else(invalid)?;
        let low = value(pair[1]).ok_or_else(invalid)?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Implements the text and serde forms of a 32-byte name.
macro_rules! name_text {
    ($type:ident, $algorithm:literal) => {
        impl $type {
            /// The algorithm as it is written before the colon.
            pub const ALGORITHM: &'static str = $algorithm;

            /// Wraps 32 bytes that are known to be this name, such as bytes read back from disk.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Appends the 64 hex digits without the algorithm to a text.
            pub fn append_hex(&self, text: &mut String) {
                text.push_str(crate::hex::digits(&self.0, &mut [0; 64]));
            }

            /// Returns the 64 hex digits without the algorithm, for file names.
            pub fn to_hex(&self) -> String {
                let mut text = String::with_capacity(64);
                self.append_hex(&mut text);
                text
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!($algorithm, ":"))?;
                crate::hex::write(&self.0, f)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::hex::InvalidDigest;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                crate::hex::parse(text, $algorithm).map(Self)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use name_text;

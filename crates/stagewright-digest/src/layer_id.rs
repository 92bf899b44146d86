//! Names of layers in the store.

use std::fmt;
use std::str::FromStr;

use crate::{ContentDigest, DiffId, Encoder, InvalidDigest, SnapshotId};

/// The name of one layer in the store.
///
/// A layer that a step made is named by its content (without times), so that a step that runs
/// again and makes the same files finds its old layer. A layer of a base image is named by its
/// diffID, which its image config gives before anything is downloaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerId {
    /// A layer made by a step: the BLAKE3 of its entries.
    Made(ContentDigest),
    /// A layer that came with an image: the SHA-256 of its uncompressed tar.
    Pulled(DiffId),
}

impl LayerId {
    /// Returns the name as a file name: `b3-…` or `sha256-…`.
    pub fn file_name(&self) -> String {
        match self {
            Self::Made(content) => format!("b3-{}", content.to_hex()),
            Self::Pulled(diff_id) => format!("sha256-{}", diff_id.to_hex()),
        }
    }

    /// Parses what [`LayerId::file_name`] wrote.
    ///
    /// # Errors
    /// When the text is neither form.
    pub fn from_file_name(name: &str) -> Result<Self, InvalidDigest> {
        if let Some(hex) = name.strip_prefix("b3-") {
            return format!("blake3:{hex}").parse().map(Self::Made);
        }
        let hex = name.strip_prefix("sha256-").unwrap_or_default();
        format!("sha256:{hex}").parse().map(Self::Pulled)
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(content) => content.fmt(f),
            Self::Pulled(diff_id) => diff_id.fmt(f),
        }
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerId({self})")
    }
}

impl FromStr for LayerId {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("blake3:") {
            return text.parse().map(Self::Made);
        }
        text.parse().map(Self::Pulled)
    }
}

impl serde::Serialize for LayerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for LayerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl SnapshotId {
    /// The empty root file system (`FROM scratch`).
    pub fn scratch() -> Self {
        Self::from_bytes(Encoder::new("snapshot", 1).finish())
    }

    /// Names `parent` with `layer` on top of it.
    pub fn child(parent: &Self, layer: &LayerId) -> Self {
        let mut encoder = Encoder::new("snapshot", 1);
        encoder.bytes("parent", parent.as_bytes());
        match layer {
            LayerId::Made(content) => encoder.bytes("content", content.as_bytes()),
            LayerId::Pulled(diff_id) => encoder.bytes("diff-id", diff_id.as_bytes()),
        };
        Self::from_bytes(encoder.finish())
    }

    /// Names a stack of layers, from the bottom up.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a LayerId>) -> Self {
        layers
            .into_iter()
            .fold(Self::scratch(), |below, layer| Self::child(&below, layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn ids() -> [LayerId; 2] {
        [
            LayerId::Made(ContentDigest::of(b"a")),
            LayerId::Pulled(DiffId::from_bytes(*Digest::of(b"a").as_bytes())),
        ]
    }

    #[test]
    fn text_and_file_name_round_trip() {
        for id in ids() {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(LayerId::from_file_name(&id.file_name()), Ok(id));
        }
        assert!(LayerId::from_file_name("b3-xyz").is_err());
        assert!(LayerId::from_file_name("other").is_err());
    }

    #[test]
    fn snapshot_names_depend_on_every_layer_and_their_order() {
        let [a, b] = ids();
        let names = [
            SnapshotId::scratch(),
            SnapshotId::of([&a]),
            SnapshotId::of([&b]),
            SnapshotId::of([&a, &b]),
            SnapshotId::of([&b, &a]),
        ];
        for (i, one) in names.iter().enumerate() {
            assert!(names[..i].iter().all(|other| other != one));
        }
        assert_eq!(
            SnapshotId::child(&SnapshotId::of([&a]), &b),
            SnapshotId::of([&a, &b])
        );
    }

    /// A change here makes every existing cache miss: bump the encoder's version on purpose only.
    #[test]
    fn snapshot_names_are_pinned() {
        let [a, b] = ids();
        let empty = "644b78a2071cf8f57aa27f1cfd25c1b65608c73140481100bae68b1e44d5ea47";
        assert_eq!(SnapshotId::scratch().to_hex(), empty);
        let two = "2d48e68ff4822facba66880b9febd75b7c91115e5861c5fc53229ca70d1a92c2";
        assert_eq!(SnapshotId::of([&a, &b]).to_hex(), two);
    }
}

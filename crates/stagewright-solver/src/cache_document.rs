//! What an exported cache says: which actions have which results, and which blobs hold their layers.
//!
//! The keys are ours, so that the document is, too; around it everything is an OCI artifact that
//! registries take. On its own it is the config of a manifest whose layers are those of the cache;
//! in an image it is a field of the image's config, and the layers are the image's.

use serde::{Deserialize, Serialize};
use stagewright_digest::{ActionKey, Digest, LayerId};

/// The media type of the document as the config of a manifest.
pub const CACHE_CONFIG_TYPE: &str = "application/vnd.stagewright.cache.config.v1+json";
/// The field of an image's config that holds the document.
pub const INLINE_CACHE_FIELD: &str = "stagewright.cache.v1";
/// The version of the document. Raise it when the meaning of a field changes.
const VERSION: u32 = 1;

/// What an exported cache holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheDocument {
    version: u32,
    /// The results.
    pub results: Vec<CachedResult>,
    /// The layers that are there. Results name others, too: their names alone are enough for steps
    /// that only build on them.
    pub layers: Vec<CachedLayer>,
    /// What cache mounts held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<CachedMount>,
}

/// The result of an action, under all the keys by which it is looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedResult {
    /// The keys.
    pub keys: Vec<ActionKey>,
    /// The layer that it made; none if it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// When it ran, in milliseconds since 1970: the history of images says so.
    pub created_unix_ms: u64,
    /// When it ran by the clock; absent where all builds are to export the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_unix_ms: Option<u64>,
}

/// A layer that comes with the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedLayer {
    /// Its name.
    pub id: LayerId,
    /// How its blob was made: `gzip-6`.
    pub codec: String,
    /// Its blob, one of the manifest's layers.
    pub blob: Digest,
}

/// What a cache mount held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedMount {
    /// The id of the mount in a store.
    pub id: String,
    /// Its files, as a layer.
    pub layer: LayerId,
}

impl CacheDocument {
    /// Makes a document without cache mounts.
    pub fn new(results: Vec<CachedResult>, layers: Vec<CachedLayer>) -> Self {
        Self {
            version: VERSION,
            results,
            layers,
            mounts: Vec::new(),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("it is damaged: {error}"))?;
        if document.version != VERSION {
            return Err(format!(
                "it is of version {}, this program knows version {VERSION}",
                document.version
            ));
        }
        Ok(document)
    }

    /// Returns the bytes of the document.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because nothing in it has keys that are no text")
    }
}

#[cfg(test)]
mod tests {
    use stagewright_digest::ContentDigest;

    use super::*;

    #[test]
    fn a_document_round_trips_and_another_version_is_refused() {
        let id = LayerId::Made(ContentDigest::of(b"layer"));
        let result = CachedResult {
            keys: vec![ActionKey::from_bytes([1; 32])],
            layer: Some(id),
            created_unix_ms: 7,
            made_unix_ms: Some(8),
        };
        let layer = CachedLayer {
            id,
            codec: "gzip-6".to_owned(),
            blob: Digest::of(b"blob"),
        };
        let mut document = CacheDocument::new(vec![result], vec![layer]);
        let bytes = document.encode();
        assert_eq!(CacheDocument::parse(&bytes).as_ref(), Ok(&document));
        document.mounts.push(CachedMount {
            id: "/root/.cache".to_owned(),
            layer: id,
        });
        let bytes = document.encode();
        assert_eq!(CacheDocument::parse(&bytes), Ok(document));
        let text = String::from_utf8(bytes).unwrap();
        let other = text.replace("\"version\":1", "\"version\":2");
        let message = CacheDocument::parse(other.as_bytes()).unwrap_err();
        assert_eq!(message, "it is of version 2, this program knows version 1");
        for damaged in ["", "[]", "{\"version\":1}", &text[..text.len() - 9]] {
            let message = CacheDocument::parse(damaged.as_bytes()).unwrap_err();
            assert!(message.starts_with("it is damaged"), "{message}");
        }
    }
}

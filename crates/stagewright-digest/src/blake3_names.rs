//! BLAKE3 names of work and of files.

use crate::hex::name_text;

/// The name of content: a file's bytes, or a tree of entries in canonical encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest([u8; 32]);
name_text!(ContentDigest, "blake3");

impl ContentDigest {
    /// Hashes bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

/// Hashes content as it streams past.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// Returns the digest of all bytes added so far.
    pub fn finish(&self) -> ContentDigest {
        ContentDigest(self.0.finalize().into())
    }
}

/// The name of an action: a vertex with its inputs resolved to content.
///
/// Two builds that compute the same key may use each other's result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionKey([u8; 32]);
name_text!(ActionKey, "blake3");

/// The name of a root file system's content: a chain of parent and diff.
///
/// A base image starts the chain with its layers' diffIDs, so that it need not be downloaded to be
/// named; a step that changes nothing keeps its parent's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId([u8; 32]);
name_text!(SnapshotId, "blake3");

/// The name of the labelled parts that an action key was made of, as stored for explaining misses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartsDigest([u8; 32]);
name_text!(PartsDigest, "blake3");

/// The name of what the system tells of the files that an action reads: all but what they hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StampsDigest([u8; 32]);
name_text!(StampsDigest, "blake3");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_and_whole_agree() {
        let mut hasher = ContentHasher::new();
        hasher.update(b"hel").update(b"lo");
        assert_eq!(hasher.finish(), ContentDigest::of(b"hello"));
    }

    #[test]
    fn text_form_round_trips_through_serde() {
        let digest = ContentDigest::of(b"x");
        let json = format!("\"{digest}\"");
        assert!(json.starts_with("\"blake3:"));
        assert_eq!(digest.to_hex().len(), 64);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}

//! Small files by name.
//!
//! ```text
//! parts/<2 hex>/<64 hex>       what an action key was made of, by content
//! documents/<kind>/<64 hex>    a small document, checked; its name is hashed
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stagewright_digest::{ActionKey, ContentDigest, PartsDigest, StampsDigest};

use crate::disk;
use crate::error::StoreError;
use crate::files::list;
use crate::store::Store;

/// The kind of the documents that hold the images with local names. They have a `config`, the digest
/// of a blob, `layers`, and may have `blobs`, whatever else they have, and `others` that have the same:
/// these are kept as long as the name is.
pub const TAG_KIND: &str = "tag";
/// The kind of the documents that say what a reference was resolved to. They have a `config`.
pub const RESOLUTION_KIND: &str = "resolution";
/// The kind of the documents that say what is known of the files of a build context.
pub const CONTEXT_KIND: &str = "stat-cache";
/// The kind of documents that say what a place in a Dockerfile last ran with.
pub(crate) const PLACE_KIND: &str = "place";

/// What a place in a Dockerfile last ran with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceRecord {
    /// The key of the action.
    pub key: ActionKey,
    /// What that key was made of.
    pub parts: PartsDigest,
    /// What the system told of the files that the key was made of, if that is enough to know them by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<StampsDigest>,
}

impl Store {
    /// Stores what an action key was made of. It explains, and nothing else needs it: it may be lost when the power is.
    pub fn put_parts(&self, bytes: &[u8]) -> Result<PartsDigest, StoreError> {
        let digest = PartsDigest::from_bytes(*ContentDigest::of(bytes).as_bytes());
        let path = self.parts_path(&digest);
        self.protect(&parts_name(&digest))?;
        // One that is there may be damaged: then it is set aside, and written anew.
        if self.read_checked(&path)?.is_none() {
            self.publish_named_hint(&path, bytes, digest.as_bytes())?;
        } else if let Ok(file) = fs_err::File::open(&path) {
            // A collection that began before leaves what is newer alone.
            disk::touch(&file)?;
        }
        Ok(digest)
    }

    /// Returns what an action key was made of, if that is stored.
    pub fn parts(&self, digest: &PartsDigest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_checked(&self.parts_path(digest))?)
    }

    /// Says whether what an action key was made of is stored. It is not read.
    pub fn has_parts(&self, digest: &PartsDigest) -> bool {
        self.parts_path(digest).exists()
    }

    /// Returns what a place last ran with.
    pub fn place(&self, place: &str) -> Result<Option<PlaceRecord>, StoreError> {
        let bytes = self.document(PLACE_KIND, place)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Remembers what a place ran with, unless the power goes.
    pub fn record_place(&self, place: &str, record: &PlaceRecord) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(std::io::Error::from)?;
        self.remember_document(PLACE_KIND, place, &bytes)
    }

    /// Returns a document. A damaged one is absent.
    pub fn document(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_checked(&self.document_path(kind, name))?)
    }

    /// Stores a document in place of the one of that name. Before an image gets a name, all that it may be made of is settled.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put_document(&self, kind: &str, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if kind == TAG_KIND {
            self.settle()?;
        }
        Ok(self.publish_checked(&self.document_path(kind, name), bytes)?)
    }

    /// Stores a document in place of the one of that name, unless the power goes: it is not waited for the disk.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn remember_document(
        &self,
        kind: &str,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        Ok(self.publish_hint(&self.document_path(kind, name), bytes)?)
    }

    /// Returns all documents of a kind that are whole, in no order.
    pub fn documents(&self, kind: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let directory = self.path().join("documents").join(kind);
        let mut documents = Vec::new();
        for path in list(&directory)? {
            documents.extend(self.read_checked(&path)?);
        }
        Ok(documents)
    }

    /// Removes a document. Says whether it was there.
    pub fn remove_document(&self, kind: &str, name: &str) -> Result<bool, StoreError> {
        Ok(disk::remove_file(&self.document_path(kind, name))?)
    }

    fn document_path(&self, kind: &str, name: &str) -> PathBuf {
        let name = ContentDigest::of(name.as_bytes()).to_hex();
        self.path().join("documents").join(kind).join(name)
    }

    fn parts_path(&self, digest: &PartsDigest) -> PathBuf {
        self.path().join(parts_name(digest))
    }
}

/// Returns how leases name what a key was made of, and where it is in the store.
pub(crate) fn parts_name(digest: &PartsDigest) -> String {
    let hex = digest.to_hex();
    format!("parts/{}/{hex}", &hex[..2])
}

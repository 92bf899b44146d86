//! What images with names need.

use std::collections::HashSet;

use serde::Deserialize;
use stagewright_digest::{Digest, LayerId};

use crate::blob;
use crate::document::{RESOLUTION_KIND, TAG_KIND};
use crate::error::StoreError;
use crate::layer;
use crate::store::Store;

/// What is read of an image with a name.
#[derive(Debug, Deserialize)]
struct Tagged {
    #[serde(flatten)]
    first: TaggedPlatform,
    #[serde(default)]
    others: Vec<TaggedPlatform>,
}

#[derive(Debug, Deserialize)]
struct TaggedPlatform {
    config: Digest,
    layers: Vec<LayerId>,
    #[serde(default)]
    blobs: Vec<Digest>,
}

/// What is read of what a reference was resolved to.
#[derive(Debug, Deserialize)]
struct Resolved {
    config: Digest,
}

/// Paths in the store of what is needed.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// By images with names. Kept whatever is asked for.
    pub(super) tagged: HashSet<String>,
    /// To know what a base image is without its registry. Goes with all base images.
    pub(super) resolved: HashSet<String>,
}

impl Store {
    /// Reads what is needed. A document that makes no sense needs nothing.
    pub(super) fn roots(&self) -> Result<Roots, StoreError> {
        let mut roots = Roots::default();
        for bytes in self.documents(TAG_KIND)? {
            if let Ok(image) = serde_json::from_slice::<Tagged>(&bytes) {
                for image in std::iter::once(image.first).chain(image.others) {
                    let blobs = std::iter::once(&image.config).chain(&image.blobs);
                    roots.tagged.extend(blobs.map(blob::name_of));
                    roots.tagged.extend(image.layers.iter().map(layer::name_of));
                }
            }
        }
        for bytes in self.documents(RESOLUTION_KIND)? {
            if let Ok(image) = serde_json::from_slice::<Resolved>(&bytes) {
                roots.resolved.insert(blob::name_of(&image.config));
            }
        }
        Ok(roots)
    }
}

//! Images with names in the store.

use std::collections::BTreeSet;

use stagewright_oci::{Platform, Reference};
use stagewright_solver::TaggedImage;
use stagewright_store::TAG_KIND;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::{Image, parse_name};

/// A name in the store and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntry {
    /// The name in full.
    pub name: String,
    /// The image's id: the digest of its config.
    pub id: String,
    /// When it was given the name, in milliseconds since 1970.
    pub tagged_unix_ms: u64,
    /// The bytes of the files of its layers that are stored.
    pub bytes: u64,
}

impl Builder {
    /// Finds an image by its name in the store: of several platforms that of this host, else the first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of that name.
    pub fn image(&self, name: &str) -> Result<Image, Error> {
        let mut images = self.image_platforms(name)?;
        let host = Platform::host();
        let place = images
            .iter()
            .position(|image| host.matches(&image.config().platform()));
        Ok(images.swap_remove(place.unwrap_or(0)))
    }

    /// Finds the images of a name in the store, one a platform; at least one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of that name.
    pub fn image_platforms(&self, name: &str) -> Result<Vec<Image>, Error> {
        let images = Image::find_all(self, name)?;
        if !images.is_empty() {
            return Ok(images);
        }
        let message = format!("there is no image {name:?} in the store");
        Err(Error {
            help: Some("build one with -t, or list them with `stagewright images`".to_owned()),
            ..Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Lists the names in the store, sorted.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when the store cannot be read.
    pub fn images(&self) -> Result<Vec<NamedEntry>, Error> {
        let store = &self.inner().store;
        let mut entries = Vec::new();
        for bytes in store.documents(TAG_KIND)? {
            let Ok(tagged) = serde_json::from_slice::<TaggedImage>(&bytes) else {
                continue;
            };
            let mut bytes = 0;
            // A layer that platforms share is there once.
            let layers = tagged.platforms().flat_map(|platform| &platform.layers);
            for layer in layers.collect::<BTreeSet<_>>() {
                bytes += store
                    .layer(layer)?
                    .map_or(0, |layer| layer.record.content_bytes);
            }
            entries.push(NamedEntry {
                name: tagged.name,
                id: tagged.first.config.to_string(),
                tagged_unix_ms: tagged.tagged_unix_ms,
                bytes,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Removes a name from the store. The image's layers stay until they are pruned.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of that name.
    pub fn remove_image(&self, name: &str) -> Result<(), Error> {
        let reference: Reference = parse_name(name)?;
        if self
            .inner()
            .store
            .remove_document(TAG_KIND, &reference.to_string())?
        {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no image {name:?} in the store"),
        ))
    }
}

//! Names of images in the store.

use stagewright_oci::Reference;
use stagewright_solver::TaggedImage;
use stagewright_store::TAG_KIND;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::{Image, parse_name};

impl Builder {
    /// Gives an image of the store another name beside those that it has. An image that had the
    /// name loses it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no image of the first name.
    pub fn tag_image(&self, name: &str, new_name: &str) -> Result<(), Error> {
        self.image(name)?.put_name(&parse_name(new_name)?)
    }
}

impl Image {
    /// Gives the image a name in the store. An image that had the name loses it.
    pub(crate) fn put_name(&self, name: &Reference) -> Result<(), Error> {
        let tagged = TaggedImage {
            name: name.to_string(),
            config: *self.id(),
            layers: self.layer_ids().to_vec(),
            // Not the build's time: that may be one that all builds share.
            tagged_unix_ms: unix_ms_now(),
            details: self.details(),
        };
        let bytes = serde_json::to_vec(&tagged)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        Ok(self.store().put_document(TAG_KIND, &tagged.name, &bytes)?)
    }
}

pub(crate) fn unix_ms_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
}

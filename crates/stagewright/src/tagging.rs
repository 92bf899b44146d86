//! Giving a stored image another name.

use stagewright_solver::TaggedImage;
use stagewright_store::TAG_KIND;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::parse_name;

impl Builder {
    /// Gives an image of the store another name beside those that it has. An image that had the
    /// name loses it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no image of the first name.
    pub fn tag_image(&self, name: &str, new_name: &str) -> Result<(), Error> {
        let image = self.image(name)?;
        let new_name = parse_name(new_name)?.to_string();
        let tagged = TaggedImage {
            name: new_name.clone(),
            config: *image.id(),
            layers: image.layer_ids().to_vec(),
            tagged_unix_ms: unix_ms_now(),
            details: image.details(),
        };
        let bytes = serde_json::to_vec(&tagged)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        Ok(image.store().put_document(TAG_KIND, &new_name, &bytes)?)
    }
}

pub(crate) fn unix_ms_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
}

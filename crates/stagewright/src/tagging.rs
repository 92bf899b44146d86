//! Names of images in the store.

use stagewright_oci::Reference;
use stagewright_solver::TaggedImage;
use stagewright_store::TAG_KIND;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::{Image, parse_name};

impl Builder {
    /// Gives an image of the store another name beside those that it has, with all its platforms. An
    /// image that had the name loses it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no image of the first name.
    pub fn tag_image(&self, name: &str, new_name: &str) -> Result<(), Error> {
        let images = self.image_platforms(name)?;
        put_name(&images.iter().collect::<Vec<_>>(), &parse_name(new_name)?)
    }

    /// Gives the images of several platforms a name, as one image. An image that had the name loses it.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when the name is none, or two images are of one platform.
    pub fn name_images(&self, images: &[&Image], name: &str) -> Result<(), Error> {
        put_name(images, &parse_name(name)?)
    }
}

/// Gives images, one a platform, a name in the store.
pub(crate) fn put_name(images: &[&Image], name: &Reference) -> Result<(), Error> {
    let mut platforms = images.iter().map(|image| image.tagged());
    let (Some(first), Some(image)) = (platforms.next(), images.first()) else {
        return Err(Error::new(ErrorKind::Request, "there is no image to name"));
    };
    for (place, image) in images.iter().enumerate() {
        let platform = image.config().platform();
        if images[..place]
            .iter()
            .any(|other| other.config().platform() == platform)
        {
            let message = format!("two images of {platform} cannot have the name {name}");
            return Err(Error::new(ErrorKind::Request, message));
        }
    }
    let tagged = TaggedImage {
        name: name.to_string(),
        // Not the build's time: that may be one that all builds share.
        tagged_unix_ms: unix_ms_now(),
        first,
        others: platforms.collect(),
    };
    let bytes = serde_json::to_vec(&tagged)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
    Ok(image.store().put_document(TAG_KIND, &tagged.name, &bytes)?)
}

pub(crate) fn unix_ms_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
}

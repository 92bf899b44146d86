//! Images.

use stagewright::{Image, json};

use crate::owned::Owned;
use crate::thrown::Thrown;
use crate::transfer::{NativeTransfer, Outcome};

/// An image of the store.
pub(crate) struct NativeImage(Owned<Image>);

impl NativeImage {
    pub(crate) fn new(image: Image) -> Self {
        Self(Owned::new(image))
    }

    pub(crate) fn describe(&self) -> Result<String, Thrown> {
        Ok(json::image(self.0.get()?).to_string())
    }

    pub(crate) fn sizes(&self) -> Result<String, Thrown> {
        Ok(json::image_sizes(&self.0.get()?.sizes()?).to_string())
    }

    pub(crate) fn get(&self) -> Result<&Image, Thrown> {
        self.0.get()
    }

    /// Starts to export the cache of its build; the manifest's digest comes of it.
    pub(crate) fn export_cache(&self, to: &str) -> Result<Box<NativeTransfer>, Thrown> {
        let image = self.0.get()?.clone();
        let to = to.parse()?;
        Ok(NativeTransfer::start(move |tell| {
            let exported = image.export_cache(&to, tell)?;
            Ok(Outcome::of_digest(exported.manifest))
        }))
    }
}

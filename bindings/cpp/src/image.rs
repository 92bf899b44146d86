//! Images.

use std::sync::Arc;

use stagewright::{Image, json};

use crate::owned::Owned;
use crate::thrown::Thrown;

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

    /// Returns the manifest's digest.
    pub(crate) fn export_cache(&self, to: &str) -> Result<String, Thrown> {
        let image = self.0.get()?;
        let exported = image.export_cache(&to.parse()?, Arc::new(|_| {}))?;
        Ok(exported
            .manifest
            .map_or_else(String::new, |it| it.to_string()))
    }
}

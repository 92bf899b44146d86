//! Images of several platforms, which leave the store as one.

use stagewright::{Exported, Image, json};

use crate::image::NativeImage;
use crate::thrown::Thrown;
use crate::transfer::{NativeTransfer, Outcome};

/// Images, each of another platform.
pub(crate) struct NativeImages(Vec<Image>);

/// Makes an empty list.
pub(crate) fn new_images() -> Box<NativeImages> {
    Box::new(NativeImages(Vec::new()))
}

impl NativeImages {
    pub(crate) fn add(&mut self, image: &NativeImage) -> Result<(), Thrown> {
        self.0.push(image.get()?.clone());
        Ok(())
    }

    /// Returns the manifest's digest, or nothing when the form has none.
    pub(crate) fn export_to(&self, options: &str) -> Result<String, Thrown> {
        let export = json::parse_export(options)?;
        Ok(digest(&stagewright::export_images(&self.all(), &export)?))
    }

    /// Starts to push; the manifest's digest comes of it.
    pub(crate) fn push(&self, options: &str) -> Result<Box<NativeTransfer>, Thrown> {
        let (export, push) = json::parse_push(options)?;
        let images = self.0.clone();
        Ok(NativeTransfer::start(move |tell| {
            let images: Vec<&Image> = images.iter().collect();
            let pushed = stagewright::push_images(&images, &export, &push, tell)?;
            Ok(Outcome::of_digest(pushed.manifest))
        }))
    }

    fn all(&self) -> Vec<&Image> {
        self.0.iter().collect()
    }
}

fn digest(exported: &Exported) -> String {
    let digest = exported.manifest.as_ref();
    digest.map_or_else(String::new, ToString::to_string)
}

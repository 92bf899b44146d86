//! Loading archives into the store.

use std::path::Path;

use stagewright_oci::open_image;

use super::copy::CopyOptions;
use super::destination::is_full;
use super::place::ImagePlace;
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::push::PushEvents;

impl Builder {
    /// Loads the images of an archive or layout into the store, each under its names, and returns these.
    /// Blocks. It may be what `docker save` wrote, or an OCI image layout in a tar or a directory.
    ///
    /// # Errors
    /// [`ErrorKind::Image`] when it is none, or an image has no name; otherwise as [`Builder::copy_image`].
    pub fn load_images(
        &self,
        path: &Path,
        options: &CopyOptions,
        events: PushEvents,
    ) -> Result<Vec<String>, Error> {
        let source = open_image(path)
            .map_err(|error| Error::new(ErrorKind::Image, failure::chain(&error)))?;
        let mut names = Vec::new();
        // A tag alone, as layouts may have it, names nothing here.
        let full = source.names().into_iter().filter(|name| is_full(name));
        for name in full {
            let from = ImagePlace::OciArchive {
                path: path.to_owned(),
                name: Some(name.clone()),
            };
            let to = ImagePlace::Store(name.clone());
            self.copy_image(&from, &to, options, events.clone())?;
            names.push(name);
        }
        if names.is_empty() {
            let path = path.display();
            return Err(Error {
                help: Some(format!(
                    "give it one: stagewright copy oci-archive:{path} NAME"
                )),
                ..Error::new(ErrorKind::Image, format!("no image in {path} has a name"))
            });
        }
        Ok(names)
    }
}

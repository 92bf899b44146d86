//! Opening an image on disk whatever its form.

use std::path::Path;

use fs_err as fs;

use crate::archive::Archive;
use crate::archive_write::DOCKER_MANIFEST_NAME;
use crate::docker_archive::DockerArchive;
use crate::image::{ImageError, ImageSource};
use crate::layout::{ImageLayout, MARKER_NAME};
use crate::layout_archive::LayoutArchive;

/// Opens an image layout in a folder or in a tar, or a Docker archive.
///
/// An archive that is both, as those of current Docker are, is read as a layout: it has the
/// manifests that the image really has.
pub fn open_image(path: &Path) -> Result<Box<dyn ImageSource>, ImageError> {
    if fs::File::open(path)?.metadata()?.is_dir() {
        return Ok(Box::new(ImageLayout::open(path)?));
    }
    let archive = Archive::open(path, "an image archive")?;
    if archive.contains(MARKER_NAME) {
        return Ok(Box::new(LayoutArchive::from_archive(archive)?));
    }
    if archive.contains(DOCKER_MANIFEST_NAME) {
        return Ok(Box::new(DockerArchive::from_archive(archive)?));
    }
    Err(ImageError::Form {
        path: path.to_owned(),
        expected: "an image archive",
        reason: format!("it has neither {MARKER_NAME} nor {DOCKER_MANIFEST_NAME}"),
    })
}

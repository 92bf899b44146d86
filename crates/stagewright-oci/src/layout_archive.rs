//! Image layouts in a tar.

use std::io::Read;
use std::path::Path;

use crate::archive::Archive;
use crate::config::CONFIG_BYTES_MAX;
use crate::descriptor::Descriptor;
use crate::image::{
    ImageError, ImageSelector, ImageSource, ImageSummary, VerifiedReader, find_manifest, read_blob,
    resolve_document,
};
use crate::layout::{
    INDEX_NAME, MARKER_NAME, blob_name, check_marker, entry_names, parse_index, select_entry,
};
use crate::manifest::{Index, MANIFEST_BYTES_MAX, Manifest};
use crate::platform::Platform;

/// The tar form of an image layout, read in place.
#[derive(Debug)]
pub struct LayoutArchive {
    archive: Archive,
    index: Index,
}

impl LayoutArchive {
    /// Opens the tar and reads its headers and its index.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::from_archive(Archive::open(path, "an OCI image layout")?)
    }

    pub(crate) fn from_archive(archive: Archive) -> Result<Self, ImageError> {
        let path = archive.path();
        let missing = |name: &str| ImageError::Form {
            path: path.to_owned(),
            expected: "an OCI image layout",
            reason: format!("it has no file {name}"),
        };
        let marker = archive.read_small(MARKER_NAME, MANIFEST_BYTES_MAX)?;
        check_marker(path, &marker.ok_or_else(|| missing(MARKER_NAME))?)?;
        let index = archive.read_small(INDEX_NAME, MANIFEST_BYTES_MAX)?;
        let index = parse_index(path, &index.ok_or_else(|| missing(INDEX_NAME))?)?;
        Ok(Self { archive, index })
    }

    /// Returns the index with all its entries.
    pub fn index(&self) -> &Index {
        &self.index
    }
}

impl LayoutArchive {
    fn select(&self, selector: &ImageSelector) -> Result<Descriptor, ImageError> {
        let size = |digest: &_| self.archive.size(&blob_name(digest));
        select_entry(self.archive.path(), &self.index, selector, size)
    }
}

impl ImageSource for LayoutArchive {
    fn resolve(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<ImageSummary, ImageError> {
        resolve_document(self, &self.select(selector)?, platform)
    }

    fn root(&self, selector: &ImageSelector) -> Result<Option<Descriptor>, ImageError> {
        self.select(selector).map(Some)
    }

    fn manifest(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<(Manifest, Vec<u8>), ImageError> {
        let (_, manifest) = find_manifest(self, &self.select(selector)?, platform)?;
        let config = read_blob(self, &manifest.config, CONFIG_BYTES_MAX)?;
        Ok((manifest, config))
    }

    fn names(&self) -> Vec<String> {
        entry_names(&self.index)
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        match self.archive.read(&blob_name(&descriptor.digest))? {
            Some(reader) => Ok(Box::new(VerifiedReader::new(reader, descriptor))),
            None => Err(ImageError::MissingBlob {
                path: self.archive.path().to_owned(),
                digest: descriptor.digest,
            }),
        }
    }
}

//! Image layouts in a tar.

use std::io::Read;
use std::path::Path;

use stagewright_digest::Digest;

use crate::archive::Archive;
use crate::image::ImageError;
use crate::layout::{INDEX_NAME, LayoutFiles, MARKER_NAME, blob_name, check_marker, parse_index};
use crate::manifest::{Index, MANIFEST_BYTES_MAX};

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

impl LayoutFiles for LayoutArchive {
    fn path(&self) -> &Path {
        self.archive.path()
    }

    fn index(&self) -> &Index {
        &self.index
    }

    fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.archive.size(&blob_name(digest))
    }

    fn open_file(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, ImageError> {
        let reader = self.archive.read(&blob_name(digest))?;
        Ok(reader.map(|reader| Box::new(reader) as Box<dyn Read + Send>))
    }
}

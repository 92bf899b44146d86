//! Image layouts in a folder (image specification, "Image Layout").

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use stagewright_digest::Digest;

use crate::config::CONFIG_BYTES_MAX;
use crate::descriptor::Descriptor;
use crate::image::{
    ImageError, ImageSelector, ImageSource, ImageSummary, VerifiedReader, find_manifest, read_blob,
    resolve_document,
};
use crate::manifest::{Document, Index, MANIFEST_BYTES_MAX, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;

/// The file that marks a layout, and its only content.
pub(crate) const MARKER_NAME: &str = "oci-layout";
/// What the marker says.
pub(crate) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The index of a layout.
pub(crate) const INDEX_NAME: &str = "index.json";
/// The annotation that carries the tag of an entry.
pub const REF_NAME_KEY: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and BuildKit keep the full name of an entry.
pub const IMAGE_NAME_KEY: &str = "io.containerd.image.name";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// An image layout in a folder.
///
/// ```text
/// folder/
///   oci-layout               {"imageLayoutVersion":"1.0.0"}
///   index.json               an index whose entries carry names as annotations
///   blobs/sha256/<64 hex>    every blob
/// ```
#[derive(Debug, Clone)]
pub struct ImageLayout {
    path: PathBuf,
    index: Index,
}

impl ImageLayout {
    /// Opens a layout and reads its index.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let path = path.into();
        let marker = match fs::read(path.join(MARKER_NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(wrong_form(&path, format!("it has no file {MARKER_NAME}")));
            }
            Err(error) => return Err(error.into()),
        };
        check_marker(&path, &marker)?;
        let file = fs::File::open(path.join(INDEX_NAME))?;
        let mut bytes = Vec::new();
        file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        let index = parse_index(&path, &bytes)?;
        Ok(Self { path, index })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the index with all its entries.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the path at which a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }
}

impl LayoutFiles for ImageLayout {
    fn path(&self) -> &Path {
        &self.path
    }

    fn index(&self) -> &Index {
        &self.index
    }

    fn blob_size(&self, digest: &Digest) -> Option<u64> {
        Some(fs::metadata(self.blob_path(digest)).ok()?.len())
    }

    fn open_file(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, ImageError> {
        match fs::File::open(self.blob_path(digest)) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The files of a layout, wherever they are.
pub(crate) trait LayoutFiles: Send + Sync {
    /// The folder or the tar.
    fn path(&self) -> &Path;

    /// The index with all its entries.
    fn index(&self) -> &Index;

    /// The bytes of a blob, if it is there.
    fn blob_size(&self, digest: &Digest) -> Option<u64>;

    /// Opens a blob, if it is there. Its bytes are not checked yet.
    fn open_file(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, ImageError>;
}

fn select(files: &impl LayoutFiles, selector: &ImageSelector) -> Result<Descriptor, ImageError> {
    let size = |digest: &Digest| files.blob_size(digest);
    select_entry(files.path(), files.index(), selector, size)
}

/// A layout answers alike in every form.
impl<L: LayoutFiles> ImageSource for L {
    fn resolve(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<ImageSummary, ImageError> {
        resolve_document(self, &select(self, selector)?, platform)
    }

    fn root(&self, selector: &ImageSelector) -> Result<Option<Descriptor>, ImageError> {
        select(self, selector).map(Some)
    }

    fn manifest(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<(Manifest, Vec<u8>), ImageError> {
        let (_, manifest) = find_manifest(self, &select(self, selector)?, platform)?;
        let config = read_blob(self, &manifest.config, CONFIG_BYTES_MAX)?;
        Ok((manifest, config))
    }

    fn names(&self) -> Vec<String> {
        entry_names(self.index())
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        match self.open_file(&descriptor.digest)? {
            Some(file) => Ok(Box::new(VerifiedReader::new(file, descriptor))),
            None => Err(ImageError::MissingBlob {
                path: self.path().to_owned(),
                digest: descriptor.digest,
            }),
        }
    }
}

/// Returns the path of a blob inside a layout, with `/` on every system, as tar wants it.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", Digest::ALGORITHM, digest.to_hex())
}

fn wrong_form(path: &Path, reason: String) -> ImageError {
    ImageError::Form {
        path: path.to_owned(),
        expected: "an OCI image layout",
        reason,
    }
}

/// Checks the file `oci-layout`.
pub(crate) fn check_marker(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let marker: Marker = serde_json::from_slice(bytes)
        .map_err(|error| wrong_form(path, format!("its {MARKER_NAME} is not valid: {error}")))?;
    if marker.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(wrong_form(
        path,
        format!(
            "its version is {:?}, and only 1.x is known",
            marker.image_layout_version
        ),
    ))
}

/// Parses the file `index.json`.
pub(crate) fn parse_index(path: &Path, bytes: &[u8]) -> Result<Index, ImageError> {
    match Document::parse(bytes, None)? {
        Document::Index(index) => Ok(*index),
        Document::Manifest(_) => Err(wrong_form(
            path,
            format!("its {INDEX_NAME} is a manifest and no index"),
        )),
    }
}

/// Finds the entry of an index that a selector means.
///
/// `blob_size` answers for digests that no entry names: a layout also holds what is listed in
/// indexes below.
fn select_entry(
    path: &Path,
    index: &Index,
    selector: &ImageSelector,
    blob_size: impl Fn(&Digest) -> Option<u64>,
) -> Result<Descriptor, ImageError> {
    match selector {
        ImageSelector::Digest(digest) => index
            .manifests
            .iter()
            .find(|entry| entry.digest == *digest)
            .cloned()
            .or_else(|| {
                // The document itself says what it is.
                Some(Descriptor::new(
                    "application/json",
                    *digest,
                    blob_size(digest)?,
                ))
            })
            .ok_or_else(|| no_such_image(path, index, digest.to_string())),
        ImageSelector::Name(name) => index
            .manifests
            .iter()
            .find(|entry| has_name(entry, name))
            .cloned()
            .ok_or_else(|| no_such_image(path, index, name.clone())),
        ImageSelector::Sole => sole_entry(path, index),
    }
}

fn sole_entry(path: &Path, index: &Index) -> Result<Descriptor, ImageError> {
    let mut digests: BTreeMap<Digest, &Descriptor> = BTreeMap::new();
    for entry in &index.manifests {
        digests.entry(entry.digest).or_insert(entry);
    }
    let mut entries = digests.into_values();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry.clone()),
        (None, _) => Err(no_such_image(path, index, "of any name".to_owned())),
        (Some(_), Some(_)) => Err(ImageError::SeveralImages {
            path: path.to_owned(),
            available: names(index),
        }),
    }
}

/// Tells whether an entry goes by a name: as it is written, by its tag, or by its full form.
fn has_name(entry: &Descriptor, wanted: &str) -> bool {
    let annotation = |key| entry.annotations.get(key).map(String::as_str);
    let (ref_name, image_name) = (annotation(REF_NAME_KEY), annotation(IMAGE_NAME_KEY));
    if ref_name == Some(wanted) || image_name == Some(wanted) {
        return true;
    }
    let Ok(wanted) = wanted.parse::<Reference>() else {
        return false;
    };
    [ref_name, image_name]
        .into_iter()
        .flatten()
        // A bare tag such as `latest` would parse as a repository.
        .filter(|name| name.contains(['/', ':']))
        .any(|name| name.parse::<Reference>().is_ok_and(|name| name == wanted))
}

fn no_such_image(path: &Path, index: &Index, wanted: String) -> ImageError {
    ImageError::NoSuchImage {
        path: path.to_owned(),
        wanted,
        available: names(index),
    }
}

/// Returns the names of the entries of an index.
fn entry_names(index: &Index) -> Vec<String> {
    let name = |entry: &Descriptor| {
        let full = entry.annotations.get(IMAGE_NAME_KEY);
        full.or_else(|| entry.annotations.get(REF_NAME_KEY))
            .cloned()
    };
    index.manifests.iter().filter_map(name).collect()
}

fn names(index: &Index) -> String {
    let names: Vec<_> = index
        .manifests
        .iter()
        .map(|entry| {
            let name = entry.annotations.get(IMAGE_NAME_KEY);
            name.or_else(|| entry.annotations.get(REF_NAME_KEY))
                .cloned()
                .unwrap_or_else(|| entry.digest.to_string())
        })
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

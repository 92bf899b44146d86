//! Docker archives: what `docker save` writes, old and new.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use stagewright_digest::{Digest, DigestWriter};

use crate::archive::Archive;
use crate::archive_write::{DOCKER_MANIFEST_NAME, DockerEntry};
use crate::config::{CONFIG_BYTES_MAX, ImageConfig};
use crate::descriptor::Descriptor;
use crate::image::{
    ImageError, ImageSelector, ImageSource, ImageSummary, VerifiedReader, summarize,
};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::media_type::{self, LayerEncoding};
use crate::platform::Platform;
use crate::reference::Reference;

/// A Docker archive, read in place.
///
/// ```text
/// manifest.json        [{"Config": path, "RepoTags": […], "Layers": [path, …]}]
/// <hex>.json           a config; in new archives blobs/sha256/<hex>
/// <id>/layer.tar       a layer, or a link to one; in new archives blobs/sha256/<hex>
/// ```
///
/// It has no manifest of an image, so that one is made of it, always the same.
#[derive(Debug)]
pub struct DockerArchive {
    archive: Archive,
    entries: Vec<DockerEntry>,
    /// The files of the blobs that a `resolve` has described. Held for a look-up only.
    files: Mutex<HashMap<Digest, String>>,
}

impl DockerArchive {
    /// Opens the tar and reads its headers and its `manifest.json`.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::from_archive(Archive::open(path, "a Docker archive")?)
    }

    pub(crate) fn from_archive(archive: Archive) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Form {
            path: archive.path().to_owned(),
            expected: "a Docker archive",
            reason,
        };
        let bytes = archive
            .read_small(DOCKER_MANIFEST_NAME, MANIFEST_BYTES_MAX)?
            .ok_or_else(|| wrong(format!("it has no file {DOCKER_MANIFEST_NAME}")))?;
        let entries = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("its {DOCKER_MANIFEST_NAME} is not valid: {error}")))?;
        Ok(Self {
            archive,
            entries,
            files: Mutex::default(),
        })
    }

    /// Returns the names of the images.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .flat_map(|entry| entry.repo_tags.iter().map(String::as_str))
    }

    fn select(&self, selector: &ImageSelector) -> Result<&DockerEntry, ImageError> {
        let available = || {
            let names: Vec<_> = self.names().collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let path = || self.archive.path().to_owned();
        let (found, wanted) = match selector {
            ImageSelector::Sole => match self.entries.as_slice() {
                [entry] => (Some(entry), String::new()),
                [] => (None, "of any name".to_owned()),
                _ => {
                    return Err(ImageError::SeveralImages {
                        path: path(),
                        available: available(),
                    });
                }
            },
            ImageSelector::Name(name) => (self.by_name(name), name.clone()),
            ImageSelector::Digest(digest) => (
                self.entries
                    .iter()
                    .find(|entry| entry.config.contains(&digest.to_hex())),
                digest.to_string(),
            ),
        };
        found.ok_or_else(|| ImageError::NoSuchImage {
            path: path(),
            wanted,
            available: available(),
        })
    }

    fn by_name(&self, wanted: &str) -> Option<&DockerEntry> {
        let reference = wanted.parse::<Reference>().ok();
        self.entries.iter().find(|entry| {
            entry
                .repo_tags
                .iter()
                .any(|tag| tag == wanted || (reference.is_some() && tag.parse().ok() == reference))
        })
    }

    /// Describes a layer. The length of an uncompressed one is known and its digest is its diffID;
    /// a compressed one has to be read through.
    fn describe_layer(&self, name: &str, diff_id: [u8; 32]) -> Result<Descriptor, ImageError> {
        let open = || {
            let found = self.archive.read(name)?;
            found.ok_or_else(|| self.missing(name))
        };
        let mut magic = Vec::new();
        open()?.take(8).read_to_end(&mut magic)?;
        let encoding = LayerEncoding::of_magic(&magic);
        if encoding == LayerEncoding::Uncompressed {
            let size = self.archive.size(name).ok_or_else(|| self.missing(name))?;
            let digest = Digest::from_bytes(diff_id);
            return Ok(Descriptor::new(media_type::DOCKER_LAYER, digest, size));
        }
        let mut writer = DigestWriter::new(io::sink());
        io::copy(&mut open()?, &mut writer)?;
        let (_, digest, size) = writer.finish();
        Ok(Descriptor::new(encoding.docker_media_type(), digest, size))
    }

    fn missing(&self, name: &str) -> ImageError {
        ImageError::Form {
            path: self.archive.path().to_owned(),
            expected: "a whole Docker archive",
            reason: format!("it lacks the file {name:?}, which its {DOCKER_MANIFEST_NAME} names"),
        }
    }
}

impl ImageSource for DockerArchive {
    fn resolve(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<ImageSummary, ImageError> {
        let (manifest, config) = self.manifest(selector, platform)?;
        let (_, described) = manifest.encode();
        summarize(described.digest, described.digest, &manifest, &config)
    }

    fn root(&self, _: &ImageSelector) -> Result<Option<Descriptor>, ImageError> {
        Ok(None)
    }

    fn names(&self) -> Vec<String> {
        DockerArchive::names(self).map(str::to_owned).collect()
    }

    fn manifest(
        &self,
        selector: &ImageSelector,
        _platform: &Platform,
    ) -> Result<(Manifest, Vec<u8>), ImageError> {
        let entry = self.select(selector)?;
        let config_bytes = self
            .archive
            .read_small(&entry.config, CONFIG_BYTES_MAX)?
            .ok_or_else(|| self.missing(&entry.config))?;
        let config = Descriptor::of(media_type::DOCKER_CONFIG, &config_bytes);
        let damaged = |reason: String| ImageError::Damaged {
            manifest: config.digest,
            reason,
        };
        let parsed = ImageConfig::parse(&config_bytes)
            .map_err(|error| damaged(format!("its config is not valid: {error}")))?;
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != entry.layers.len() {
            return Err(damaged(format!(
                "{DOCKER_MANIFEST_NAME} has {} layers and the config {}",
                entry.layers.len(),
                diff_ids.len()
            )));
        }
        let mut layers = Vec::new();
        let mut files = HashMap::from([(config.digest, entry.config.clone())]);
        for (name, diff_id) in entry.layers.iter().zip(diff_ids) {
            let layer = self.describe_layer(name, *diff_id.as_bytes())?;
            files.insert(layer.digest, name.clone());
            layers.push(layer);
        }
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(files);
        Ok((Manifest::docker(config, layers), config_bytes))
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let name = files.get(&descriptor.digest).cloned();
        drop(files);
        let missing = || ImageError::MissingBlob {
            path: self.archive.path().to_owned(),
            digest: descriptor.digest,
        };
        let reader = self
            .archive
            .read(&name.ok_or_else(missing)?)?
            .ok_or_else(missing)?;
        Ok(Box::new(VerifiedReader::new(reader, descriptor)))
    }
}

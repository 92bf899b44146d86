//! What every place that holds images can tell and give.

use std::io::{self, Read};
use std::path::PathBuf;

use stagewright_digest::{DiffId, Digest, DigestWriter};
use thiserror::Error;

use crate::config::{CONFIG_BYTES_MAX, ImageConfig};
use crate::descriptor::Descriptor;
use crate::manifest::{Document, InvalidDocument, MANIFEST_BYTES_MAX, Manifest};
use crate::media_type::LayerEncoding;
use crate::platform::Platform;

/// Indexes inside indexes are followed this deep; more is a trap.
const INDEX_DEPTH_MAX: u32 = 4;

/// One image of one platform, wherever it is: everything that a build needs before it needs bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSummary {
    /// The digest of what the name resolved to: the index, if there is one, else the manifest.
    /// This is the digest that pins the reference for all platforms.
    pub resolved_digest: Digest,
    /// The digest of the manifest of this platform.
    pub manifest_digest: Digest,
    /// The digest of the config: Docker's image id.
    pub config_digest: Digest,
    /// The config.
    pub config: ImageConfig,
    /// The layers from the bottom up.
    pub layers: Vec<LayerBlob>,
}

/// A layer as it is stored, and what it is when it is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The blob as it is stored, compressed or not.
    pub descriptor: Descriptor,
    /// How the blob is compressed.
    pub encoding: LayerEncoding,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
}

/// Which of several images is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSelector {
    /// The only one that there is.
    Sole,
    /// The one that has this name or tag.
    Name(String),
    /// The one whose index, manifest or config has this digest.
    Digest(Digest),
}

/// A place on disk that holds images: an image layout, its tar form, or a Docker archive.
pub trait ImageSource: Send + Sync {
    /// Finds an image, and reads its manifest and config but no layer.
    fn resolve(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<ImageSummary, ImageError>;

    /// Returns the manifest or index of an image; nothing where images have none, in Docker's archive.
    fn root(&self, selector: &ImageSelector) -> Result<Option<Descriptor>, ImageError>;

    /// Finds the manifest of an image, or makes one where there is none, and reads its config.
    fn manifest(
        &self,
        selector: &ImageSelector,
        platform: &Platform,
    ) -> Result<(Manifest, Vec<u8>), ImageError>;

    /// Returns the names that images have here, as they are written.
    fn names(&self) -> Vec<String>;

    /// Opens a blob. The reader fails at its end if the bytes are not those that the descriptor
    /// names.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError>;
}

/// An image on disk cannot be read.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The files cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The place is not of the form that was expected.
    #[error("{path} is not {expected}: {reason}", path = path.display())]
    Form {
        /// The folder or file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What speaks against it.
        reason: String,
    },
    /// No image has the name.
    #[error("{path} has no image {wanted:?}; it has {available}", path = path.display())]
    NoSuchImage {
        /// The folder or file.
        path: PathBuf,
        /// The name, tag or digest that was asked for.
        wanted: String,
        /// The names that there are.
        available: String,
    },
    /// Several images, and none was named.
    #[error("{path} has several images, name one of them: {available}", path = path.display())]
    SeveralImages {
        /// The folder or file.
        path: PathBuf,
        /// The names that there are.
        available: String,
    },
    /// The image is not there for the platform.
    #[error("there is no image for {wanted}, only for {available}")]
    NoPlatform {
        /// The platform that was asked for.
        wanted: Box<Platform>,
        /// The platforms that there are.
        available: String,
    },
    /// A blob is named and not there.
    #[error("{path} lacks the blob {digest}, which its manifest names", path = path.display())]
    MissingBlob {
        /// The folder or file.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// A manifest or index is wrong.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// The image is wrong in itself.
    #[error("the image {manifest} is damaged: {reason}")]
    Damaged {
        /// The manifest.
        manifest: Digest,
        /// What is wrong.
        reason: String,
    },
}

impl ImageError {
    /// Says that an image is there for other platforms only.
    pub fn no_platform(wanted: &Platform, available: &[Platform]) -> Self {
        let names: Vec<_> = available.iter().map(Platform::to_string).collect();
        Self::NoPlatform {
            wanted: Box::new(wanted.clone()),
            available: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        }
    }
}

/// Follows a descriptor through indexes to the image of a platform.
pub(crate) fn resolve_document(
    source: &dyn ImageSource,
    root: &Descriptor,
    platform: &Platform,
) -> Result<ImageSummary, ImageError> {
    let (descriptor, manifest) = find_manifest(source, root, platform)?;
    let config = read_blob(source, &manifest.config, CONFIG_BYTES_MAX)?;
    summarize(root.digest, descriptor.digest, &manifest, &config)
}

/// Follows indexes to the manifest of a platform.
pub(crate) fn find_manifest(
    source: &dyn ImageSource,
    root: &Descriptor,
    platform: &Platform,
) -> Result<(Descriptor, Manifest), ImageError> {
    let mut descriptor = root.clone();
    for _ in 0..INDEX_DEPTH_MAX {
        let bytes = read_blob(source, &descriptor, MANIFEST_BYTES_MAX)?;
        match Document::parse(&bytes, Some(&descriptor.media_type))? {
            Document::Index(index) => {
                descriptor = index
                    .select(platform)
                    .map_err(|available| ImageError::no_platform(platform, &available))?
                    .clone();
            }
            Document::Manifest(manifest) => return Ok((descriptor, *manifest)),
        }
    }
    Err(ImageError::Damaged {
        manifest: root.digest,
        reason: format!("its indexes are nested more than {INDEX_DEPTH_MAX} deep"),
    })
}

/// Puts a manifest and the bytes of its config together, and checks that they agree.
///
/// `resolved` is the digest that the reference resolved to, `manifest_digest` that of the manifest.
pub fn summarize(
    resolved: Digest,
    manifest_digest: Digest,
    manifest: &Manifest,
    config_bytes: &[u8],
) -> Result<ImageSummary, ImageError> {
    let damaged = |reason: String| ImageError::Damaged {
        manifest: manifest_digest,
        reason,
    };
    let config_digest = Digest::of(config_bytes);
    if config_digest != manifest.config.digest {
        return Err(damaged(format!(
            "its config is {config_digest} and not {}",
            manifest.config.digest
        )));
    }
    let config = ImageConfig::parse(config_bytes)
        .map_err(|error| damaged(format!("its config {config_digest} is not valid: {error}")))?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(damaged(format!(
            "its manifest has {} layers and its config {}",
            manifest.layers.len(),
            diff_ids.len()
        )));
    }
    let layers = manifest
        .layers
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| {
            let encoding =
                LayerEncoding::of_media_type(&descriptor.media_type).ok_or_else(|| {
                    damaged(format!(
                        "the layer {} has the media type {:?}, which is no file system layer",
                        descriptor.digest, descriptor.media_type
                    ))
                })?;
            Ok(LayerBlob {
                descriptor: descriptor.clone(),
                encoding,
                diff_id: *diff_id,
            })
        })
        .collect::<Result<_, ImageError>>()?;
    Ok(ImageSummary {
        resolved_digest: resolved,
        manifest_digest,
        config_digest,
        config,
        layers,
    })
}

/// Reads a small blob into memory and checks it.
pub fn read_blob(
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    bytes_max: u64,
) -> Result<Vec<u8>, ImageError> {
    if descriptor.size > bytes_max {
        return Err(ImageError::Damaged {
            manifest: descriptor.digest,
            reason: format!(
                "it is {} bytes long, more than the {bytes_max} that are read",
                descriptor.size
            ),
        });
    }
    let mut bytes = Vec::new();
    source.open_blob(descriptor)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a blob and fails at its end, with [`io::ErrorKind::InvalidData`], unless the bytes are
/// those that the descriptor names.
///
/// Never hands out more bytes than the descriptor says.
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    expected: Digest,
    size: u64,
    hasher: Option<DigestWriter<io::Sink>>,
}

impl<R: Read> VerifiedReader<R> {
    /// Wraps a reader of the blob.
    pub fn new(inner: R, descriptor: &Descriptor) -> Self {
        Self {
            inner,
            expected: descriptor.digest,
            size: descriptor.size,
            hasher: Some(DigestWriter::new(io::sink())),
        }
    }

    fn check_end(&mut self) -> io::Result<usize> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(0);
        };
        let (_, digest, bytes) = hasher.finish();
        if bytes == self.size && digest == self.expected {
            return Ok(0);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the blob {} is damaged: {bytes} of {} bytes were read, and their digest is {digest}",
                self.expected, self.size
            ),
        ))
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.inner.read(buffer)?;
        let Some(hasher) = &mut self.hasher else {
            return Ok(0);
        };
        if read == 0 {
            return self.check_end();
        }
        if hasher.bytes() + read as u64 > self.size {
            self.hasher = None;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the blob {} is damaged: it is longer than its {} bytes",
                    self.expected, self.size
                ),
            ));
        }
        io::Write::write_all(hasher, &buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type;

    #[test]
    fn a_blob_is_checked_as_it_is_read() {
        let descriptor = Descriptor::of(media_type::OCI_LAYER, b"hello");
        for (bytes, expected) in [
            (&b"hello"[..], None),
            (b"hell", Some("4 of 5")),
            (b"hellO", Some("digest is")),
            (b"hello!", Some("longer")),
        ] {
            let mut read = Vec::new();
            let result = VerifiedReader::new(bytes, &descriptor).read_to_end(&mut read);
            match expected {
                None => assert_eq!(result.unwrap(), 5),
                Some(text) => {
                    let error = result.unwrap_err();
                    assert!(error.to_string().contains(text), "{error}");
                }
            }
        }
    }

    #[test]
    fn manifest_and_config_must_agree() {
        let config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let described = Descriptor::of(media_type::OCI_CONFIG, config);
        let layer = Descriptor::of(media_type::OCI_LAYER, b"x");
        let digest = Digest::of(b"");
        let check = |manifest: &Manifest, config: &[u8]| {
            summarize(digest, digest, manifest, config).map_err(|error| error.to_string())
        };
        let good = Manifest::oci(described.clone(), vec![]);
        assert!(check(&good, config).is_ok());
        assert!(check(&good, b"{}").unwrap_err().contains("its config is"));
        let more = Manifest::oci(described, vec![layer.clone()]);
        assert!(
            check(&more, config)
                .unwrap_err()
                .contains("1 layers and its config 0")
        );
        let config = format!(
            r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::of(b"x")
        );
        let strange = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, config.as_bytes()),
            vec![Descriptor::of("text/plain", b"x")],
        );
        assert!(
            check(&strange, config.as_bytes())
                .unwrap_err()
                .contains("no file system layer")
        );
    }
}

//! An image as its documents and blobs, read without changing a byte.

use std::collections::BTreeSet;

use stagewright_digest::Digest;
use stagewright_oci::{
    ATTESTATION_TYPE_KEY, Descriptor, Document, Index, Manifest, OutgoingBlob, OutgoingImage,
    Platform, media_type,
};

use crate::attest::is_about;
use crate::error::{Error, ErrorKind};

/// Indexes inside indexes are followed this deep.
const INDEX_DEPTH_MAX: u32 = 4;
/// An image with more documents is a trap.
const DOCUMENTS_MAX: usize = 1000;

/// A place that gives documents and blobs by their descriptors.
pub(super) trait Content {
    /// Reads a manifest or index, checked against its digest.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;

    /// Names a blob, without reading it.
    fn blob(&self, descriptor: &Descriptor) -> Result<OutgoingBlob, Error>;
}

/// How much of an image is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'p> {
    /// All that belongs to it.
    All,
    /// The manifest of a platform, which is the image then, without what is attested of it.
    Platform(&'p Platform),
    /// The index, but of what it names only the image that [`chosen`] says, and what is attested of
    /// it: enough for a place that takes one platform.
    One(Option<&'p Platform>),
}

/// Reads the documents of an image.
pub(super) fn read(
    content: &dyn Content,
    root: &Descriptor,
    scope: Scope<'_>,
) -> Result<OutgoingImage, Error> {
    let mut reader = Reader {
        content,
        scope,
        seen: BTreeSet::new(),
        blobs: Vec::new(),
        manifests: Vec::new(),
    };
    let mut root = root.clone();
    if let Scope::Platform(platform) = scope {
        root = reader.of_platform(root, platform)?;
    }
    reader.add(&root, 0)?;
    Ok(OutgoingImage::verbatim(
        root,
        reader.manifests,
        reader.blobs,
    ))
}

/// Returns the image of an index that is for a platform; without one the only image, else that of this
/// host.
pub(super) fn chosen<'i>(
    index: &'i Index,
    platform: Option<&Platform>,
) -> Result<&'i Descriptor, Error> {
    let host = Platform::host();
    let wanted = match platform {
        Some(platform) => platform,
        None => {
            // What is attested of an image is none.
            let mut images = index
                .manifests
                .iter()
                .filter(|entry| !entry.annotations.contains_key(ATTESTATION_TYPE_KEY));
            if let (Some(only), None) = (images.next(), images.next()) {
                return Ok(only);
            }
            &host
        }
    };
    index.select(wanted).map_err(|available| {
        let names: Vec<String> = available.iter().map(Platform::to_string).collect();
        let message = format!(
            "there is no image for {wanted}, only for {}",
            names.join(", ")
        );
        Error::new(ErrorKind::Image, message)
    })
}

struct Reader<'c> {
    content: &'c dyn Content,
    scope: Scope<'c>,
    seen: BTreeSet<Digest>,
    /// Each before those that name it.
    blobs: Vec<OutgoingBlob>,
    manifests: Vec<Manifest>,
}

impl Reader<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Document), Error> {
        let bytes = self.content.document(descriptor)?;
        let document = Document::parse(&bytes, Some(&descriptor.media_type))
            .map_err(|error| Error::new(ErrorKind::Image, error.to_string()))?;
        Ok((bytes, document))
    }

    /// Follows indexes to the manifest of a platform.
    fn of_platform(&self, root: Descriptor, platform: &Platform) -> Result<Descriptor, Error> {
        let mut descriptor = root;
        for _ in 0..INDEX_DEPTH_MAX {
            let (_, document) = self.document(&descriptor)?;
            let Document::Index(index) = document else {
                return Ok(descriptor);
            };
            descriptor = chosen(&index, Some(platform))?.clone();
        }
        Err(too_deep(&descriptor))
    }

    fn add(&mut self, descriptor: &Descriptor, depth: u32) -> Result<(), Error> {
        if !self.seen.insert(descriptor.digest) {
            return Ok(());
        }
        if depth > INDEX_DEPTH_MAX || self.manifests.len() > DOCUMENTS_MAX {
            return Err(too_deep(descriptor));
        }
        let (bytes, document) = self.document(descriptor)?;
        let media_type = document.media_type().to_owned();
        match document {
            Document::Index(index) => {
                let one = match self.scope {
                    Scope::One(platform) => Some(chosen(&index, platform)?.digest),
                    Scope::All | Scope::Platform(_) => None,
                };
                let wanted = |entry: &&Descriptor| {
                    one.is_none_or(|one| entry.digest == one || is_about(entry, &one))
                };
                for entry in index.manifests.iter().filter(wanted) {
                    let kind = &entry.media_type;
                    match media_type::is_index(kind) || media_type::is_manifest(kind) {
                        true => self.add(entry, depth + 1)?,
                        false => self.add_blob(entry)?,
                    }
                }
            }
            Document::Manifest(manifest) => {
                self.add_blob(&manifest.config)?;
                for layer in &manifest.layers {
                    self.add_blob(layer)?;
                }
                self.manifests.push(*manifest);
            }
        }
        let mut blob = OutgoingBlob::bytes(media_type, bytes);
        blob.descriptor.annotations = descriptor.annotations.clone();
        self.blobs.push(blob);
        Ok(())
    }

    fn add_blob(&mut self, descriptor: &Descriptor) -> Result<(), Error> {
        if self.seen.insert(descriptor.digest) {
            self.blobs.push(self.content.blob(descriptor)?);
        }
        Ok(())
    }
}

fn too_deep(descriptor: &Descriptor) -> Error {
    let message = format!(
        "the image {} has more indexes and manifests than are read",
        descriptor.digest
    );
    Error::new(ErrorKind::Image, message)
}

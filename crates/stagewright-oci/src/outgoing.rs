//! An image on its way out: to a layout, an archive or a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err as fs;
use stagewright_digest::Digest;

use crate::descriptor::Descriptor;
use crate::image::VerifiedReader;
use crate::layout::{IMAGE_NAME_KEY, REF_NAME_KEY};
use crate::manifest::{ATTESTATION_TYPE_KEY, Index, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;

/// A blob and where its bytes are.
#[derive(Debug, Clone)]
pub struct OutgoingBlob {
    /// What the blob is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub content: BlobContent,
}

/// Opens a blob's bytes from the start; called again when a transfer has to be repeated.
pub type OpenBlob = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// Where the bytes of a blob are.
#[derive(Clone)]
pub enum BlobContent {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file that holds nothing else.
    File(PathBuf),
    /// Wherever the function finds them.
    Stream(OpenBlob),
}

impl fmt::Debug for BlobContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl OutgoingBlob {
    /// A blob that is in memory.
    pub fn bytes(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            content: BlobContent::Bytes(bytes.into()),
        }
    }

    /// A blob that is a file.
    pub fn file(descriptor: Descriptor, path: impl Into<PathBuf>) -> Self {
        Self {
            descriptor,
            content: BlobContent::File(path.into()),
        }
    }

    /// Opens the bytes from the start. The reader fails at its end if they are not those of the
    /// descriptor.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let reader: Box<dyn Read + Send> = match &self.content {
            BlobContent::Bytes(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            BlobContent::File(path) => Box::new(fs::File::open(path)?),
            BlobContent::Stream(open) => open()?,
        };
        Ok(Box::new(VerifiedReader::new(reader, &self.descriptor)))
    }
}

/// An image on its way out, with everything that it is made of.
#[derive(Debug, Clone)]
pub struct OutgoingImage {
    /// The manifest, or the index for several platforms.
    root: Descriptor,
    /// The manifests of the platforms, attestations apart.
    manifests: Vec<Manifest>,
    /// Every blob once, each before those that name it, the root last.
    blobs: Vec<OutgoingBlob>,
    /// What the image is called.
    pub names: Vec<Reference>,
}

/// One platform of an outgoing image.
#[derive(Debug, Clone)]
pub struct OutgoingPlatform {
    /// The platform, which an index states.
    pub platform: Option<Platform>,
    /// The manifest.
    pub manifest: Manifest,
    /// What an index says of the manifest.
    pub descriptor_annotations: std::collections::BTreeMap<String, String>,
    /// The config and the layers.
    pub blobs: Vec<OutgoingBlob>,
}

impl OutgoingPlatform {
    /// An image of a platform; `blobs` are its config and layers.
    pub fn new(platform: Platform, manifest: Manifest, blobs: Vec<OutgoingBlob>) -> Self {
        Self {
            platform: Some(platform),
            manifest,
            descriptor_annotations: std::collections::BTreeMap::new(),
            blobs,
        }
    }
}

impl OutgoingImage {
    /// An image of one platform, which needs no index.
    pub fn single(image: OutgoingPlatform, names: Vec<Reference>) -> Self {
        let mut outgoing = Self {
            root: Descriptor::of("", b""),
            manifests: Vec::new(),
            blobs: Vec::new(),
            names,
        };
        outgoing.root = outgoing.add_platform(image);
        outgoing
    }

    /// An image of several platforms, or one with attestations. `make_index` says in which form,
    /// [`Index::oci`] or [`Index::docker`], and with which annotations.
    pub fn index(
        platforms: Vec<OutgoingPlatform>,
        names: Vec<Reference>,
        make_index: impl FnOnce(Vec<Descriptor>) -> Index,
    ) -> Self {
        let mut outgoing = Self {
            root: Descriptor::of("", b""),
            manifests: Vec::new(),
            blobs: Vec::new(),
            names,
        };
        let entries = platforms
            .into_iter()
            .map(|platform| outgoing.add_platform(platform))
            .collect();
        let (bytes, root) = make_index(entries).encode();
        outgoing
            .blobs
            .push(OutgoingBlob::bytes(root.media_type.clone(), bytes));
        outgoing.root = root;
        outgoing
    }

    /// An image whose documents were read elsewhere and stay as they are. `blobs` has each blob and
    /// document once, each before those that name it, the root last. Names that the root had where it
    /// was are not its names here.
    pub fn verbatim(
        mut root: Descriptor,
        manifests: Vec<Manifest>,
        blobs: Vec<OutgoingBlob>,
    ) -> Self {
        root.annotations
            .retain(|key, _| key != REF_NAME_KEY && key != IMAGE_NAME_KEY);
        // What an index says of it is not said by it.
        root.platform = None;
        Self {
            root,
            manifests,
            blobs,
            names: Vec::new(),
        }
    }

    /// Adds what the `index.json` of a layout says of the image.
    pub fn annotate(&mut self, annotations: BTreeMap<String, String>) {
        self.root.annotations.extend(annotations);
    }

    /// Gives the image a tag alone in a layout, as other tools do; or none.
    pub fn set_tag(&mut self, tag: Option<&str>) {
        let annotations = &mut self.root.annotations;
        match tag {
            Some(tag) => annotations.insert(REF_NAME_KEY.to_owned(), tag.to_owned()),
            None => annotations.remove(REF_NAME_KEY),
        };
    }

    fn add_platform(&mut self, image: OutgoingPlatform) -> Descriptor {
        let mut known: BTreeSet<Digest> = self
            .blobs
            .iter()
            .map(|blob| blob.descriptor.digest)
            .collect();
        for blob in image.blobs {
            if known.insert(blob.descriptor.digest) {
                self.blobs.push(blob);
            }
        }
        let (bytes, mut descriptor) = image.manifest.encode();
        if known.insert(descriptor.digest) {
            self.blobs
                .push(OutgoingBlob::bytes(descriptor.media_type.clone(), bytes));
        }
        if !image
            .descriptor_annotations
            .contains_key(ATTESTATION_TYPE_KEY)
        {
            self.manifests.push(image.manifest);
        }
        descriptor.platform = image.platform;
        descriptor.annotations = image.descriptor_annotations;
        descriptor
    }

    /// Returns the manifest, or the index for several platforms.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// Returns the manifests of the platforms, attestations apart.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// Returns every blob once, each before those that name it, the root last.
    pub fn blobs(&self) -> &[OutgoingBlob] {
        &self.blobs
    }
}

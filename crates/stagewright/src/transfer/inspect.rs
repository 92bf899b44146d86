//! Looking at images wherever they are.

use stagewright_digest::Digest;
use stagewright_oci::{
    ATTESTATION_TYPE_KEY, Descriptor, Document, ImageConfig, Manifest, OutgoingImage, Platform,
};
use stagewright_solver::Reporter;

use super::copy::CopyOptions;
use super::graph::Content;
use super::place::ImagePlace;
use super::source::Opening;
use crate::attest::{self, PREDICATE_TYPE_KEY, STATEMENT_BYTES_MAX, is_about};
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::image::Image;

/// An image as it is in some place.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedImage {
    /// Its names in the store here; empty for other places.
    pub names: Vec<String>,
    /// The digest of the manifest, or of the index; none for an image of the store here, which gets a
    /// manifest when it leaves.
    pub digest: Option<Digest>,
    /// The media type of that.
    pub media_type: Option<String>,
    /// The images, one a platform; at least one.
    pub platforms: Vec<InspectedPlatform>,
}

/// The image of a platform.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedPlatform {
    /// The platform that its config names.
    pub platform: String,
    /// The digest of its manifest, if it has one.
    pub digest: Option<Digest>,
    /// The digest of its config: Docker's image id.
    pub id: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers as blobs, from the bottom up; empty for an image of the store here.
    pub layers: Vec<Descriptor>,
    /// What is attested of it.
    pub attestations: Vec<InspectedAttestation>,
}

/// An attestation of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedAttestation {
    /// What kind of predicate it has, as a URI.
    pub predicate_type: String,
    /// The digest of its statement; none for an image of the store here.
    pub digest: Option<Digest>,
    /// The predicate in JSON; none where it was not asked for.
    pub predicate: Option<serde_json::Value>,
}

impl InspectedImage {
    /// Returns the image of this host's platform, else the first.
    pub fn chosen(&self) -> Option<&InspectedPlatform> {
        let host = Platform::host();
        let mut platforms = self.platforms.iter();
        platforms
            .find(|one| host.matches(&one.config.platform()))
            .or(self.platforms.first())
    }
}

impl Builder {
    /// Looks at an image: its platforms, configs, and what is attested of it; no layer is read. Blocks.
    /// `predicates` reads the attestations, too.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Registry`] and [`ErrorKind::Image`] when it is not there or
    /// cannot be read.
    pub fn inspect_image(
        &self,
        place: &ImagePlace,
        options: &CopyOptions,
        predicates: bool,
    ) -> Result<InspectedImage, Error> {
        let platform = options.platform()?;
        if let ImagePlace::Store(name) = place {
            let mut inspected = self.inspect_stored(name, predicates)?;
            if let Some(platform) = platform {
                let platforms = &mut inspected.platforms;
                platforms.retain(|one| platform.matches(&one.config.platform()));
                if platforms.is_empty() {
                    let message = format!("the image {name:?} is not there for {platform}");
                    return Err(Error::new(ErrorKind::NotFound, message));
                }
            }
            return Ok(inspected);
        }
        let client = self.client_for(&[place], options.insecure)?;
        let opening = Opening {
            builder: self,
            client: &client,
            // Its attestations lie beside it.
            platform: None,
            one: false,
            names: &[],
            reporter: &Reporter::silent(),
            event: 0,
        };
        let image = opening.open(place)?.image;
        let mut inspected = Looking {
            image: &image,
            predicates,
        }
        .look()?;
        if let Some(platform) = platform {
            let platforms = &mut inspected.platforms;
            platforms.retain(|one| platform.matches(&one.config.platform()));
        }
        if inspected.platforms.is_empty() {
            let message = format!("{place} holds no image of that platform");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(inspected)
    }

    fn inspect_stored(&self, name: &str, predicates: bool) -> Result<InspectedImage, Error> {
        let images = self.image_platforms(name)?;
        let mut platforms = Vec::new();
        for image in &images {
            platforms.push(InspectedPlatform {
                platform: image.config().platform().to_string(),
                digest: None,
                id: *image.id(),
                config: image.config().clone(),
                layers: Vec::new(),
                attestations: image.attested(predicates)?,
            });
        }
        Ok(InspectedImage {
            names: images[0].names().to_vec(),
            digest: None,
            media_type: None,
            platforms,
        })
    }
}

impl Image {
    /// Returns what is attested of the image; `predicates` reads the attestations, too.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when one cannot be read.
    pub fn attested(&self, predicates: bool) -> Result<Vec<InspectedAttestation>, Error> {
        let attestations = self.attestations().iter();
        attestations
            .map(|attestation| {
                let predicate = match predicates {
                    true => Some(attest::predicate(self, attestation)?),
                    false => None,
                };
                Ok(InspectedAttestation {
                    predicate_type: attestation.predicate_type.clone(),
                    digest: None,
                    predicate,
                })
            })
            .collect()
    }
}

struct Looking<'i> {
    image: &'i OutgoingImage,
    predicates: bool,
}

impl Looking<'_> {
    fn look(&self) -> Result<InspectedImage, Error> {
        let root = self.image.root();
        let mut inspected = InspectedImage {
            names: Vec::new(),
            digest: Some(root.digest),
            media_type: Some(root.media_type.clone()),
            platforms: Vec::new(),
        };
        self.add(root, &mut inspected)?;
        Ok(inspected)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let bytes = self.image.document(descriptor)?;
        Document::parse(&bytes, Some(&descriptor.media_type))
            .map_err(|error| Error::new(ErrorKind::Image, error.to_string()))
    }

    fn add(&self, descriptor: &Descriptor, inspected: &mut InspectedImage) -> Result<(), Error> {
        let index = match self.document(descriptor)? {
            Document::Manifest(manifest) => {
                let platform = self.platform(descriptor, &manifest)?;
                inspected.platforms.push(platform);
                return Ok(());
            }
            Document::Index(index) => index,
        };
        let (attestations, images): (Vec<&Descriptor>, Vec<&Descriptor>) = index
            .manifests
            .iter()
            .partition(|entry| entry.annotations.contains_key(ATTESTATION_TYPE_KEY));
        for entry in images {
            self.add(entry, inspected)?;
        }
        for entry in attestations {
            let mut platforms = inspected.platforms.iter_mut();
            let of = platforms.find(|platform| {
                let digest = platform.digest.as_ref();
                digest.is_some_and(|digest| is_about(entry, digest))
            });
            if let Some(of) = of {
                of.attestations.extend(self.attestations(entry)?);
            }
        }
        Ok(())
    }

    fn platform(
        &self,
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Result<InspectedPlatform, Error> {
        let bytes = self.image.document(&manifest.config)?;
        let config = ImageConfig::parse(&bytes).map_err(|error| {
            let message = format!("{} is no image: {error}", descriptor.digest);
            Error::new(ErrorKind::Image, message)
        })?;
        Ok(InspectedPlatform {
            platform: config.platform().to_string(),
            digest: Some(descriptor.digest),
            id: manifest.config.digest,
            config,
            layers: manifest.layers.clone(),
            attestations: Vec::new(),
        })
    }

    fn attestations(&self, entry: &Descriptor) -> Result<Vec<InspectedAttestation>, Error> {
        let Document::Manifest(manifest) = self.document(entry)? else {
            return Ok(Vec::new());
        };
        let mut attestations = Vec::new();
        for layer in &manifest.layers {
            let Some(predicate_type) = layer.annotations.get(PREDICATE_TYPE_KEY) else {
                continue;
            };
            let predicate = match self.predicates && layer.size <= STATEMENT_BYTES_MAX {
                true => Some(self.predicate(layer)?),
                false => None,
            };
            attestations.push(InspectedAttestation {
                predicate_type: predicate_type.clone(),
                digest: Some(layer.digest),
                predicate,
            });
        }
        Ok(attestations)
    }

    fn predicate(&self, layer: &Descriptor) -> Result<serde_json::Value, Error> {
        let fail = |message: String| {
            let message = format!("the attestation {}: {message}", layer.digest);
            Error::new(ErrorKind::Image, message)
        };
        let reader = self.image.blob(layer)?.open();
        let reader = reader.map_err(|error| fail(error.to_string()))?;
        let mut statement: serde_json::Value =
            serde_json::from_reader(std::io::BufReader::new(reader))
                .map_err(|error| fail(error.to_string()))?;
        Ok(statement["predicate"].take())
    }
}

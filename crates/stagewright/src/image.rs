//! An image that is in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stagewright_digest::{Digest, LayerId};
use stagewright_oci::{ImageConfig, Reference, RootFs};
use stagewright_snapshot::Snapshots;
use stagewright_solver::{Images, Reporter, Services, TaggedImage, TaggedPlatform};
use stagewright_store::{Store, TAG_KIND};

use crate::attest::Attestation;
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::failure;

/// An image that was built, or that has a name in the store.
#[derive(Clone)]
pub struct Image {
    builder: Builder,
    /// Keeps what the image needs from being collected.
    session: Snapshots,
    id: Digest,
    config: ImageConfig,
    layers: Vec<LayerId>,
    stages: Vec<StageSize>,
    attestations: Vec<Attestation>,
    names: Vec<String>,
    /// What built it, if it was built just now.
    services: Option<Arc<Services>>,
    /// Where the layers of base images that no step needed can be had.
    images: Arc<Images>,
    reporter: Reporter,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("id", &self.id)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// What a build made, before it is an image.
pub(crate) struct Made {
    pub(crate) config: ImageConfig,
    pub(crate) layers: Vec<LayerId>,
    pub(crate) stages: Vec<StageSize>,
    pub(crate) attestations: Vec<Attestation>,
}

/// What is kept with the name of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Details {
    stages: Vec<StageSize>,
    attestations: Vec<Attestation>,
}

/// The layers of a stage that an image was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StageSize {
    pub(crate) name: String,
    pub(crate) layers: Vec<LayerId>,
}

/// How large an image and the stages that it was built from are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSizes {
    /// The layers of the image, from the bottom up.
    pub layers: Vec<LayerSize>,
    /// The bytes of all files of all layers.
    pub total_bytes: u64,
    /// The stages of the build, in the order of the Dockerfile: name and bytes. Empty for an image
    /// whose stages are not known.
    pub stages: Vec<(String, u64)>,
    /// What the image would hold if it had been built in its largest stage, less what it holds.
    pub saved_bytes: u64,
}

/// How large a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSize {
    /// The instruction that made it.
    pub created_by: String,
    /// Its diffID.
    pub diff_id: String,
    /// The bytes of its files.
    pub bytes: u64,
}

impl Image {
    /// Completes the config with the diffIDs of the layers and stores it.
    pub(crate) async fn assemble(
        builder: &Builder,
        made: Made,
        services: Arc<Services>,
    ) -> Result<Self, Error> {
        let layers = made.layers.clone();
        let session = services.snapshots.clone();
        let snapshots = session.clone();
        let diff_ids = tokio::task::spawn_blocking(move || snapshots.diff_ids(&layers))
            .await
            .map_err(|join| Error::new(ErrorKind::Internal, join.to_string()))?
            .map_err(|error| Error::new(ErrorKind::Store, failure::chain(&error)))?;
        let mut config = made.config;
        config.rootfs = RootFs {
            kind: "layers".to_owned(),
            diff_ids,
        };
        let id = session.store().put_blob(&config.encode())?;
        Ok(Self {
            builder: builder.clone(),
            session,
            id,
            config,
            layers: made.layers,
            stages: made.stages,
            attestations: made.attestations,
            names: Vec::new(),
            images: Arc::clone(&services.images),
            reporter: services.reporter.clone(),
            services: Some(services),
        })
    }

    /// An image whose layers and config came from elsewhere and are stored.
    pub(crate) fn taken_in(
        builder: &Builder,
        session: Snapshots,
        id: Digest,
        config: ImageConfig,
        layers: Vec<LayerId>,
        attestations: Vec<Attestation>,
    ) -> Self {
        Self {
            builder: builder.clone(),
            images: bases_of(builder, &session),
            reporter: Reporter::silent(),
            session,
            id,
            config,
            layers,
            stages: Vec::new(),
            attestations,
            names: Vec::new(),
            services: None,
        }
    }

    /// Finds the images of a name in the store, one a platform.
    pub(crate) fn find_all(builder: &Builder, name: &str) -> Result<Vec<Self>, Error> {
        let reference = parse_name(name)?;
        let session = builder.inner().snapshots.session();
        let store = session.store();
        let Some(bytes) = store.document(TAG_KIND, &reference.to_string())? else {
            return Ok(Vec::new());
        };
        let Ok(tagged) = serde_json::from_slice::<TaggedImage>(&bytes) else {
            return Ok(Vec::new());
        };
        let bases = bases_of(builder, &session);
        let mut images = Vec::new();
        for platform in tagged.platforms() {
            let Some(config) = store.read_blob(&platform.config)? else {
                continue;
            };
            let config = ImageConfig::parse(&config)
                .map_err(|error| Error::new(ErrorKind::Image, error.to_string()))?;
            let details: Details =
                serde_json::from_value(platform.details.clone()).unwrap_or_default();
            images.push(Self {
                builder: builder.clone(),
                session: session.clone(),
                id: platform.config,
                config,
                layers: platform.layers.clone(),
                stages: details.stages,
                attestations: details.attestations,
                names: vec![tagged.name.clone()],
                services: None,
                images: Arc::clone(&bases),
                reporter: Reporter::silent(),
            });
        }
        Ok(images)
    }

    /// Returns the digest of the image's config: Docker's image id.
    pub fn id(&self) -> &Digest {
        &self.id
    }

    /// Returns the image's config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns the image's names in the store, in full.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn builder(&self) -> &Builder {
        &self.builder
    }

    pub(crate) fn store(&self) -> &Store {
        self.session.store()
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.session
    }

    pub(crate) fn services(&self) -> Option<&Arc<Services>> {
        self.services.as_ref()
    }

    pub(crate) fn images(&self) -> &Arc<Images> {
        &self.images
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Returns the images of registries that layers of this one are known to be of.
    pub(crate) fn origins(&self) -> Vec<Reference> {
        self.images.registry_origins(&self.layers)
    }

    pub(crate) fn layer_ids(&self) -> &[LayerId] {
        &self.layers
    }

    pub(crate) fn add_name(&mut self, name: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Returns what is kept with the image's name.
    pub(crate) fn tagged(&self) -> TaggedPlatform {
        let details = Details {
            stages: self.stages.clone(),
            attestations: self.attestations.clone(),
        };
        TaggedPlatform {
            config: self.id,
            layers: self.layers.clone(),
            details: serde_json::to_value(details).unwrap_or_default(),
            blobs: self.attestations.iter().map(|one| one.blob).collect(),
        }
    }

    pub(crate) fn attestations(&self) -> &[Attestation] {
        &self.attestations
    }

    /// Says how large the image is, layer by layer, and how large its stages were.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when the store cannot be read.
    pub fn sizes(&self) -> Result<ImageSizes, Error> {
        let store = self.store();
        let bytes_of = |layer: &LayerId| -> Result<u64, Error> {
            Ok(store
                .layer(layer)?
                .map_or(0, |layer| layer.record.content_bytes))
        };
        let mut created_by = self.config.history.iter().filter(|item| !item.empty_layer);
        let mut layers = Vec::new();
        for (layer, diff_id) in self.layers.iter().zip(&self.config.rootfs.diff_ids) {
            let text = created_by.next().and_then(|item| item.created_by.clone());
            layers.push(LayerSize {
                created_by: text.unwrap_or_default(),
                diff_id: diff_id.to_string(),
                bytes: bytes_of(layer)?,
            });
        }
        let total_bytes = layers.iter().map(|layer| layer.bytes).sum();
        let mut stages = Vec::new();
        for stage in &self.stages {
            let layers: BTreeSet<&LayerId> = stage.layers.iter().collect();
            let bytes = layers
                .into_iter()
                .map(bytes_of)
                .sum::<Result<u64, Error>>()?;
            stages.push((stage.name.clone(), bytes));
        }
        let largest = stages.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        Ok(ImageSizes {
            layers,
            total_bytes,
            stages,
            saved_bytes: largest.saturating_sub(total_bytes),
        })
    }
}

/// Returns what knows where layers of base images can be had, for images that were not built just now.
fn bases_of(builder: &Builder, session: &Snapshots) -> Arc<Images> {
    Arc::new(Images::new(
        session.store().clone(),
        session.clone(),
        builder.inner().registries.clone(),
        BTreeMap::new(),
        false,
    ))
}

/// Parses a name for an image: `name[:tag]`.
pub(crate) fn parse_name(name: &str) -> Result<Reference, Error> {
    let reference: Reference = name
        .parse()
        .map_err(|error| Error::new(ErrorKind::Request, format!("{error}")))?;
    if reference.digest().is_some() {
        let message = format!("{name:?} has a digest: an image cannot be given one as its name");
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(reference)
}

pub(crate) fn parse_names(names: &[String]) -> Result<Vec<Reference>, Error> {
    names.iter().map(|name| parse_name(name)).collect()
}

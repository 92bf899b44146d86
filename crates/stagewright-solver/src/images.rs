//! Base images: what a reference means, and its layers when a step needs them.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use stagewright_digest::{DiffId, Digest, LayerId};
use stagewright_fetch::{RegistryClient, RegistryOptions};
use stagewright_oci::{
    Descriptor, ImageConfig, ImageSelector, ImageSource, ImageSummary, LayerBlob, Platform,
    Reference,
};
use stagewright_plan::{ImageNeed, KnownImage};
use stagewright_snapshot::{Forms, Snapshots};
use stagewright_store::{CompressedBlob, RESOLUTION_KIND, Store, TAG_KIND};

use crate::error::StepError;
use crate::event::EventKind;
use crate::imported_cache::ImportedCache;
use crate::reporter::Reporter;

/// How the blob of a layer is called that came with its image.
pub const PULLED_CODEC: &str = "pulled";

/// An image on disk that takes the place of a reference.
#[derive(Clone)]
pub struct NamedImage {
    /// Where it is.
    pub source: Arc<dyn ImageSource>,
    /// Which one of those that are there.
    pub selector: ImageSelector,
}

/// An image with a local name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedImage {
    /// The name in full: `docker.io/library/app:latest`.
    pub name: String,
    /// Its config, a blob of the store.
    pub config: Digest,
    /// Its layers, from the bottom up.
    pub layers: Vec<LayerId>,
    /// When it was given its name, in milliseconds since 1970.
    pub tagged_unix_ms: u64,
    /// What its owner keeps with it: the sizes of the stages that it was built from.
    pub details: serde_json::Value,
}

/// What a reference was resolved to, as the store keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resolution {
    name: String,
    manifest: Digest,
    config: Digest,
    layers: Vec<StoredLayer>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredLayer {
    descriptor: Descriptor,
    diff_id: DiffId,
}

/// Where the blob of a layer can be had.
#[derive(Clone)]
pub(crate) enum Origin {
    Registry(Reference),
    Disk(Arc<dyn ImageSource>),
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "Registry({reference})"),
            Self::Disk(_) => f.write_str("Disk"),
        }
    }
}

/// A layer that is not stored, and where it can be had.
struct MissingLayer {
    id: LayerId,
    descriptor: Descriptor,
    /// How the store calls the form in which it comes.
    codec: String,
    origin: Origin,
}

/// Base images of one build, and the layers of caches from elsewhere.
pub struct Images {
    store: Store,
    snapshots: Snapshots,
    client: RegistryClient,
    named: BTreeMap<String, NamedImage>,
    /// Ask the registries even for what was resolved before.
    pull: bool,
    /// The registries' layers that this build knows of. Held only to look up or insert.
    origins: Mutex<BTreeMap<DiffId, (Descriptor, Origin)>>,
    cache: Arc<ImportedCache>,
}

impl Images {
    /// Makes the images of one build. Nothing is read or asked yet.
    pub fn new(
        store: Store,
        snapshots: Snapshots,
        registries: RegistryOptions,
        named: BTreeMap<String, NamedImage>,
        pull: bool,
    ) -> Self {
        let client = RegistryClient::new(registries);
        Self {
            store,
            snapshots,
            client,
            named,
            pull,
            origins: Mutex::default(),
            cache: Arc::default(),
        }
    }

    /// Looks results up in caches from elsewhere, too.
    #[must_use]
    pub fn with_cache(self, cache: Arc<ImportedCache>) -> Self {
        Self { cache, ..self }
    }

    /// Returns the caches from elsewhere.
    pub(crate) fn cache(&self) -> &ImportedCache {
        &self.cache
    }

    /// Finds out what an image is: from a named context, among the images with local names, from
    /// what an earlier build resolved, or from its registry. No layer is downloaded.
    ///
    /// # Errors
    /// When there is no such image for the platform, or its registry does not answer.
    pub async fn resolve(
        &self,
        need: &ImageNeed,
        reporter: &Reporter,
    ) -> Result<KnownImage, StepError> {
        if let Some(named) = self.named.get(&need.reference) {
            return self.on_disk(need, named);
        }
        let reference: Reference = need.reference.parse().map_err(|error| StepError::Image {
            message: format!("{error}"),
            registry: false,
        })?;
        let name = reference.to_string();
        if !self.pull {
            if let Some(image) = self.tagged(&name, &need.platform)? {
                return Ok(image);
            }
            if let Some(image) = self.resolved_before(&name, &need.platform)? {
                return Ok(image);
            }
        }
        let event = reporter.start_internal(&format!("[internal] load metadata for {name}"));
        let result = self.in_registry(&reference, &need.platform).await;
        reporter.finish_internal(event, &result);
        result
    }

    fn on_disk(&self, need: &ImageNeed, named: &NamedImage) -> Result<KnownImage, StepError> {
        let summary = named
            .source
            .resolve(&named.selector, &need.platform)
            .map_err(|error| StepError::Image {
                message: error.to_string(),
                registry: false,
            })?;
        let origin = Origin::Disk(Arc::clone(&named.source));
        self.learn(&summary.layers, &origin);
        Ok(known(need.reference.clone(), summary))
    }

    fn tagged(&self, name: &str, platform: &Platform) -> Result<Option<KnownImage>, StepError> {
        let Some(bytes) = self.store.document(TAG_KIND, name)? else {
            return Ok(None);
        };
        let Ok(image) = serde_json::from_slice::<TaggedImage>(&bytes) else {
            return Ok(None);
        };
        let Some(config) = self.read_config(&image.config)? else {
            return Ok(None);
        };
        if !platform.matches(&config.platform()) {
            return Ok(None);
        }
        let layers = image.layers;
        Ok(Some(KnownImage {
            name: image.name,
            manifest: None,
            config,
            layers,
        }))
    }

    fn resolved_before(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<KnownImage>, StepError> {
        let document = format!("{name} {platform}");
        let Some(bytes) = self.store.document(RESOLUTION_KIND, &document)? else {
            return Ok(None);
        };
        let Ok(resolution) = serde_json::from_slice::<Resolution>(&bytes) else {
            return Ok(None);
        };
        let Some(config) = self.read_config(&resolution.config)? else {
            return Ok(None);
        };
        let Ok(reference) = resolution.name.parse::<Reference>() else {
            return Ok(None);
        };
        let pinned = Origin::Registry(reference.with_digest(resolution.manifest));
        let mut layers = Vec::new();
        for layer in resolution.layers {
            layers.push(LayerId::Pulled(layer.diff_id));
            self.origins()
                .insert(layer.diff_id, (layer.descriptor, pinned.clone()));
        }
        let manifest = Some(resolution.manifest);
        Ok(Some(KnownImage {
            name: resolution.name,
            manifest,
            config,
            layers,
        }))
    }

    async fn in_registry(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<KnownImage, StepError> {
        let resolved = self
            .client
            .resolve(reference, platform)
            .await
            .map_err(|error| StepError::Image {
                message: error.to_string(),
                registry: true,
            })?;
        let summary = resolved.summary;
        let config = self.store.put_blob(&resolved.config_bytes)?;
        let resolution = Resolution {
            name: reference.to_string(),
            manifest: summary.manifest_digest,
            config,
            layers: summary
                .layers
                .iter()
                .map(|layer| StoredLayer {
                    descriptor: layer.descriptor.clone(),
                    diff_id: layer.diff_id,
                })
                .collect(),
        };
        let bytes = serde_json::to_vec(&resolution)
            .map_err(|error| StepError::Internal(error.to_string()))?;
        let document = format!("{reference} {platform}");
        self.store
            .put_document(RESOLUTION_KIND, &document, &bytes)?;
        let pinned = reference.with_digest(summary.manifest_digest);
        self.learn(&summary.layers, &Origin::Registry(pinned));
        Ok(known(reference.to_string(), summary))
    }

    fn read_config(&self, digest: &Digest) -> Result<Option<ImageConfig>, StepError> {
        let bytes = self.store.read_blob(digest)?;
        Ok(bytes.and_then(|bytes| ImageConfig::parse(&bytes).ok()))
    }

    fn learn(&self, layers: &[LayerBlob], origin: &Origin) {
        let mut origins = self.origins();
        for layer in layers {
            origins.insert(layer.diff_id, (layer.descriptor.clone(), origin.clone()));
        }
    }

    fn origins(&self) -> std::sync::MutexGuard<'_, BTreeMap<DiffId, (Descriptor, Origin)>> {
        // The map is whole whatever happened to its last user.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the images of registries whose layers this build knows of.
    pub fn registry_origins(&self) -> Vec<Reference> {
        let mut found: Vec<Reference> = Vec::new();
        for (_, origin) in self.origins().values() {
            if let Origin::Registry(reference) = origin
                && !found.contains(reference)
            {
                found.push(reference.clone());
            }
        }
        found
    }

    /// Sees to it that layers are stored, downloading those of base images, and of caches from
    /// elsewhere, that are not yet. Layers are moved at the same time; a layer that two steps want is
    /// moved once.
    ///
    /// # Errors
    /// When a layer cannot be had, or is not what its image says.
    pub async fn ensure(
        &self,
        layers: &[LayerId],
        reporter: &Reporter,
        event: u64,
    ) -> Result<(), StepError> {
        let mut missing = Vec::new();
        for layer in layers {
            if self.store.layer(layer)?.is_none() {
                missing.push(self.fetch_layer(*layer, reporter, event));
            }
        }
        for result in futures_util::future::join_all(missing).await {
            result?;
        }
        Ok(())
    }

    async fn fetch_layer(
        &self,
        id: LayerId,
        reporter: &Reporter,
        event: u64,
    ) -> Result<(), StepError> {
        let fetched = self.try_fetch_layer(id, reporter, event).await;
        if matches!(id, LayerId::Made(_)) {
            match &fetched {
                Ok(()) => self.cache.adopt_layer(&id, &self.store)?,
                Err(_) => self.cache.lose(id),
            }
        }
        fetched
    }

    async fn try_fetch_layer(
        &self,
        id: LayerId,
        reporter: &Reporter,
        event: u64,
    ) -> Result<(), StepError> {
        let missing = self.find_layer(id)?;
        if self.store.blob(&missing.descriptor.digest)?.is_none() {
            self.fetch_blob(&missing.descriptor, &missing.origin, reporter, event)
                .await?;
        }
        let (store, snapshots) = (self.store.clone(), self.snapshots.clone());
        tokio::task::spawn_blocking(move || import(&store, &snapshots, &missing))
            .await
            .map_err(|join| StepError::Internal(join.to_string()))?
    }

    /// Finds out where a layer can be had.
    fn find_layer(&self, id: LayerId) -> Result<MissingLayer, StepError> {
        let unknown = |message| StepError::Image {
            message,
            registry: false,
        };
        match id {
            LayerId::Pulled(diff_id) => {
                let origin = self.origins().get(&diff_id).cloned();
                let (descriptor, origin) = origin.ok_or_else(|| {
                    unknown(format!(
                        "layer {diff_id} of a base image is not stored and its origin is not known: build with --pull"
                    ))
                })?;
                Ok(MissingLayer {
                    id,
                    descriptor,
                    codec: PULLED_CODEC.to_owned(),
                    origin,
                })
            }
            LayerId::Made(_) => {
                let layer = self.cache.layer(&id).ok_or_else(|| {
                    unknown(match self.cache.names(&id) {
                        true => {
                            format!("the imported cache knows of layer {id} and does not hold it")
                        }
                        false => format!("layer {id} is not stored any more: build again"),
                    })
                })?;
                Ok(MissingLayer {
                    id,
                    descriptor: layer.descriptor.clone(),
                    codec: layer.codec.clone(),
                    origin: layer.origin.clone(),
                })
            }
        }
    }

    async fn fetch_blob(
        &self,
        descriptor: &Descriptor,
        origin: &Origin,
        reporter: &Reporter,
        event: u64,
    ) -> Result<(), StepError> {
        let image_error = |message: String, registry| StepError::Image { message, registry };
        let writer = match origin {
            Origin::Disk(source) => {
                let mut writer = self.store.blob_writer()?;
                let mut reader = source
                    .open_blob(descriptor)
                    .map_err(|error| image_error(error.to_string(), false))?;
                tokio::task::spawn_blocking(move || {
                    std::io::copy(&mut reader, &mut writer).map(|_| writer)
                })
                .await
                .map_err(|join| StepError::Internal(join.to_string()))?
                .map_err(|error| image_error(error.to_string(), false))?
            }
            Origin::Registry(reference) => {
                let progress = |bytes: u64| {
                    reporter.send(EventKind::Progress {
                        vertex: event,
                        label: descriptor.digest.to_string(),
                        current_bytes: bytes,
                        total_bytes: Some(descriptor.size),
                    });
                };
                self.client
                    .fetch_blob(
                        reference,
                        descriptor,
                        || self.store.blob_writer().map_err(std::io::Error::other),
                        &progress,
                    )
                    .await
                    .map_err(|error| image_error(error.to_string(), true))?
            }
        };
        writer.commit(Some(&descriptor.digest))?;
        Ok(())
    }
}

/// Makes a layer of a blob that was downloaded. Those of base images become directories: what needs a
/// base image's files mounts them. Those of caches are exported or copied from as often.
fn import(store: &Store, snapshots: &Snapshots, missing: &MissingLayer) -> Result<(), StepError> {
    let MissingLayer {
        id,
        descriptor,
        codec,
        ..
    } = missing;
    let digest = descriptor.digest;
    let open = || -> io::Result<Box<dyn io::BufRead + Send>> {
        let blob = store.blob(&digest).map_err(io::Error::other)?;
        let blob = blob.ok_or_else(|| io::Error::other(format!("blob {digest} is gone")))?;
        let file = fs::File::open(blob.path)?;
        Ok(Box::new(BufReader::with_capacity(1 << 17, file)))
    };
    let imported = match id {
        LayerId::Pulled(diff_id) => snapshots.import(diff_id, Forms::UNPACKED, open),
        LayerId::Made(content) => snapshots.import_made(content, Forms::PACKED, open),
    };
    if let Err(error) = imported {
        // If it is the blob that is damaged it is set aside, and downloaded again the next time.
        store.check_blob(&digest)?;
        return Err(error.into());
    }
    store.update_record(id, |record| {
        if record.compressed.iter().all(|blob| blob.digest != digest) {
            record.compressed.push(CompressedBlob {
                codec: codec.clone(),
                digest,
                bytes: descriptor.size,
                media_type: descriptor.media_type.clone(),
            });
        }
    })?;
    Ok(())
}

fn known(name: String, summary: ImageSummary) -> KnownImage {
    KnownImage {
        name,
        manifest: Some(summary.manifest_digest),
        config: summary.config,
        layers: summary
            .layers
            .iter()
            .map(|layer| LayerId::Pulled(layer.diff_id))
            .collect(),
    }
}

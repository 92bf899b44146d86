//! Base images: what a reference means, and its layers when a step needs them.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use stagewright_digest::{DiffId, Digest, LayerId};
use stagewright_fetch::{CacheService, RegistryClient, RegistryOptions};
use stagewright_oci::{
    Descriptor, ImageConfig, ImageSelector, ImageSource, ImageSummary, LayerBlob, Platform,
    Reference,
};
use stagewright_plan::{ImageNeed, KnownImage};
use stagewright_snapshot::Snapshots;
use stagewright_store::{CompressedBlob, Layer, RESOLUTION_KIND, Store, TAG_KIND};

use crate::error::StepError;
use crate::event::EventKind;
use crate::follow::follow;
use crate::imported_cache::ImportedCache;
use crate::layer_import::{import, import_from, note_blob, pulled_blob};
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
    /// When it was given its name, in milliseconds since 1970.
    pub tagged_unix_ms: u64,
    /// The image, or that of the first platform.
    #[serde(flatten)]
    pub first: TaggedPlatform,
    /// Those of other platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<TaggedPlatform>,
}

/// The image of a platform that has a local name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedPlatform {
    /// Its config, a blob of the store.
    pub config: Digest,
    /// Its layers, from the bottom up.
    pub layers: Vec<LayerId>,
    /// What its owner keeps with it, and understands.
    pub details: serde_json::Value,
    /// Blobs that are kept with it: its attestations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
}

impl TaggedImage {
    /// Returns the images of all platforms.
    pub fn platforms(&self) -> impl Iterator<Item = &TaggedPlatform> {
        std::iter::once(&self.first).chain(&self.others)
    }
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
    Service(CacheService),
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "Registry({reference})"),
            Self::Disk(_) => f.write_str("Disk"),
            Self::Service(_) => f.write_str("Service"),
        }
    }
}

/// A layer that is not stored, and where it can be had.
pub(crate) struct MissingLayer {
    pub(crate) id: LayerId,
    pub(crate) descriptor: Descriptor,
    /// How the store calls the form in which it comes.
    pub(crate) codec: String,
    pub(crate) origin: Origin,
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
        for tagged in image.platforms() {
            let Some(config) = self.read_config(&tagged.config)? else {
                continue;
            };
            if platform.matches(&config.platform()) {
                return Ok(Some(KnownImage {
                    name: image.name.clone(),
                    manifest: None,
                    config,
                    layers: tagged.layers.clone(),
                }));
            }
        }
        Ok(None)
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
        let Some(layers) = self.learn_resolution(&resolution) else {
            return Ok(None);
        };
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

    /// Takes note of where the layers of an image are, and returns them; nothing for one whose name is none.
    fn learn_resolution(&self, resolution: &Resolution) -> Option<Vec<LayerId>> {
        let reference: Reference = resolution.name.parse().ok()?;
        let pinned = Origin::Registry(reference.with_digest(resolution.manifest));
        let mut origins = self.origins();
        let layers = resolution.layers.iter().map(|layer| {
            origins.insert(layer.diff_id, (layer.descriptor.clone(), pinned.clone()));
            LayerId::Pulled(layer.diff_id)
        });
        Some(layers.collect())
    }

    /// Returns where a layer can be had: as this build knows it, else as any build before resolved an
    /// image that has it.
    fn origin_of(&self, diff_id: &DiffId) -> Result<Option<(Descriptor, Origin)>, StepError> {
        if let Some(found) = self.origins().get(diff_id) {
            return Ok(Some(found.clone()));
        }
        for bytes in self.store.documents(RESOLUTION_KIND)? {
            let Ok(resolution) = serde_json::from_slice::<Resolution>(&bytes) else {
                continue;
            };
            if resolution
                .layers
                .iter()
                .any(|layer| layer.diff_id == *diff_id)
            {
                self.learn_resolution(&resolution);
            }
        }
        Ok(self.origins().get(diff_id).cloned())
    }

    fn origins(&self) -> std::sync::MutexGuard<'_, BTreeMap<DiffId, (Descriptor, Origin)>> {
        // The map is whole whatever happened to its last user.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the images of registries that some of these layers are known to be of.
    pub fn registry_origins(&self, layers: &[LayerId]) -> Vec<Reference> {
        let origins = self.origins();
        let mut found: Vec<Reference> = Vec::new();
        for layer in layers {
            if let LayerId::Pulled(diff_id) = layer
                && let Some((_, Origin::Registry(reference))) = origins.get(diff_id)
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
            if !self.is_usable(layer)? {
                missing.push(self.fetch_layer(*layer, reporter, event));
            }
        }
        for result in futures_util::future::join_all(missing).await {
            result?;
        }
        Ok(())
    }

    /// Says whether a layer is stored in any form that its files can be read from.
    fn is_usable(&self, layer: &LayerId) -> Result<bool, StepError> {
        let Some(stored) = self.store.layer(layer)? else {
            return Ok(false);
        };
        let as_files = stored.unpacked_path().or_else(|| stored.packed_path());
        Ok(as_files.is_some() || self.has_blob(&stored)?)
    }

    /// Says whether a layer of a base image has the blob in which it came.
    fn has_blob(&self, layer: &Layer) -> Result<bool, StepError> {
        for blob in &layer.record.compressed {
            if blob.codec == PULLED_CODEC && self.store.blob(&blob.digest)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns what the blob of a base image's layer is, in the form in which it comes; nothing where
    /// that is not known. Nothing is downloaded.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn base_blob(&self, layer: &LayerId) -> Result<Option<Descriptor>, StepError> {
        match layer {
            LayerId::Pulled(diff_id) => {
                Ok(self.origin_of(diff_id)?.map(|(descriptor, _)| descriptor))
            }
            LayerId::Made(_) => Ok(None),
        }
    }

    /// Returns the blob of a layer that comes with an imported cache; nothing of any other layer. Nothing is downloaded.
    pub fn imported_blob(&self, layer: &LayerId) -> Option<CompressedBlob> {
        let imported = self.cache.layer(layer)?;
        Some(CompressedBlob {
            codec: imported.codec.clone(),
            ..pulled_blob(&imported.descriptor)
        })
    }

    /// Sees to it that the blob of a layer of a base image or an imported cache is stored, and returns where: for who passes
    /// it on and needs none of its files.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn ensure_blob(
        &self,
        layer: &LayerId,
        reporter: &Reporter,
    ) -> Result<PathBuf, StepError> {
        let missing = self.find_layer(*layer)?;
        let digest = missing.descriptor.digest;
        if self.store.blob(&digest)?.is_none() {
            self.fetch_blob(&missing.descriptor, &missing.origin, reporter, 0)
                .await?;
        }
        let stored = self.store.blob(&digest)?;
        stored
            .map(|blob| blob.path)
            .ok_or_else(|| StepError::Internal(format!("blob {digest} is gone as soon as it came")))
    }

    /// Sees to it that a base image's layer that is stored has its blob: who stored it may have been
    /// killed before that was recorded. Nothing happens to one whose blob is not known.
    ///
    /// # Errors
    /// When the blob cannot be had.
    pub async fn ensure_form(&self, layer: &LayerId, reporter: &Reporter) -> Result<(), StepError> {
        let Some(stored) = self.store.layer(layer)? else {
            return Ok(());
        };
        if self.has_blob(&stored)? || self.base_blob(layer)?.is_none() {
            return Ok(());
        }
        self.ensure_blob(layer, reporter).await?;
        note_blob(&self.store, &self.find_layer(*layer)?)
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
            if let Origin::Registry(reference) = &missing.origin {
                let reference = reference.clone();
                return self
                    .fetch_and_import(missing, &reference, reporter, event)
                    .await;
            }
            self.fetch_blob(&missing.descriptor, &missing.origin, reporter, event)
                .await?;
        }
        let (store, snapshots) = (self.store.clone(), self.snapshots.clone());
        tokio::task::spawn_blocking(move || import(&store, &snapshots, &missing))
            .await
            .map_err(|join| StepError::Internal(join.to_string()))?
    }

    /// Downloads a layer and reads it while it comes. What it holds is checked against its own name, the
    /// blob against that of the blob.
    async fn fetch_and_import(
        &self,
        missing: MissingLayer,
        reference: &Reference,
        reporter: &Reporter,
        event: u64,
    ) -> Result<(), StepError> {
        let missing = Arc::new(missing);
        let mut imports = Vec::new();
        let open = || {
            let writer = self.store.blob_writer().map_err(io::Error::other)?;
            let (followed, follower) = follow(writer)?;
            let (missing, snapshots) = (Arc::clone(&missing), self.snapshots.clone());
            imports.push(tokio::task::spawn_blocking(move || {
                import_from(&snapshots, &missing, || {
                    Ok(Box::new(BufReader::with_capacity(1 << 17, follower)))
                })
            }));
            Ok(followed)
        };
        let progress = progress(reporter, event, &missing.descriptor);
        let fetched = self
            .client
            .fetch_blob(reference, &missing.descriptor, open, &progress)
            .await;
        // Those that followed a download that was given up end with it.
        let written =
            fetched.map(|followed| followed.finish().commit(Some(&missing.descriptor.digest)));
        let mut imported = Ok(());
        for import in imports {
            imported = import
                .await
                .map_err(|join| StepError::Internal(join.to_string()))?;
        }
        written.map_err(|error| StepError::Image {
            message: error.to_string(),
            registry: true,
        })??;
        imported?;
        note_blob(&self.store, &missing)
    }

    /// Finds out where a layer can be had.
    fn find_layer(&self, id: LayerId) -> Result<MissingLayer, StepError> {
        let unknown = |message| StepError::Image {
            message,
            registry: false,
        };
        match id {
            LayerId::Pulled(diff_id) => {
                let (descriptor, origin) = self.origin_of(&diff_id)?.ok_or_else(|| {
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
                let progress = progress(reporter, event, descriptor);
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
            Origin::Service(service) => {
                let progress = progress(reporter, event, descriptor);
                let open = || self.store.blob_writer().map_err(std::io::Error::other);
                service
                    .fetch_blob(descriptor, open, &progress)
                    .await
                    .map_err(|error| image_error(error.to_string(), true))?
            }
        };
        writer.commit(Some(&descriptor.digest))?;
        Ok(())
    }
}

/// Tells of the bytes of a download.
fn progress<'a>(
    reporter: &'a Reporter,
    event: u64,
    descriptor: &'a Descriptor,
) -> impl Fn(u64) + Send + Sync + 'a {
    move |bytes| {
        reporter.send(EventKind::Progress {
            vertex: event,
            label: descriptor.digest.to_string(),
            current_bytes: bytes,
            total_bytes: Some(descriptor.size),
        });
    }
}

/// Makes a layer of a base image, of a blob that is stored; `origin` is what its image is called.
///
/// # Errors
/// When the blob is not what the layer's name says; a damaged one is set aside.
pub fn adopt_layer(
    store: &Store,
    snapshots: &Snapshots,
    layer: &LayerBlob,
    origin: &Reference,
) -> Result<(), StepError> {
    let missing = MissingLayer {
        id: LayerId::Pulled(layer.diff_id),
        descriptor: layer.descriptor.clone(),
        codec: PULLED_CODEC.to_owned(),
        origin: Origin::Registry(origin.clone()),
    };
    import(store, snapshots, &missing)
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

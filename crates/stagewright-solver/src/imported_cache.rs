//! A cache that was exported elsewhere: its results are looked up after the store's.
//!
//! Nothing of it but the document is downloaded before a step, or the image, needs a layer. A layer
//! that cannot be had then is lost: the build begins anew, without the results that made it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stagewright_digest::{ActionKey, LayerId};
use stagewright_fetch::{CacheService, RegistryClient};
use stagewright_oci::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageLayout, ImageSelector, ImageSource as _, Manifest,
    Platform, Reference,
};
use stagewright_store::{ActionResult, Store, StoreError};

use crate::cache_document::{CACHE_CONFIG_TYPE, CacheDocument, CachedResult, INLINE_CACHE_FIELD};
use crate::images::Origin;

const NO_CACHE: &str = "it holds no cache that stagewright exported";

/// Where a cache is imported from.
#[derive(Debug, Clone)]
pub enum CacheSource {
    /// A cache in a registry, or an image that carries one.
    Registry(Reference),
    /// A cache in an image layout on disk.
    Layout {
        /// The folder.
        path: std::path::PathBuf,
        /// Which of those that are there.
        selector: ImageSelector,
    },
    /// A cache in a service that keeps blobs.
    Service(CacheService),
}

/// Results of other machines, from any number of places.
#[derive(Debug, Default)]
pub struct ImportedCache {
    /// When a result was made at the earliest that is young enough.
    oldest_unix_ms: u64,
    results: Vec<CachedResult>,
    by_key: HashMap<ActionKey, usize>,
    layers: HashMap<LayerId, ImportedLayer>,
    /// What cache mounts held, by their ids.
    mounts: BTreeMap<String, LayerId>,
    /// Layers that could not be had when they were needed.
    lost: Mutex<BTreeSet<LayerId>>,
}

/// A layer that comes with an imported cache.
#[derive(Debug, Clone)]
pub(crate) struct ImportedLayer {
    pub(crate) descriptor: Descriptor,
    pub(crate) codec: String,
    pub(crate) origin: Origin,
}

impl ImportedCache {
    /// Returns one that holds nothing yet. Of results with the same key the first that is added counts, but for one that was
    /// made before this time, in milliseconds since 1970, where there is one that was not.
    pub fn since(oldest_unix_ms: u64) -> Self {
        Self {
            oldest_unix_ms,
            ..Self::default()
        }
    }

    /// Adds what a place holds, cache mounts only if they are asked for, and returns how many results that are.
    ///
    /// # Errors
    /// When it cannot be reached or holds no cache, as a message for people.
    pub async fn add(
        &mut self,
        source: &CacheSource,
        mounts: bool,
        client: &RegistryClient,
        platform: &Platform,
    ) -> Result<usize, String> {
        let (manifest, config, origin) = match source {
            CacheSource::Registry(reference) => {
                let found = client
                    .find_manifest(reference, platform)
                    .await
                    .map_err(|error| error.to_string())?;
                let pinned = reference.with_digest(found.descriptor.digest);
                let config = client
                    .fetch_bytes(&pinned, &found.manifest.config, CONFIG_BYTES_MAX)
                    .await
                    .map_err(|error| error.to_string())?;
                (found.manifest, config, Origin::Registry(pinned))
            }
            CacheSource::Layout { path, selector } => {
                let layout = ImageLayout::open(path.clone()).map_err(|error| error.to_string())?;
                let (manifest, config) = layout
                    .manifest(selector, platform)
                    .map_err(|error| error.to_string())?;
                (manifest, config, Origin::Disk(Arc::new(layout)))
            }
            CacheSource::Service(service) => {
                let (manifest, config) = of_service(service).await?;
                (manifest, config, Origin::Service(service.clone()))
            }
        };
        let mut document = read(&manifest, &config)?;
        if !mounts {
            document.mounts.clear();
        }
        let count = document.results.len();
        self.insert(document, &manifest, &origin);
        Ok(count)
    }

    fn insert(&mut self, document: CacheDocument, manifest: &Manifest, origin: &Origin) {
        for layer in document.layers {
            let blob = manifest
                .layers
                .iter()
                .find(|blob| blob.digest == layer.blob);
            // Only what a step made has a name that can be checked against what comes.
            if let (Some(blob), LayerId::Made(_)) = (blob, layer.id) {
                let imported = ImportedLayer {
                    descriptor: blob.clone(),
                    codec: layer.codec,
                    origin: origin.clone(),
                };
                self.layers.entry(layer.id).or_insert(imported);
            }
        }
        for mount in document.mounts {
            if self.layers.contains_key(&mount.layer) {
                self.mounts.entry(mount.id).or_insert(mount.layer);
            }
        }
        for result in document.results {
            if matches!(result.layer, Some(LayerId::Pulled(_))) {
                continue;
            }
            let place = self.results.len();
            let is_old =
                |result: &CachedResult| action_result(result).is_before(self.oldest_unix_ms);
            for key in &result.keys {
                let first = self.by_key.get(key).map(|place| &self.results[*place]);
                if first.is_none_or(|first| is_old(first) && !is_old(&result)) {
                    self.by_key.insert(*key, place);
                }
            }
            self.results.push(result);
        }
    }

    /// Finds the result of an action. The layer that it names may have to be downloaded.
    pub(crate) fn find(&self, key: &ActionKey) -> Option<ActionResult> {
        let result = self.result(key)?;
        let lost = result
            .layer
            .is_some_and(|layer| self.lost().contains(&layer));
        (!lost).then(|| action_result(result))
    }

    /// Returns what is said of an action, whether or not its layer can be had.
    pub(crate) fn result(&self, key: &ActionKey) -> Option<&CachedResult> {
        self.by_key.get(key).map(|place| &self.results[*place])
    }

    pub(crate) fn layer(&self, id: &LayerId) -> Option<&ImportedLayer> {
        self.layers.get(id)
    }

    /// Returns what a cache mount held.
    pub(crate) fn mount(&self, id: &str) -> Option<LayerId> {
        self.mounts.get(id).copied()
    }

    pub(crate) fn mount_ids(&self) -> impl Iterator<Item = &String> {
        self.mounts.keys()
    }

    /// Records a result in the store if all of it is there, in place of one that was made before the `oldest` that will do.
    pub(crate) fn adopt(
        &self,
        key: &ActionKey,
        store: &Store,
        oldest_unix_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(result) = self.result(key) else {
            return Ok(());
        };
        if let Some(layer) = &result.layer
            && store.layer(layer)?.is_none()
        {
            return Ok(());
        }
        record(store, result, oldest_unix_ms)
    }

    /// Records the results that made a layer, which has come.
    pub(crate) fn adopt_layer(&self, layer: &LayerId, store: &Store) -> Result<(), StoreError> {
        self.results
            .iter()
            .filter(|result| result.layer.as_ref() == Some(layer))
            .try_for_each(|result| record(store, result, 0))
    }

    /// Says whether a result is known that made a layer.
    pub(crate) fn names(&self, layer: &LayerId) -> bool {
        self.results
            .iter()
            .any(|result| result.layer.as_ref() == Some(layer))
    }

    /// Remembers that a layer cannot be had. Only one that results of this cache name is lost.
    pub(crate) fn lose(&self, layer: LayerId) {
        if self.names(&layer) {
            self.lost().insert(layer);
        }
    }

    /// Returns how many layers were needed and could not be had.
    pub fn lost_layers(&self) -> usize {
        self.lost().len()
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<LayerId>> {
        // The set is whole whatever happened to its last user.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the manifest and the config of a cache in a service.
async fn of_service(service: &CacheService) -> Result<(Manifest, Vec<u8>), String> {
    let bytes = service
        .fetch_manifest()
        .await
        .map_err(|error| error.to_string())?;
    let manifest = match Document::parse(&bytes, None) {
        Ok(Document::Manifest(manifest)) => *manifest,
        Ok(Document::Index(_)) => return Err("it is an index and no cache".to_owned()),
        Err(error) => return Err(format!("{NO_CACHE}: {error}")),
    };
    if manifest.config.size > CONFIG_BYTES_MAX {
        return Err(format!("its config has {} bytes", manifest.config.size));
    }
    let config = service
        .fetch_blob(&manifest.config, || Ok(Vec::new()), &|_| {})
        .await
        .map_err(|error| error.to_string())?;
    Ok((manifest, config))
}

fn action_result(result: &CachedResult) -> ActionResult {
    ActionResult {
        layer: result.layer,
        created_unix_ms: result.created_unix_ms,
        made_unix_ms: result.made_unix_ms,
        ..ActionResult::default()
    }
}

/// Records a result under each of its keys for which the store has none that is young enough.
fn record(store: &Store, result: &CachedResult, oldest_unix_ms: u64) -> Result<(), StoreError> {
    let result_here = action_result(result);
    for key in &result.keys {
        let known = store.action(key)?;
        let is_needed = known.is_none_or(|known| {
            known.is_before(oldest_unix_ms) && !result_here.is_before(oldest_unix_ms)
        });
        if is_needed {
            store.record_action(key, &result_here)?;
        }
    }
    Ok(())
}

/// Reads the document out of the config of a manifest.
fn read(manifest: &Manifest, config: &[u8]) -> Result<CacheDocument, String> {
    if manifest.config.media_type == CACHE_CONFIG_TYPE {
        return CacheDocument::parse(config);
    }
    let mut image: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(config)
        .map_err(|error| format!("its config is damaged: {error}"))?;
    match image.remove(INLINE_CACHE_FIELD) {
        Some(field) => CacheDocument::parse(field.to_string().as_bytes()),
        None => Err(NO_CACHE.to_owned()),
    }
}

//! The cache of one machine for another: exported to a registry or a folder, and imported.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use stagewright_digest::LayerId;
use stagewright_fetch::{
    CacheService, PushOptions, RegistryClient, RegistryOptions, ServiceEnvironment, ServicePlace,
};
use stagewright_oci::{
    BlobPlacement, ImageLayout, ImageSelector, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, Platform, Reference,
};
use stagewright_solver::{
    CACHE_CONFIG_TYPE, CacheDocument, CacheSource, CachedLayer, CachedMount, CachedResult,
    ImportedCache, Reporter, Services,
};

use crate::error::{Error, ErrorKind};
use crate::export::{Compression, Export};
use crate::failure;
use crate::image::{Image, parse_name};
use crate::outgoing::OutgoingLayer;
use crate::push::{PushEvents, progress, push_each};
use crate::request::BuildRequest;
use crate::write::{Exported, export_error};

/// The tag of a cache in a folder that is not given another.
pub(crate) const DEFAULT_TAG: &str = "latest";
/// The repository that the tags of a cache in a folder are written for.
const LOCAL_REPOSITORY: &str = "cache";

/// Where a cache is imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheFrom {
    /// A cache in a registry, or an image that was exported with
    /// [`Export::inline_cache`](crate::Export::inline_cache).
    Registry {
        /// Its reference.
        reference: String,
        /// Plain HTTP and untrusted certificates will do.
        insecure: bool,
    },
    /// A cache in a folder.
    Local {
        /// The folder.
        path: PathBuf,
        /// Its tag, or its digest; the tag `latest` if absent.
        name: Option<String>,
    },
    /// A cache in a service.
    Service(Box<ServicePlace>),
}

/// How and where to a cache is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTo {
    /// Where to.
    pub place: CachePlace,
    /// Which layers go with it.
    pub mode: CacheMode,
    /// How they are compressed.
    pub compression: Compression,
    /// How hard, as [`Export::compression_level`].
    pub compression_level: Option<i32>,
    /// What the cache mounts of the steps hold goes with it, as layers.
    pub mounts: bool,
    /// A build whose cache cannot be exported is a success all the same: for the caller of
    /// [`export_cache`], which fails in any case.
    pub ignore_error: bool,
}

/// Where a cache is exported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// The image itself ([`Export::inline_cache`]), when it is exported.
    Inline,
    /// A registry.
    Registry {
        /// The reference: `host/name[:tag]`.
        reference: String,
        /// Plain HTTP and untrusted certificates will do.
        insecure: bool,
    },
    /// A folder, which is made if it is not there. It is an OCI image layout; caches of other tags in
    /// it stay.
    Local {
        /// The folder.
        path: PathBuf,
        /// The tag; `latest` if absent.
        tag: Option<String>,
    },
    /// A service.
    Service(Box<ServicePlace>),
}

/// Which layers an exported cache holds. The names of all results are in it in any case, so that a build
/// of which nothing changed needs no more than the layers of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// The layers of the image.
    #[default]
    Min,
    /// The layers of all stages: one that changed builds on those before it.
    Max,
}

impl CacheFrom {
    /// Returns the registry that is reached without checking who it is.
    pub(crate) fn insecure_host(&self) -> Option<String> {
        match self {
            Self::Registry {
                reference,
                insecure: true,
            } => {
                let reference = Reference::from_str(reference).ok()?;
                Some(reference.registry().to_owned())
            }
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Registry { reference, .. } => reference.clone(),
            Self::Local { path, .. } => path.display().to_string(),
            Self::Service(place) => place.shown(),
        }
    }

    fn source(
        &self,
        environment: &ServiceEnvironment,
        registries: &RegistryOptions,
    ) -> Result<CacheSource, String> {
        match self {
            Self::Registry { reference, .. } => {
                let reference =
                    Reference::from_str(reference).map_err(|error| error.to_string())?;
                Ok(CacheSource::Registry(reference))
            }
            Self::Local { path, name } => {
                let name = name.as_deref().unwrap_or(DEFAULT_TAG);
                let selector = match name.parse() {
                    Ok(digest) => ImageSelector::Digest(digest),
                    Err(_) => ImageSelector::Name(name.to_owned()),
                };
                Ok(CacheSource::Layout {
                    path: path.clone(),
                    selector,
                })
            }
            Self::Service(place) => {
                let service = CacheService::open(place, environment, registries.network.clone());
                service
                    .map(CacheSource::Service)
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// Reads the caches that a request names. One that is not there yet is no reason not to build.
pub(crate) async fn import(
    request: &BuildRequest,
    registries: RegistryOptions,
    environment: &ServiceEnvironment,
    platform: &Platform,
    reporter: &Reporter,
) -> Arc<ImportedCache> {
    let mut cache = ImportedCache::default();
    let client = RegistryClient::new(registries.clone());
    for from in &request.cache_from {
        let shown = from.shown();
        let event = reporter.start_internal(&format!("importing cache manifest from {shown}"));
        let added = match from.source(environment, &registries) {
            Ok(source) => cache.add(&source, &client, platform).await,
            Err(message) => Err(message),
        };
        if let Err(message) = &added {
            reporter.warn(format!("the cache {shown} is not used: {message}"));
        }
        // The build goes on, so that nothing has failed.
        reporter.finish_internal(event, &Ok::<_, String>(()));
    }
    Arc::new(cache)
}

/// Exports what a build used and made as a cache for other machines; of several platforms, as one. Blocks.
///
/// # Errors
/// [`ErrorKind::Request`] for a reference that is none, or an image that was not built just now;
/// [`ErrorKind::Registry`] or [`ErrorKind::Export`] when the place cannot be written.
pub fn export_cache(
    images: &[&Image],
    to: &CacheTo,
    events: PushEvents,
) -> Result<Exported, Error> {
    let Some(first) = images.first() else {
        return Err(Error::new(
            ErrorKind::Request,
            "there is no image to export",
        ));
    };
    let name = match &to.place {
        CachePlace::Inline => {
            let message =
                "an inline cache is part of the image: export the image with inline_cache";
            return Err(Error::new(ErrorKind::Request, message));
        }
        CachePlace::Registry { reference, .. } => reference.clone(),
        CachePlace::Local { tag, .. } => {
            let tag = tag.as_deref().unwrap_or(DEFAULT_TAG);
            format!("{LOCAL_REPOSITORY}:{tag}")
        }
        // It has names of its own.
        CachePlace::Service(_) => format!("{LOCAL_REPOSITORY}:{DEFAULT_TAG}"),
    };
    let name = parse_name(&name)?;
    let reporter = Reporter::new(events);
    let event = reporter.start_internal("preparing build cache for export");
    let prepared = outgoing_cache(images, to, name);
    reporter.finish_internal(event, &prepared);
    let cache = prepared?;
    match &to.place {
        CachePlace::Registry { insecure, .. } => {
            let builder = first.builder();
            let mut options = builder.inner().registries.clone();
            if *insecure {
                let hosts = cache.names.iter().map(|name| name.registry().to_owned());
                options.insecure.extend(hosts);
            }
            let push = PushOptions {
                mount_from: Vec::new(),
                by_digest: false,
            };
            let client = RegistryClient::new(options);
            builder
                .runtime()?
                .block_on(push_each(&client, &cache, &push, &reporter))?;
        }
        CachePlace::Inline => {}
        CachePlace::Local { path, .. } => {
            let shown = path.display();
            let event = reporter.start_internal(&format!("exporting cache to {shown}"));
            let written = ImageLayout::write(path, &cache, BlobPlacement::Copy)
                .map_err(|error| export_error(&error));
            reporter.finish_internal(event, &written);
            written?;
        }
        CachePlace::Service(place) => export_to_service(first, place, &cache, &reporter)?,
    }
    Ok(Exported::of(&cache))
}

fn export_to_service(
    image: &Image,
    place: &ServicePlace,
    cache: &OutgoingImage,
    reporter: &Reporter,
) -> Result<(), Error> {
    let builder = image.builder();
    let inner = builder.inner();
    let event = reporter.start_internal(&format!("exporting cache to {}", place.shown()));
    let written = CacheService::open(place, &inner.services, inner.registries.network.clone())
        .map_err(|error| Error::new(ErrorKind::Request, error.to_string()))
        .and_then(|service| {
            let pushed = service.push(cache, progress(reporter.clone(), event));
            let pushed = builder.runtime()?.block_on(pushed);
            pushed.map_err(|error| Error::new(ErrorKind::Export, error.to_string()))
        });
    reporter.finish_internal(event, &written);
    written
}

/// Makes the artifact: a manifest whose config is the document and whose layers are those of the cache.
fn outgoing_cache(
    images: &[&Image],
    to: &CacheTo,
    name: Reference,
) -> Result<OutgoingImage, Error> {
    let export = Export {
        compression: to.compression,
        compression_level: to.compression_level,
        ..Export::default()
    };
    let mut results = BTreeSet::new();
    let mut known = BTreeSet::new();
    let (mut layers, mut blobs) = (Vec::new(), Vec::new());
    for image in images {
        let used = image.used_results()?;
        for id in wanted_layers(image, &used, to.mode) {
            if !known.insert(id) {
                continue;
            }
            // A layer of an imported cache that no step needed, and that is not to be had any more.
            if image.ensure_layer(&id).is_err() {
                continue;
            }
            let layer = image.layer_blob(&id, &export, false)?;
            layers.push(cached(&layer));
            blobs.push(layer.blob);
        }
        results.extend(used);
    }
    let mut mounts = Vec::new();
    if to.mounts {
        for image in images {
            for mount in image.used_mounts()? {
                // Platforms share them. One of an imported cache may not be to be had any more.
                if mounts
                    .iter()
                    .any(|known: &CachedMount| known.id == mount.id)
                    || image.ensure_layer(&mount.layer).is_err()
                {
                    continue;
                }
                if known.insert(mount.layer) {
                    let layer = image.layer_blob(&mount.layer, &export, false)?;
                    layers.push(cached(&layer));
                    blobs.push(layer.blob);
                }
                mounts.push(mount);
            }
        }
    }
    let mut document = CacheDocument::new(results.into_iter().collect(), layers);
    document.mounts = mounts;
    let config = OutgoingBlob::bytes(CACHE_CONFIG_TYPE, document.encode());
    let manifest = Manifest::oci(
        config.descriptor.clone(),
        blobs.iter().map(|blob| blob.descriptor.clone()).collect(),
    );
    blobs.insert(0, config);
    let artifact = OutgoingPlatform {
        platform: None,
        ..OutgoingPlatform::new(Platform::host(), manifest, blobs)
    };
    Ok(OutgoingImage::single(artifact, vec![name]))
}

/// Returns the layers that go with a cache.
fn wanted_layers(image: &Image, used: &[CachedResult], mode: CacheMode) -> Vec<LayerId> {
    let of_results = used.iter().filter_map(|result| result.layer);
    of_results
        .filter(|id| matches!(id, LayerId::Made(_)))
        .filter(|id| mode == CacheMode::Max || image.layer_ids().contains(id))
        .collect()
}

fn cached(layer: &OutgoingLayer) -> CachedLayer {
    CachedLayer {
        id: layer.id,
        codec: layer.codec.clone(),
        blob: layer.blob.descriptor.digest,
    }
}

impl Image {
    /// Exports what the build of this image used and made as a cache for other machines. Blocks.
    ///
    /// # Errors
    /// As [`export_cache`].
    pub fn export_cache(&self, to: &CacheTo, events: PushEvents) -> Result<Exported, Error> {
        export_cache(&[self], to, events)
    }

    /// Returns the results that the build of this image used.
    pub(crate) fn used_results(&self) -> Result<Vec<CachedResult>, Error> {
        self.built_with()?.used_results().map_err(failure::of_step)
    }

    /// Returns what the cache mounts of its steps hold.
    fn used_mounts(&self) -> Result<Vec<CachedMount>, Error> {
        self.built_with()?.used_mounts().map_err(failure::of_step)
    }

    fn built_with(&self) -> Result<&Arc<Services>, Error> {
        self.services().ok_or_else(|| {
            let message = "only an image that was just built knows its cache: build it, and export the cache then";
            Error::new(ErrorKind::Request, message)
        })
    }

    /// Returns the field of the image's config that makes a cache of the image itself.
    pub(crate) fn inline_cache(
        &self,
        layers: &[OutgoingLayer],
    ) -> Result<serde_json::Value, Error> {
        let made = layers
            .iter()
            .filter(|layer| matches!(layer.id, LayerId::Made(_)));
        let layers = made.map(cached).collect();
        let document = CacheDocument::new(self.used_results()?, layers);
        serde_json::to_value(document)
            .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
    }
}

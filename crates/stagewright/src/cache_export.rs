//! Exporting what a build used and made as a cache for other machines.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stagewright_digest::LayerId;
use stagewright_fetch::{CacheService, PushOptions, RegistryClient, ServicePlace};
use stagewright_oci::{
    BlobContent, BlobPlacement, ImageLayout, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, Platform, Reference,
};
use stagewright_solver::{
    CACHE_CONFIG_TYPE, CacheDocument, CachedLayer, CachedMount, CachedResult, Reporter, Services,
};

use crate::builder::Builder;
use crate::cache_transfer::{CacheMode, CachePlace, CacheTo, DEFAULT_TAG};
use crate::error::{Error, ErrorKind};
use crate::export::Export;
use crate::failure;
use crate::image::{Image, parse_name};
use crate::outgoing::OutgoingLayer;
use crate::push::{PushEvents, progress, push_each};
use crate::write::{Exported, export_error};

/// The repository that the tags of a cache in a folder are written for.
const LOCAL_REPOSITORY: &str = "cache";

impl CacheTo {
    /// Checks that all is there that it takes to ask the service of a cache, if it is kept in one. Nothing is asked: this is for
    /// who exports after a build that takes long.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] that says what is missing or wrong.
    pub fn check(&self, builder: &Builder) -> Result<(), Error> {
        match &self.place {
            CachePlace::Service(place) => service_of(builder, place).map(drop),
            _ => Ok(()),
        }
    }
}

fn service_of(builder: &Builder, place: &ServicePlace) -> Result<CacheService, Error> {
    let inner = builder.inner();
    let network = inner.registries.network.clone();
    CacheService::open(place, &inner.services, network)
        .map_err(|error| Error::new(ErrorKind::Request, error.to_string()))
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
    let mut mounts = Vec::new();
    if to.mounts {
        let event = reporter.start_internal("reading cache mounts");
        let read = images
            .iter()
            .try_for_each(|image| image.used_mounts(&mut mounts, &reporter));
        reporter.finish_internal(event, &read);
        read?;
    }
    let exporter = Exporter {
        first,
        images,
        to,
        mounts,
        name,
        reporter,
    };
    let lost = Arc::new(AtomicBool::new(false));
    let exported = exporter.export(&HandOn::Unread { lost: lost.clone() });
    if exported.is_err() && lost.load(Ordering::Relaxed) {
        return exporter.export(&HandOn::Downloaded);
    }
    exported
}

/// How layers of imported caches are handed on that no step needed.
enum HandOn {
    /// They are downloaded when the place turns out not to have them. If that fails, so does the export, and `lost` is set.
    Unread { lost: Arc<AtomicBool> },
    /// They are downloaded before, and those that cannot be had are left out.
    Downloaded,
}

struct Exporter<'a> {
    first: &'a Image,
    images: &'a [&'a Image],
    to: &'a CacheTo,
    /// What cache mounts hold.
    mounts: Vec<CachedMount>,
    name: Reference,
    reporter: Reporter,
}

impl Exporter<'_> {
    fn export(&self, hand_on: &HandOn) -> Result<Exported, Error> {
        let event = self
            .reporter
            .start_internal("preparing build cache for export");
        let prepared = self.outgoing(hand_on);
        self.reporter.finish_internal(event, &prepared);
        let cache = prepared?;
        match &self.to.place {
            CachePlace::Registry { insecure, .. } => self.push(&cache, *insecure)?,
            CachePlace::Inline => {}
            CachePlace::Local { path, .. } => self.write(&cache, path)?,
            CachePlace::Service(place) => self.keep(&cache, place)?,
        }
        Ok(Exported::of(&cache))
    }

    fn push(&self, cache: &OutgoingImage, insecure: bool) -> Result<(), Error> {
        let builder = self.first.builder();
        let mut options = builder.inner().registries.clone();
        if insecure {
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
            .block_on(push_each(&client, cache, &push, &self.reporter))
    }

    fn write(&self, cache: &OutgoingImage, path: &Path) -> Result<(), Error> {
        let shown = path.display();
        let event = self
            .reporter
            .start_internal(&format!("exporting cache to {shown}"));
        let written = ImageLayout::write(path, cache, BlobPlacement::Copy)
            .map_err(|error| export_error(&error));
        self.reporter.finish_internal(event, &written);
        written.map(drop)
    }

    fn keep(&self, cache: &OutgoingImage, place: &ServicePlace) -> Result<(), Error> {
        let builder = self.first.builder();
        let shown = place.shown();
        let event = self
            .reporter
            .start_internal(&format!("exporting cache to {shown}"));
        let written = service_of(builder, place).and_then(|service| {
            let pushed = service.push(cache, progress(self.reporter.clone(), event));
            let pushed = builder.runtime()?.block_on(pushed);
            pushed.map_err(|error| Error::new(ErrorKind::Export, error.to_string()))
        });
        self.reporter.finish_internal(event, &written);
        written
    }

    /// Makes the artifact: a manifest whose config is the document and whose layers are those of the cache.
    fn outgoing(&self, hand_on: &HandOn) -> Result<OutgoingImage, Error> {
        let mut results = BTreeSet::new();
        let mut mounts: Vec<CachedMount> = Vec::new();
        let mut layers = Layers::default();
        for image in self.images {
            let used = image.used_results()?;
            for id in wanted_layers(image, &used, self.to.mode) {
                self.add(&mut layers, image, id, hand_on)?;
            }
            results.extend(used);
        }
        for mount in &self.mounts {
            if self.add(&mut layers, self.first, mount.layer, hand_on)? {
                mounts.push(mount.clone());
            }
        }
        let mut document = CacheDocument::new(results.into_iter().collect(), layers.cached);
        document.mounts = mounts;
        let config = OutgoingBlob::bytes(CACHE_CONFIG_TYPE, document.encode());
        let manifest = Manifest::oci(
            config.descriptor.clone(),
            layers
                .blobs
                .iter()
                .map(|blob| blob.descriptor.clone())
                .collect(),
        );
        layers.blobs.insert(0, config);
        let artifact = OutgoingPlatform {
            platform: None,
            ..OutgoingPlatform::new(Platform::host(), manifest, layers.blobs)
        };
        Ok(OutgoingImage::single(artifact, vec![self.name.clone()]))
    }

    /// Adds a layer, and says whether it is there: one of an imported cache that no step needed may not be to be had any
    /// more.
    fn add(
        &self,
        layers: &mut Layers,
        image: &Image,
        id: LayerId,
        hand_on: &HandOn,
    ) -> Result<bool, Error> {
        if layers.known.contains(&id) {
            return Ok(true);
        }
        let export = Export {
            compression: self.to.compression,
            compression_level: self.to.compression_level,
            ..Export::default()
        };
        let unread = match hand_on {
            // One of a form that nobody knows is one that cannot be had.
            HandOn::Unread { lost } => image
                .unread_blob(&id, &export, false)
                .unwrap_or(None)
                .map(|layer| telling(layer, lost)),
            HandOn::Downloaded => None,
        };
        let layer = match unread {
            Some(layer) => layer,
            None if image.ensure_layer(&id).is_err() => return Ok(false),
            None => image.layer_blob(&id, &export, false)?,
        };
        layers.known.insert(id);
        layers.cached.push(cached(&layer));
        layers.blobs.push(layer.blob);
        Ok(true)
    }
}

/// Has a layer that is not there say so when it cannot be had.
fn telling(mut layer: OutgoingLayer, lost: &Arc<AtomicBool>) -> OutgoingLayer {
    if let BlobContent::Stream(open) = layer.blob.content {
        let lost = Arc::clone(lost);
        layer.blob.content = BlobContent::Stream(Arc::new(move || {
            open().inspect_err(|_| lost.store(true, Ordering::Relaxed))
        }));
    }
    layer
}

/// The layers of a cache.
#[derive(Default)]
struct Layers {
    known: BTreeSet<LayerId>,
    cached: Vec<CachedLayer>,
    blobs: Vec<OutgoingBlob>,
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

    /// Adds what the cache mounts of its steps hold.
    fn used_mounts(&self, known: &mut Vec<CachedMount>, reporter: &Reporter) -> Result<(), Error> {
        self.built_with()?
            .used_mounts(known, reporter)
            .map_err(failure::of_step)
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

//! The cache of one machine for another: where it is exported to, and imported from.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use stagewright_fetch::{
    CacheService, RegistryClient, RegistryOptions, ServiceEnvironment, ServicePlace,
};
use stagewright_oci::{ImageSelector, Platform, Reference};
use stagewright_solver::{CacheSource, ImportedCache, Reporter};

use crate::export::Compression;
use crate::request::BuildRequest;

/// The tag of a cache in a folder that is not given another.
pub(crate) const DEFAULT_TAG: &str = "latest";

/// What is imported of a cache, and where from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFrom {
    /// Where from.
    pub origin: CacheOrigin,
    /// Cache mounts that the store does not have start as what the cache says that they held: other builds that use the
    /// store find them then, too.
    pub mounts: bool,
}

/// Where a cache is imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheOrigin {
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
    /// How hard, as [`Export::compression_level`](crate::Export::compression_level).
    pub compression_level: Option<i32>,
    /// What the cache mounts of the steps hold goes with it, as layers.
    pub mounts: bool,
    /// A build whose cache cannot be exported is a success all the same: for the caller of
    /// [`export_cache`](crate::export_cache), which fails in any case.
    pub ignore_error: bool,
}

/// Where a cache is exported to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// The image itself ([`Export::inline_cache`](crate::Export::inline_cache)), when it is exported.
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
        match &self.origin {
            CacheOrigin::Registry {
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
        match &self.origin {
            CacheOrigin::Registry { reference, .. } => reference.clone(),
            CacheOrigin::Local { path, .. } => path.display().to_string(),
            CacheOrigin::Service(place) => place.shown(),
        }
    }

    fn source(
        &self,
        environment: &ServiceEnvironment,
        registries: &RegistryOptions,
    ) -> Result<CacheSource, String> {
        match &self.origin {
            CacheOrigin::Registry { reference, .. } => {
                let reference =
                    Reference::from_str(reference).map_err(|error| error.to_string())?;
                Ok(CacheSource::Registry(reference))
            }
            CacheOrigin::Local { path, name } => {
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
            CacheOrigin::Service(place) => {
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
    oldest_unix_ms: u64,
) -> Arc<ImportedCache> {
    let mut cache = ImportedCache::since(oldest_unix_ms);
    let client = RegistryClient::new(registries.clone());
    for from in &request.cache_from {
        let shown = from.shown();
        let event = reporter.start_internal(&format!("importing cache manifest from {shown}"));
        let added = match from.source(environment, &registries) {
            Ok(source) => cache.add(&source, from.mounts, &client, platform).await,
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

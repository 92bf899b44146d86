//! Registries, HTTP, git and services that keep caches: the only network code.
//!
//! [`RegistryClient`] resolves a reference to an image without fetching a layer, and fetches blobs
//! one by one, checked and resumed; [`CacheService`] does so with the blobs of a cache. What they may
//! depend on is in [`RegistryOptions`] and [`ServiceEnvironment`]: nothing here reads the environment,
//! and nothing is shared by a whole process.
//!
//! ```no_run
//! use stagewright_fetch::{MirrorArgument, RegistryClient, RegistryOptions};
//! use stagewright_oci::Platform;
//!
//! # async fn pull() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = RegistryOptions::default();
//! let mirror: MirrorArgument = "docker.io=127.0.0.1:5000".parse()?;
//! options.registries.add_mirror(&mirror.registry, mirror.mirror);
//! let client = RegistryClient::new(options);
//! let image = client.resolve(&"alpine:3.10".parse()?, &Platform::host()).await?;
//! for layer in &image.summary.layers {
//!     let open = || Ok(Vec::new());
//!     let bytes = client.fetch_blob(&image.reference, &layer.descriptor, open, &|_| {}).await?;
//!     assert_eq!(bytes.len() as u64, layer.descriptor.size);
//! }
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod answer;
mod blob_download;
mod blob_upload;
mod challenge;
mod credentials;
mod endpoint;
mod error;
mod git;
mod git_url;
mod http_date;
mod http_fetch;
mod options;
mod push;
mod reader_body;
mod registries_conf;
mod registry_auth;
mod registry_call;
mod registry_client;
mod registry_files;
mod retry;
mod services;
mod target;
mod tls;
mod transport;

pub use blob_download::Progress;
pub use blob_upload::{PushEvent, PushProgress};
pub use credentials::{Credential, CredentialError, CredentialFile, Credentials};
pub use error::FetchError;
pub use git::{GitCommit, GitError, GitOptions, checkout_git, git_commit_time, resolve_git};
pub use git_url::{GitUrl, InvalidGitUrl};
pub use http_fetch::{HttpAnswer, HttpClient, HttpError, HttpFile, HttpRequest, HttpVersion};
pub use options::{NetworkOptions, ProxyOptions, RegistryOptions, RetryOptions};
pub use push::PushOptions;
pub use registries_conf::{
    Mirror, MirrorArgument, MirrorPull, RegistriesConf, RegistriesError, RegistryRule,
};
pub use registry_client::{FetchedDocument, FoundManifest, RegistryClient, ResolvedImage};
pub use registry_files::{RegistryFiles, RegistryFilesError};
pub use services::{
    ActionsPlace, AzurePlace, CacheService, Hidden, S3Place, ServiceEnvironment, ServiceError,
    ServicePlace,
};
pub use target::Boxed;
pub use tls::{TlsError, TlsOptions};

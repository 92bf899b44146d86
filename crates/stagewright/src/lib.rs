//! Container images built from Dockerfiles inside the process that asks for it: no daemon, no
//! Docker.
//!
//! A [`Builder`] owns a store and a runtime. [`Builder::build`] takes a [`BuildRequest`], starts at
//! once and returns a [`Build`]: its events can be read while it runs, it can be cancelled, awaited
//! on any executor, or waited for by synchronous code. What comes out is an [`Image`], which can be
//! exported in any of the usual forms.
//!
//! ```no_run
//! use stagewright::{BuildRequest, Builder, BuilderOptions, Export, ExportKind};
//!
//! # fn main() -> Result<(), stagewright::Error> {
//! let builder = Builder::open(BuilderOptions::at("/var/cache/stagewright"))?;
//! let image = builder.build(BuildRequest::directory(".")).wait()?;
//! image.export(&Export { kind: ExportKind::OciDirectory, dest: "out".into(), ..Export::default() })?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here prints, or reads the environment, the home directory or the working directory:
//! what a build needs to know is in its request and in the builder's options.

mod annotation;
mod attest;
mod build;
mod builder;
mod cache;
mod cache_export;
mod cache_options;
mod cache_transfer;
mod checks;
mod csv;
mod definition;
mod describe;
mod duration;
mod environment;
mod error;
mod explain;
mod export;
mod failed_step;
mod failure;
mod files;
mod ignore_file;
mod image;
mod input;
mod job;
pub mod json;
mod name_servers;
mod named_context;
mod outgoing;
mod parse;
mod push;
mod request;
mod run_image;
mod stage;
mod stored;
mod tagging;
mod transfer;
mod write;

pub use attest::{AttestArgument, ProvenanceMode, ProvenanceOptions};
pub use build::{Build, Canceller, Events};
pub use builder::{Builder, BuilderOptions};
pub use cache::{
    CacheDamage, CacheItem, CacheItemKind, CacheRoom, CacheUsage, CacheVerification, DiskRoom,
    DiskSpace, LayerUse, PruneOptions, Pruned,
};
pub use cache_export::export_cache;
pub use cache_transfer::{CacheFrom, CacheMode, CacheOrigin, CachePlace, CacheTo};
pub use checks::{CheckReport, check_dockerfile};
pub use csv::csv_fields;
pub use describe::{Outline, OutlineArg, OutlineMount, Target, Targets};
pub use duration::parse_duration;
pub use error::{Error, ErrorKind};
pub use export::{Annotation, AnnotationLevel, Compression, Export, ExportKind, Push};
pub use failed_step::{EnterOptions, FailedStep, KeptStep};
pub use image::{Image, ImageSizes, LayerSize};
pub use parse::parse_dockerfile;
pub use push::{PushEvents, push_images};
pub use request::{
    BuildRequest, ContextSource, DockerfileSource, NamedContext, Network, Secret, SecretValue,
    Squash, SshAgent, is_remote_source, normal_platform,
};
pub use run_image::{RunCanceller, RunOptions};
pub use stage::{CommandLine, CopySource, CopyStep, Mount, RunStep, Stage, StageBase};
pub use stagewright_digest::Digest;
pub use stagewright_dockerfile::did_you_mean;
pub use stagewright_exec::{HostFinding, HostReport, Mode, Stacking};
pub use stagewright_fetch::{
    ActionsPlace, AzurePlace, CredentialFile, Credentials, Hidden, Mirror, MirrorArgument,
    NetworkOptions, ProxyOptions, RegistriesConf, RegistryFiles, RegistryOptions, S3Place,
    ServiceEnvironment, ServicePlace, TlsOptions,
};
pub use stagewright_oci::ImageConfig;
pub use stagewright_solver::{
    Change, CheckFinding, Event, EventKind, Explained, LogStream, MissReason, Outcome, Verdict,
    VertexInfo, Volume, VolumeAccess,
};
pub use stored::NamedEntry;
pub use transfer::{
    CopyOptions, ImagePlace, InspectedAttestation, InspectedImage, InspectedPlatform,
};
pub use write::{Exported, export_images, export_images_to};

//! Solves a plan: keys each vertex, looks it up, executes what is not there, records, explains.
//!
//! [`solve`] is given a plan and the [`Services`] that its steps use. Each vertex starts as soon as
//! its inputs are there; its key is made of what it reads, by content ([`action`] has the table of
//! inputs); its result is looked up in the store's action cache and only a miss executes anything.
//! A miss is compared with the last run of that place in the Dockerfile and [explained].
//!
//! [explained]: MissReason

mod accounts;
pub mod action;
mod age;
mod archive;
mod cache_document;
mod context_files;
mod copy;
mod error;
mod event;
mod explain;
mod failed_step;
mod file_list;
mod file_step;
mod follow;
mod images;
mod imported_cache;
mod layer_import;
mod listed_context;
mod miss;
mod parallel;
mod parts;
mod remote;
mod reporter;
mod run_caches;
mod run_mounts;
mod run_step;
mod schedule;
mod services;
mod snapshot_files;
mod solve;
mod ssh_agent;
mod step_log;
mod used_mounts;
mod used_results;
mod vertex;
mod volume;

pub use accounts::Account;
pub use age::BuildClock;
pub use cache_document::{
    CACHE_CONFIG_TYPE, CacheDocument, CachedLayer, CachedMount, CachedResult, INLINE_CACHE_FIELD,
};
pub use context_files::ContextFiles;
pub use error::{SolveError, StepError};
pub use event::{CheckFinding, Event, EventKind, LogStream, Outcome, VertexInfo};
pub use explain::{Explained, Verdict, explain};
pub use failed_step::{FailedPlace, FailedStep};
pub use file_list::FileList;
pub use file_step::accounts_of;
pub use images::{Images, NamedImage, PULLED_CODEC, TaggedImage, TaggedPlatform, adopt_layer};
pub use imported_cache::{CacheSource, ImportedCache};
pub use layer_import::pulled_blob;
pub use miss::{Change, MissReason};
pub use parts::{Part, Parts};
pub use remote::{RemoteMaterial, Remotes, fetch_context};
pub use reporter::{EventSink, Reporter};
pub use services::{LazySandbox, Limits, Secret, Services, SolveOptions};
pub use solve::{Solved, solve};
pub use ssh_agent::SshAgent;
pub use tokio_util::sync::CancellationToken;
pub use used_mounts::UsedMounts;
pub use used_results::UsedResults;
pub use vertex::{Snapshot, VertexResult};
pub use volume::{Volume, VolumeAccess};

//! Services that keep the blobs of a cache: S3, Azure's Blob Storage, the cache of GitHub Actions.
//!
//! A cache in one is a manifest by name and the blobs that it names. Every object is read and written by a URL
//! that is signed for it, so that there is one way of transferring for all of them.

mod actions;
mod azure;
mod call;
mod environment;
mod error;
mod object;
mod place;
mod put;
mod s3;
mod service;

pub use environment::ServiceEnvironment;
pub use error::ServiceError;
pub use place::{ActionsPlace, AzurePlace, Hidden, S3Place, ServicePlace};
pub use service::CacheService;

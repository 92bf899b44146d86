//! OCI documents, media types, references, platforms and image layouts.
//!
//! Images are named by [`Reference`], are for a [`Platform`], and are described by a
//! [`Manifest`] (or, for several platforms, an [`Index`]) and an [`ImageConfig`]. On disk they
//! come as an [`ImageLayout`], its tar form or a Docker archive; each is an [`ImageSource`] that
//! gives an [`ImageSummary`] without reading a layer.
//!
//! Docker's schema 2 documents and OCI's are read by the same types, which keep what they do not
//! know. They are written by hand rather than taken from `oci-spec`: digests are checked types
//! here, Docker's fields of a config belong to it, and the order of fields is part of an image's
//! digest.
//!
//! This crate reads and writes files that its caller names, and opens no socket.
//!
//! ```
//! use stagewright_oci::{Platform, Reference};
//!
//! let image: Reference = "node:12-stretch".parse().unwrap();
//! assert_eq!(image.to_string(), "docker.io/library/node:12-stretch");
//! let platform: Platform = "linux/aarch64".parse().unwrap();
//! assert_eq!(platform.to_string(), "linux/arm64");
//! ```

#![forbid(unsafe_code)]

mod archive;
mod archive_write;
mod config;
mod descriptor;
mod docker_archive;
mod image;
mod layout;
mod layout_archive;
mod layout_write;
mod manifest;
pub mod media_type;
mod null;
mod open;
mod outgoing;
mod platform;
mod reference;

pub use archive_write::{write_docker_archive, write_layout_archive};
pub use config::{CONFIG_BYTES_MAX, Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use descriptor::Descriptor;
pub use docker_archive::DockerArchive;
pub use image::{
    ImageError, ImageSelector, ImageSource, ImageSummary, LayerBlob, VerifiedReader, read_blob,
    summarize,
};
pub use layout::{IMAGE_NAME_KEY, ImageLayout, REF_NAME_KEY};
pub use layout_archive::LayoutArchive;
pub use layout_write::BlobPlacement;
pub use manifest::{
    ATTESTATION_TYPE_KEY, Document, Index, InvalidDocument, MANIFEST_BYTES_MAX, Manifest,
};
pub use media_type::LayerEncoding;
pub use open::open_image;
pub use outgoing::{BlobContent, OpenBlob, OutgoingBlob, OutgoingImage, OutgoingPlatform};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{DEFAULT_REGISTRY, DEFAULT_TAG, InvalidReference, Reference};

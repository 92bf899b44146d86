//! Forms in which an image leaves the store.

use std::path::PathBuf;

/// One export of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Export {
    /// The form.
    pub kind: ExportKind,
    /// Where to: a directory or a file, as the form needs.
    pub dest: PathBuf,
    /// Names that the exported image carries: `name[:tag]`. The image's own tags if empty.
    pub names: Vec<String>,
    /// How layers made by the build are compressed.
    pub compression: Compression,
    /// How hard: 0 to 9 for gzip and eStargz, 1 to 22 for zstd; the usual level if absent.
    pub compression_level: Option<i32>,
    /// Compress the layers of base images anew where they came in another form.
    pub force_compression: bool,
    /// OCI's media types, or Docker's. As the form has it if absent: Docker's for Docker's archive,
    /// else OCI's.
    pub oci_media_types: Option<bool>,
    /// No file of a layer made by the build is later than this, in seconds since 1970.
    pub latest_file_time: Option<i64>,
    /// Annotations.
    pub annotations: Vec<Annotation>,
    /// The config says which actions made the layers, so that the image is a cache, too
    /// ([`CacheOrigin::Registry`](crate::CacheOrigin::Registry)).
    pub inline_cache: bool,
}

/// A text by key that an image carries outside of its config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// What carries it.
    pub level: AnnotationLevel,
    /// The platform whose manifest is meant, as `os/architecture[/variant]`; all if absent.
    pub platform: Option<String>,
    /// The key.
    pub key: String,
    /// The text.
    pub value: String,
}

/// What carries an [`Annotation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// The manifest.
    Manifest,
    /// What an index, or the `index.json` of a layout, says of the manifest.
    ManifestDescriptor,
    /// The index of an image of several platforms.
    Index,
    /// What the `index.json` of a layout says of such an index.
    IndexDescriptor,
}

/// How an image is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Push {
    /// Give the image no tag, so that it is to be had by its digest only.
    pub by_digest: bool,
    /// Plain HTTP and untrusted certificates will do.
    pub insecure: bool,
}

/// The forms of an [`Export`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExportKind {
    /// An OCI image layout in a directory. What the directory already holds stays.
    #[default]
    OciDirectory,
    /// A tar of an OCI image layout.
    OciArchive,
    /// An archive as `docker save` writes it and `docker load` and `podman load` read it.
    DockerArchive,
    /// The image's files in a directory.
    Directory,
    /// A tar of the image's files.
    Tar,
}

/// How layers are compressed on export. Layers of base images keep the form in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: the fastest, and what a local `docker load` wants.
    Uncompressed,
    /// gzip, which every runtime reads.
    #[default]
    Gzip,
    /// zstd: faster and smaller, read by newer runtimes.
    Zstd,
    /// eStargz: gzip with a table of contents, so that the stargz-snapshotter starts a container before
    /// all of the image is there. Needs OCI's media types.
    Estargz,
}

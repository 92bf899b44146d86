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
}

//! Verbs about Dockerfiles and images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stagewright::{CopyOptions, ImagePlace};

use super::build::ProgressMode;
use super::cache::Format;

/// Flags of `stagewright parse`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ParseArguments {
    /// The Dockerfile; `-` reads it from stdin
    #[arg(value_name = "FILE", default_value = "Dockerfile")]
    pub(crate) file: PathBuf,
}

/// Flags of `stagewright inspect`.
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArguments {
    /// An image by its name, or where it is (`docker://NAME`, `oci:PATH[:NAME]`, `oci-archive:FILE`,
    /// `docker-archive:FILE`, `containers-storage:NAME`, `docker-daemon:NAME`)
    pub(crate) image: ImagePlace,
    /// Print the packages in it, in SPDX
    #[arg(long, conflicts_with = "provenance")]
    pub(crate) sbom: bool,
    /// Print how it was made, as SLSA has it
    #[arg(long)]
    pub(crate) provenance: bool,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
}

/// Flags of verbs about images in other places.
#[derive(Debug, Clone, Args)]
pub(crate) struct TransferArguments {
    /// Only the image of this platform, as `OS/ARCHITECTURE[/VARIANT]`
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
    /// Plain HTTP and untrusted certificates will do
    #[arg(long)]
    pub(crate) insecure: bool,
}

impl TransferArguments {
    pub(crate) fn options(&self) -> CopyOptions {
        CopyOptions {
            platform: self.platform.clone(),
            insecure: self.insecure,
        }
    }
}

/// Flags of `stagewright copy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CopyArguments {
    /// Where the image is: a name in the store, `docker://NAME`, `oci:PATH[:NAME]`,
    /// `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`, `containers-storage:NAME`,
    /// `docker-daemon:NAME`
    #[arg(value_name = "FROM")]
    pub(crate) from: ImagePlace,
    /// Where it goes, written in the same way
    #[arg(value_name = "TO")]
    pub(crate) to: ImagePlace,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
    #[command(flatten)]
    pub(crate) shown: ShownArguments,
}

/// Flags of `stagewright pull`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PullArguments {
    /// Images by their names, which say from where
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
    #[command(flatten)]
    pub(crate) shown: ShownArguments,
}

/// Flags of `stagewright load`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArguments {
    /// What `docker save` wrote, or an image layout in a tar or a folder; standard input if absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
    #[command(flatten)]
    pub(crate) shown: ShownArguments,
}

/// Flags of verbs that take long.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShownArguments {
    /// How to show progress
    #[arg(long, value_name = "MODE", default_value = "auto", value_enum)]
    progress: ProgressMode,
    /// Print nothing but the results
    #[arg(short, long)]
    quiet: bool,
}

impl ShownArguments {
    pub(crate) fn mode(&self) -> ProgressMode {
        self.progress.or_quiet(self.quiet)
    }
}

/// Flags of `stagewright sizes`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SizesArguments {
    /// An image by its name
    pub(crate) image: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Flags of `stagewright run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArguments {
    /// An image by its name
    pub(crate) image: String,
    /// Run this instead of what the image runs
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(crate) command: Vec<String>,
}

/// Flags of `stagewright images`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImagesArguments {
    /// Print ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Flags of `stagewright rmi`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RmiArguments {
    /// Images by their names
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Flags of `stagewright save`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SaveArguments {
    /// The image's name
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Where to; standard output if it is no terminal
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What kind of archive
    #[arg(long, value_enum, default_value = "docker-archive")]
    pub(crate) format: SaveFormat,
}

/// Archives of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SaveFormat {
    /// For `docker load` and `podman load`
    DockerArchive,
    /// An OCI image layout in a tar
    OciArchive,
}

/// Flags of `stagewright push`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PushArguments {
    /// Images by their names, which say where to
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Plain HTTP and untrusted certificates will do
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How to show progress
    #[arg(long, value_name = "MODE", default_value = "auto", value_enum)]
    pub(crate) progress: ProgressMode,
    /// Print nothing but the digests
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Flags of `stagewright tag`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TagArguments {
    /// An image by its name
    pub(crate) image: String,
    /// The name to add
    pub(crate) name: String,
}

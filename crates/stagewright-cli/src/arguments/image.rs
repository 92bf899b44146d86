//! Verbs about Dockerfiles and images.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
    /// An image by its name
    pub(crate) image: String,
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

//! What was typed: the verbs and their flags, docker's where docker has them.
//!
//! Nothing is looked up here; [`crate::verbs`] decides what it means.

mod build;
mod cache;
mod image;
mod output;
mod unsupported;
mod values;

pub(crate) use build::{BuildArguments, NetworkArgument, ProgressMode};
pub(crate) use cache::CacheVerb;
pub(crate) use image::{
    ExplainArguments, InspectArguments, ParseArguments, RmiArguments, RunArguments, SizesArguments,
    TagArguments,
};
pub(crate) use output::{ArchiveForm, Compression, OutputArgument, OutputKind};
pub(crate) use unsupported::Unsupported;
pub(crate) use values::{
    ExtraHost, KeyValue, Mirror, NamedContextArgument, SecretArgument, SecretOrigin, Ulimit,
};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Container images built from Dockerfiles, with no daemon.
#[derive(Debug, Parser)]
#[command(
    name = "stagewright",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArguments {
    /// Folder that holds images and the cache [default: $XDG_CACHE_HOME/stagewright]
    #[arg(long, global = true, value_name = "DIR", env = "STAGEWRIGHT_STORE")]
    pub(crate) store: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build an image from a Dockerfile
    Build(Box<BuildArguments>),
    /// Print a Dockerfile's instructions as JSON, or what is wrong with it
    Parse(ParseArguments),
    /// Show an image's config and layers
    Inspect(InspectArguments),
    /// Show the bytes of an image by stage and by layer
    Sizes(SizesArguments),
    /// Run a command in an image
    Run(RunArguments),
    /// Show, prune or check the cache
    #[command(subcommand)]
    Cache(CacheVerb),
    /// List the images that were built with a name
    Images(image::ImagesArguments),
    /// Remove images' names; `cache prune` frees what nothing uses any more
    Rmi(RmiArguments),
    /// Give an image another name
    Tag(TagArguments),
    /// Tell for every step whether it is cached, and why not, without building
    Explain(Box<ExplainArguments>),
    /// Tell what this machine can do, and what would make it do more
    Doctor,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}

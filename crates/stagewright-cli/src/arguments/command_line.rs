//! The command line as a whole: what is typed before the verb, and the verbs.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use stagewright::DiskSpace;

use super::build::BuildArguments;
use super::cache::CacheVerb;
use super::explain::ExplainArguments;
use super::image::{
    CopyArguments, ImagesArguments, InspectArguments, LoadArguments, ParseArguments, PullArguments,
    PushArguments, RmiArguments, RunArguments, SaveArguments, SizesArguments, TagArguments,
};
use super::values::{parse_bytes, parse_space};

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
    /// Most bytes that the store may take after a build, such as 10g; 0 is no limit [default: a
    /// tenth of the disk, at most 20g]
    #[arg(long, global = true, value_name = "BYTES", env = "STAGEWRIGHT_STORE_LIMIT",
          value_parser = parse_bytes, hide_short_help = true)]
    pub(crate) store_limit: Option<u64>,
    /// What is to be free on the store's disk before and after a build, such as 20g or 10%: results
    /// that nobody needs make room [default: a twentieth of the disk, at most 10g]
    #[arg(long, global = true, value_name = "SPACE", env = "STAGEWRIGHT_STORE_MIN_FREE",
          value_parser = parse_space, hide_short_help = true)]
    pub(crate) store_min_free: Option<DiskSpace>,
    /// What the store may keep however little is free, unless a build finds the disk full [default:
    /// half of the limit]
    #[arg(long, global = true, value_name = "SPACE", env = "STAGEWRIGHT_STORE_RESERVED",
          value_parser = parse_space, hide_short_help = true)]
    pub(crate) store_reserved: Option<DiskSpace>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build an image from a Dockerfile
    Build(Box<BuildArguments>),
    /// Tell which steps of a build are cached, and why the others are not, without building
    Explain(Box<ExplainArguments>),
    /// Print a Dockerfile's instructions as JSON, or what is wrong with it
    Parse(ParseArguments),
    /// Tell what is allowed in a Dockerfile and still better avoided
    Check(ParseArguments),
    /// Show an image's config, its platforms, and what is attested of it
    Inspect(InspectArguments),
    /// Show the bytes of an image by stage and by layer
    Sizes(SizesArguments),
    /// Run a command in an image
    Run(RunArguments),
    /// Measure or check the cache
    #[command(subcommand)]
    Cache(CacheVerb),
    /// List the images that were built with a name
    Images(ImagesArguments),
    /// Remove images' names; their layers stay in the cache
    Rmi(RmiArguments),
    /// Push images to the registries of their names
    Push(PushArguments),
    /// Pull images into the store
    Pull(PullArguments),
    /// Copy an image from one place to another, with all platforms and what is attested of them
    Copy(Box<CopyArguments>),
    /// Write an image into an archive
    Save(SaveArguments),
    /// Take the images of an archive into the store
    Load(LoadArguments),
    /// Give an image another name
    Tag(TagArguments),
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

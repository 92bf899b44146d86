//! `stagewright cache`.

use clap::{Args, Subcommand, ValueEnum};

/// What to do with the cache.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CacheVerb {
    /// Show what takes the store's room
    Du(DuArguments),
    /// Check everything in the store against its digests
    Verify(VerifyArguments),
}

/// Flags of `stagewright cache du`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DuArguments {
    /// List every layer, the least recently used first
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Flags of `stagewright cache verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArguments {
    /// Move what is damaged out of the way, so that it is built again
    #[arg(long)]
    pub(crate) repair: bool,
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

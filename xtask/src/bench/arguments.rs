//! What `cargo xtask bench` is asked for.

use anyhow::Result;

use super::compare::{self, CompareArguments};
use super::growth::{self, GrowthArguments};
use super::languages::{self, LanguagesArguments};

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Time the command against Docker's BuildKit, Buildah and Podman; needs root, and takes about an hour
    Compare(CompareArguments),
    /// Time warm and one-byte builds as contexts, layers, stages and the store grow
    Growth(GrowthArguments),
    /// Time warm builds through Python and Node next to Rust's, and what their hosts notice
    Languages(LanguagesArguments),
}

/// Measures, prints tables, and writes them below `docs/bench`.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Compare(arguments) => compare::run(arguments),
        Bench::Growth(arguments) => growth::run(arguments),
        Bench::Languages(arguments) => languages::run(arguments),
    }
}

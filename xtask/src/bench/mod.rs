//! `cargo xtask bench`: how fast the command is, next to the builders that people use today, and how its times grow.
//!
//! The figures are ratios of one run: every builder's state lies on a file system of its own that was made a moment ago,
//! the builders take turns, and medians are shown with what lay around them.

mod builders;
mod compare;
mod daemons;
mod disk;
mod fit;
mod growth;
mod measure;
mod pictures;
mod report;
mod tree;
mod workloads;

pub(crate) use compare::CompareArguments;
pub(crate) use growth::GrowthArguments;

use anyhow::Result;

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Time the command against Docker's BuildKit, Buildah and Podman; needs root, and takes about an hour
    Compare(CompareArguments),
    /// Time warm and one-byte builds as contexts, layers, stages and the store grow
    Growth(GrowthArguments),
}

/// Measures, prints tables, and writes them below `docs/bench`.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Compare(arguments) => compare::run(arguments),
        Bench::Growth(arguments) => growth::run(arguments),
    }
}

//! `cargo xtask bench`: how fast the command is, next to the builders that people use today, and how its times grow.
//!
//! The figures are ratios of one run: every builder's state lies on a file system of its own that was made a moment ago,
//! the builders take turns, and medians are shown with what lay around them.

mod arguments;
mod builders;
mod compare;
mod daemons;
mod disk;
mod equal;
mod fit;
mod floors;
mod growth;
mod languages;
mod measure;
mod pictures;
mod report;
mod targets;
mod tree;
mod workloads;

pub(crate) use arguments::{Bench, run};

//! `stagewright explain`.

use clap::Args;

use super::build::BuildArguments;
use super::cache::Format;

/// Flags of `stagewright explain`: those of `stagewright build`, so that the one word can take the place of the other.
/// What is only about results and how they are shown makes no difference, and the help leaves it out.
#[derive(Debug, Clone, Args)]
#[command(
    mut_arg("tag", |arg| arg.hide(true)),
    mut_arg("output", |arg| arg.hide(true)),
    mut_arg("load", |arg| arg.hide(true)),
    mut_arg("push", |arg| arg.hide(true)),
    mut_arg("annotation", |arg| arg.hide(true)),
    mut_arg("label", |arg| arg.hide(true)),
    mut_arg("iidfile", |arg| arg.hide(true)),
    mut_arg("metadata_file", |arg| arg.hide(true)),
    mut_arg("jobs", |arg| arg.hide(true)),
    mut_arg("progress", |arg| arg.hide(true)),
    mut_arg("quiet", |arg| arg.hide(true)),
    mut_arg("call", |arg| arg.hide(true)),
    mut_arg("check", |arg| arg.hide(true)),
    after_help = "Every other flag of `stagewright build` is taken too and makes no difference here."
)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) build: BuildArguments,
    /// For people, or for programs
    #[arg(long, value_name = "FORMAT", default_value = "table", value_enum)]
    pub(crate) format: Format,
}

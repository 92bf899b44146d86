//! `stagewright explain`.

use clap::{Arg, Args};

use super::build::BuildArguments;
use super::cache::Format;

/// Flags of `stagewright explain`: those of `stagewright build`, so that the one word can take the place of the other.
/// What is only about results and how they are shown makes no difference, and the help leaves it out.
#[derive(Debug, Clone, Args)]
#[command(
    mut_args(hide_results),
    after_help = "Every other flag of `stagewright build` is taken too and makes no difference here."
)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) build: BuildArguments,
    /// For people, or for programs
    #[arg(long, value_name = "FORMAT", default_value = "table", value_enum)]
    pub(crate) format: Format,
}

/// What is about results and how they are shown.
const OF_RESULTS: [&str; 16] = [
    "tag",
    "output",
    "load",
    "push",
    "annotation",
    "label",
    "unsetenv",
    "unsetlabel",
    "inherit_labels",
    "iidfile",
    "metadata_file",
    "jobs",
    "progress",
    "quiet",
    "call",
    "check",
];

fn hide_results(arg: Arg) -> Arg {
    let is_of_results = OF_RESULTS.contains(&arg.get_id().as_str());
    if is_of_results { arg.hide(true) } else { arg }
}

//! Which packages are made.

use std::process::Command;

use anyhow::Result;

use super::place::Place;
use super::samples::Samples;
use super::{cpp, node, python};
use crate::host;

/// Options of `bindings`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct BindingsArguments {
    /// Only these languages
    languages: Vec<Language>,
}

/// A language that has a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Cpp,
    Node,
    Python,
    /// The samples of the library itself
    Rust,
}

/// Packs and tests.
pub(crate) fn run(arguments: &BindingsArguments) -> Result<()> {
    let wanted =
        |language| arguments.languages.is_empty() || arguments.languages.contains(&language);
    let place = Place::open()?;
    let samples = Samples::open()?;
    let samples = samples.as_ref();
    if wanted(Language::Python) {
        python::run(&place, samples)?;
    }
    if wanted(Language::Node) {
        node::run(&place, samples)?;
    }
    if wanted(Language::Cpp) {
        cpp::run(&place, samples)?;
    }
    if let Some(samples) = samples
        && wanted(Language::Rust)
    {
        // All of the workspace, so that what the tests were built with is not built again.
        host::run(host::cargo().args(["build", "--locked", "--workspace", "--examples"]))?;
        let folder = place.target.join("debug/examples");
        samples.run(&place, "rust", |name| Command::new(folder.join(name)))?;
    }
    Ok(())
}

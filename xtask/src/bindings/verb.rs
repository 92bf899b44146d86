//! Which packages are made.

use anyhow::Result;

use super::place::Place;
use super::{cpp, node, python};

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
}

/// Packs and tests.
pub(crate) fn run(arguments: &BindingsArguments) -> Result<()> {
    let wanted =
        |language| arguments.languages.is_empty() || arguments.languages.contains(&language);
    let place = Place::open()?;
    if wanted(Language::Python) {
        python::run(&place)?;
    }
    if wanted(Language::Node) {
        node::run(&place)?;
    }
    if wanted(Language::Cpp) {
        cpp::run(&place)?;
    }
    Ok(())
}

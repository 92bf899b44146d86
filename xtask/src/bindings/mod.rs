//! `cargo xtask bindings`: packs the packages of other languages as users get them, installs each
//! into an empty place, and runs its tests there.

mod cpp;
mod examples;
mod node;
mod place;
mod python;
mod samples;
mod verb;

pub(crate) use verb::{BindingsArguments, run};

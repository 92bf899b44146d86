//! `cargo xtask tidy`: the rules of the code base that no compiler checks, each a function over
//! what it reads, with tests of its own.

mod arrows;
mod entry_files;
mod links;
mod names;
mod run;
mod size;
mod source;
mod texts;
mod tokens;

pub(crate) use run::run;

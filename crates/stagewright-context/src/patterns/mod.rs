//! Ignore rules: `.dockerignore`, and `--exclude` of COPY and ADD.
//!
//! The rules are those of `moby/patternmatcher`, which differ from gitignore's: a pattern is
//! anchored at the root, `**` stands for any number of folders, the last rule that matches wins,
//! a rule that matches a folder covers everything below it, and `!` re-includes, also below an
//! excluded folder.
//!
//! Docker translates a rule into a regular expression and forgets to quote `|`, `^`, `{2}` and
//! letters after a backslash. Here these characters mean themselves, as in Go's `filepath.Match`
//! and as Docker documents them.

mod clean;
mod ignore_file;
mod rule;
mod set;

pub use clean::clean;
pub use ignore_file::IgnoreFileError;
pub use set::{MatchState, Patterns};

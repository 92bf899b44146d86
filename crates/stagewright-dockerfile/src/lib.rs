//! The Dockerfile language: text to typed instructions with source spans.
//!
//! [`Dockerfile::parse`] goes from bytes over directives and logical lines (continuations joined,
//! heredocs collected, every character traceable to its place) to flags and the grammar of each
//! instruction. What it gives is plain data; words that are subject to expansion stay as they were
//! written, and [`expand`] expands them.
//!
//! The language is that of BuildKit's Dockerfile frontend. What it rejects is rejected here, with
//! the place and what to write instead: see [`Diagnostic`].
//!
//! [`checks`] says what is allowed and still better avoided, under the names of BuildKit's checks.
//!
//! A Dockerfile can be written again ([`Dockerfile`] has `Display`), and taken from the crate
//! `dockerfile-parser` (feature of that name, on by default).
//!
//! This crate opens no file and no socket.
//!
//! ```
//! use stagewright_dockerfile::{Dockerfile, Instruction};
//!
//! let dockerfile = Dockerfile::parse(b"FROM alpine AS build\nRUN make\n").unwrap();
//! let stage = &dockerfile.stages[0];
//! assert_eq!(stage.name.as_deref(), Some("build"));
//! assert!(matches!(stage.instructions[0].instruction, Instruction::Run(_)));
//! ```

mod ast;
pub mod checks;
pub mod chmod;
mod diagnostic;
mod directives;
mod error;
pub mod expand;
mod flags;
mod heredoc;
mod instruction;
mod logical_line;
pub mod mount;
#[cfg(feature = "dockerfile-parser")]
mod other_parser;
mod parse;
mod ports;
mod print;
mod signal;
mod span;
mod split;

pub use ast::{
    Add, Arg, ArgItem, Cmd, Command, Copy, Dockerfile, Entrypoint, Env, Expose, From, Healthcheck,
    Instruction, Label, Maintainer, Onbuild, Pair, Run, Shell, Spanned, Stage, Stopsignal, User,
    Volume, Workdir,
};
pub use diagnostic::Diagnostic;
pub use directives::Directives;
pub use error::{ParseError, did_you_mean};
pub use heredoc::Heredoc;
#[cfg(feature = "dockerfile-parser")]
pub use other_parser::OtherParserError;
pub use ports::expand_ports;
pub use signal::check_signal;
pub use span::{Position, Span};

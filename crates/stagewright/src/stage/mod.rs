//! Stages that are written in code.
//!
//! A [`Stage`] says what a stage of a Dockerfile says. It is written as one and goes the same way
//! from there, so that what is built of it has the same keys.

mod compose;
mod definition;
mod instruction;
mod render;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use compose::{Composed, compose};
pub use definition::{Stage, StageBase};
pub use instruction::{CommandLine, CopySource, CopyStep, Mount, RunStep};

//! Images on disk, as callers of the crate see them.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod archives;
mod image_spec;
mod layouts;
mod sample;

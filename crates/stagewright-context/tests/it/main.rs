//! Contexts on a real file system.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod archive;
mod digests;
mod find;
mod tree;
mod walk;

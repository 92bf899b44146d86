//! Contexts on a real file system.

mod archive;
mod digests;
mod find;
mod tree;
mod walk;

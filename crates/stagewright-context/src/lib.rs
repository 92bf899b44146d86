//! Build contexts: walk, ignore rules, file digests.

pub mod glob;
pub mod patterns;

//! Build contexts: walk, ignore rules, file digests.

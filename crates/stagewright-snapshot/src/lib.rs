//! Root file systems: merged views, prepare, commit.

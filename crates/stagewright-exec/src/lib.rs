//! Runs one process in a root file system, sandboxed.

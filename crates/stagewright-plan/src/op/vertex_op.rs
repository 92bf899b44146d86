//! The closed set of ops.

use super::{ExecOp, FileOp, SourceOp};

/// What a vertex does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Brings something in from outside.
    Source(SourceOp),
    /// Runs a command (`RUN`).
    Exec(ExecOp),
    /// Changes files without running anything (`COPY`, `ADD`, `WORKDIR`).
    File(FileOp),
}

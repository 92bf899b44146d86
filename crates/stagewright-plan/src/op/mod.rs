//! What a vertex does, a file an op.

mod exec;
mod file;
mod source;

pub use exec::{ExecOp, HeredocScript, MountOp, NetworkMode, PlanMount, SecurityMode};
pub use file::{CopyFrom, CopyOp, CopySource, FileOp, MkdirOp};
pub use source::SourceOp;

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

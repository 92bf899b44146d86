//! What a vertex does, a file an op.

mod exec;
mod file;
mod source;
mod vertex_op;

pub use exec::{ExecOp, HeredocScript, MountOp, NetworkMode, PlanMount, SecurityMode};
pub use file::{CopyFrom, CopyOp, CopySource, FileOp, MkdirOp};
pub use source::SourceOp;
pub use vertex_op::Op;

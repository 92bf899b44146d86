//! Solves a plan: keys each vertex, looks it up, executes what is not there, records, explains.

mod event;
mod miss;
mod parts;
mod reporter;

pub use event::{Event, EventKind, LogStream, Outcome, VertexInfo};
pub use miss::{Change, MissReason};
pub use parts::{Part, Parts};
pub use reporter::{EventSink, Reporter};
pub use tokio_util::sync::CancellationToken;

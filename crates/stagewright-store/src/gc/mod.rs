//! Garbage collection: what the store holds, what of it may go, and how it goes.
//!
//! ```text
//! gc/lock      held by the one who collects
//! gc/size      how large the store was when it was last measured, checked
//! gc/growth    what was added since, a line each: bytes, or the path of a cache mount that was used
//! gc/evicted   the names of layers that were collected
//! ```
//!
//! Nothing vanishes under anybody: a thing is renamed into a temporary folder while the gate of the
//! leases is closed, and removed from there afterwards.

mod collect;
mod compact;
mod contents;
mod evicted;
mod options;
mod roots;
mod size;
mod space;

pub use contents::{Item, ItemKind};
pub use options::{PruneOptions, Pruned};
pub use space::{DiskRoom, DiskSpace, SpaceBounds};

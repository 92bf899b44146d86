//! The content store: blobs, layers, the action cache, leases.
//!
//! One folder holds everything that was ever built, and any number of processes use it at once.
//! Files hold the truth; each module's documentation draws the files that it writes:
//!
//! | files | module | what |
//! |---|---|---|
//! | `version` | `store` | the schema version |
//! | `blobs/` | `blob` | OCI content by SHA-256 |
//! | `layers/` | `layer` | layers, packed and unpacked |
//! | `actions/` | `journal` | results by action key |
//! | `parts/`, `documents/` | `document` | small files by name |
//! | `locks/` | `lock` | one file an action that is running |
//! | `layers/*/record` | `provisional` | which layers are not durable yet |
//! | `leases/` | `lease` | what running builds use |
//! | `mounts/` | `cache_mount` | directories of `RUN --mount=type=cache` |
//! | `tmp/` | `temp` | work in progress, a folder a process |
//! | `quarantine/` | `quarantine` | what was damaged |
//! | `gc/` | `gc` | how large the store is, and what was collected |
//! | `index/` | `index` | what is used when and how large it is: sled, rebuilt when lost |

mod audit;
mod blob;
mod cache_mount;
mod disk;
mod document;
mod error;
pub mod fault;
mod files;
mod gc;
mod index;
mod journal;
mod layer;
mod lease;
mod lock;
mod provisional;
mod quarantine;
mod store;
#[cfg(test)]
mod stored_bytes;
mod temp;
mod verify;

pub use audit::{Room, Usage};
pub use blob::{Blob, BlobWriter};
pub use cache_mount::{CacheMountLease, Sharing};
pub use disk::Remover;
pub use document::{CONTEXT_KIND, PlaceRecord, RESOLUTION_KIND, TAG_KIND};
pub use error::StoreError;
pub use gc::{DiskRoom, DiskSpace, Item, ItemKind, PruneOptions, Pruned, SpaceBounds};
pub use index::LayerUse;
pub use journal::ActionResult;
pub use layer::{CompressedBlob, Layer, LayerDraft, LayerRecord};
pub use lock::{ActionLock, FileLock};
pub use quarantine::LayerPart;
pub use store::{Store, StoreOptions};
pub use temp::TempDir;
pub use verify::{Damage, InspectLayer, Verification};

//! Root file systems out of layers, and layers out of root file systems.
//!
//! - [`MergedTree`] is the read-only view of a stack of layers: lookups, walks and reads out of the
//!   layers' indexes and whichever form each has. `COPY --from`, users and groups, `.dockerignore`
//!   of stages: nothing of it needs a mount.
//! - [`Snapshots`] prepares what overlayfs is mounted of for a step ([`Prepared`]), makes a layer
//!   of what the step changed, imports the layers of images, and makes the other forms of layers.
//! - [`LayerBuilder`] makes the layer of a COPY, an ADD or a WORKDIR, without a mount.
//!
//! Files of unpacked layers are touched by a [`TreeAgent`]: in this process when it may, by the
//! process in the user namespace to whose ids they belong otherwise.
//!
//! This crate mounts nothing.

mod agent;
mod ahead;
mod before;
mod builder;
mod compressed;
mod content;
mod create;
mod damage;
mod draft_tar;
mod error;
mod expansion;
mod file;
mod look;
mod mapped;
mod pack;
mod parallel;
mod pipe;
mod prepared;
mod prune;
mod scan;
mod snapshots;
mod squash;
mod step_root;
mod sys;
mod tree;
mod unpack;
mod window;

pub use agent::{DirectAgent, Marks, OverlayXattrs, Prune, TreeAgent};
pub use before::Before;
pub use builder::LayerBuilder;
pub use compressed::{BlobForm, LayerBlob};
pub use content::{Content, NewEntry};
pub use damage::Keeper;
pub use error::SnapshotError;
pub use file::FileReader;
pub use mapped::MappedAgent;
pub use prepared::{Copied, Prepared};
pub use snapshots::{Forms, PackedLayer, Snapshots};
pub use step_root::StepRoot;
pub use tree::{FileId, MergedTree, Resolved, TreeEntry, TreeError, TreeLayer, Walk};
pub use unpack::Unpacking;

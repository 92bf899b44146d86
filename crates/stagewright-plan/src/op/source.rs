//! Sources: what comes in from outside.

use stagewright_digest::{Digest, LayerId};
use stagewright_oci::Platform;

/// Something from outside the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOp {
    /// The empty root file system.
    Scratch,
    /// An image. Its layers are named here, so that it need not be downloaded to be keyed.
    Image {
        /// The reference as it was asked for.
        reference: String,
        /// The platform that was chosen.
        platform: Platform,
        /// The digest of its manifest, where it has one.
        manifest: Option<Digest>,
        /// Its layers, from the bottom up.
        layers: Vec<LayerId>,
    },
    /// A build context: `context`, or the name of a named context.
    Context {
        /// Its name.
        name: String,
    },
}

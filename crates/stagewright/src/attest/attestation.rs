//! An attestation as it is kept with an image.

use serde::{Deserialize, Serialize};
use stagewright_digest::Digest;

/// A predicate about an image, a blob of the store. It says nothing of what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attestation {
    /// What kind of predicate it is, as a URI.
    pub(crate) predicate_type: String,
    /// The predicate in JSON.
    pub(crate) blob: Digest,
    /// The name of the file in outputs of files.
    pub(crate) filename: String,
    /// It is no file in outputs of files.
    #[serde(default)]
    pub(crate) inline_only: bool,
}

//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use stagewright_digest::Digest;
use thiserror::Error;

/// The store could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file could not be read or written; the message names it.
    #[error("the store: {0}")]
    Io(#[from] io::Error),
    /// The store belongs to a newer version of the program.
    #[error(
        "the store at {path} has schema version {found}, this program knows version {known}: use a newer program, or another folder"
    )]
    Future {
        /// The store's folder.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// The store's version cannot be read.
    #[error(
        "the schema version of the store at {path}, {found:?}, is not one that any program wrote: remove the folder, or name another one"
    )]
    UnknownVersion {
        /// The store's folder.
        path: PathBuf,
        /// What stands there.
        found: String,
    },
    /// The folder is no store and not empty.
    #[error("{path} is not a store and not empty: name another folder for the store")]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A blob's bytes are not those that its name says.
    #[error("blob {expected} has the content of {found}: what was downloaded or stored is damaged")]
    WrongDigest {
        /// The name.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A layer is not in the store.
    #[error("layer {0} is not in the store")]
    NoLayer(stagewright_digest::LayerId),
}

//! What can go wrong with root file systems.

use std::io;
use std::path::PathBuf;

use stagewright_digest::{DiffId, LayerId};
use stagewright_layer::{
    BuildFault, CompressError, EntryPath, EstargzError, IndexError, IndexFault, InvalidPath,
    ReadError, ReadIndexError, WriteError,
};
use stagewright_store::StoreError;
use thiserror::Error;

use crate::tree::TreeError;

/// A root file system can't be prepared, or a layer can't be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A merged view could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file of a draft could not be read or written; the message names it.
    #[error("can't make a layer: {0}")]
    Draft(#[source] io::Error),
    /// The index of a layer is damaged.
    #[error("the index of layer {layer} was damaged and is set aside: build again")]
    Index {
        /// The layer.
        layer: LayerId,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// The packed form of a layer is damaged.
    #[error("the tar of a layer was damaged and is set aside: build again")]
    DamagedTar,
    /// A layer is in the store in no form that its files could be read from.
    #[error("layer {0} is in the store without its files")]
    NoForm(LayerId),
    /// A file that a step made can't be read.
    #[error("can't read {path}, which a step made")]
    Scan {
        /// The file, as a path of the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What a step made is no layer.
    #[error("what a step made can't be a layer")]
    Entries(#[source] IndexFault),
    /// A file of a root file system can't be made.
    #[error("can't make {path} in {root}")]
    Create {
        /// The file, as a path of the image.
        path: EntryPath,
        /// Where the image's tree is made.
        root: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of a draft can't be removed.
    #[error("can't remove {path}")]
    Remove {
        /// The file, as a path of the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source of a file that is to be copied can't be read.
    #[error("can't read what is to be copied to {path}")]
    Content {
        /// The file, as a path of the image.
        path: EntryPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that belongs to an id of the user namespace can't be changed; the message names it.
    #[error("can't make a layer without root: {0}")]
    Mapped(#[source] io::Error),
    /// A layer's tar can't be written.
    #[error(transparent)]
    Pack(#[from] WriteError),
    /// A layer's tar can't be read.
    #[error("can't read layer {layer}")]
    Import {
        /// The layer.
        layer: LayerId,
        /// Why.
        #[source]
        source: ReadIndexError,
    },
    /// A layer's tar is not the one that its image names.
    #[error(
        "the layer that came is {found}, its image names {expected}: it was damaged on the way"
    )]
    WrongDiffId {
        /// What the image says.
        expected: DiffId,
        /// What came.
        found: DiffId,
    },
    /// A layer that was made elsewhere does not hold what its name says.
    #[error("the layer that came holds {found}, its name says {expected}")]
    WrongContent {
        /// What its name says.
        expected: LayerId,
        /// What it holds.
        found: LayerId,
    },
    /// A layer can't be compressed or decompressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A layer can't be written as eStargz.
    #[error(transparent)]
    Estargz(#[from] EstargzError),
    /// An archive that is to be unpacked into an image can't be read.
    #[error("can't unpack the archive")]
    Archive(#[source] ReadError),
    /// What an archive holds can't be extracted.
    #[error("can't unpack the archive")]
    ArchiveEntries(#[from] BuildFault),
    /// A path can't be used in an image.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

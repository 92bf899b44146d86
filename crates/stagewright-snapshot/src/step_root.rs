//! The root file system of a step, whichever way it is had.

use stagewright_digest::LayerId;
use stagewright_exec::RootFs;

use crate::error::SnapshotError;
use crate::prepared::{Copied, Prepared};
use crate::snapshots::Snapshots;

/// A root file system that a step is about to change. Dropping it throws the changes away.
#[derive(Debug)]
pub enum StepRoot {
    /// Layers, to be stacked by overlayfs.
    Layers(Box<Prepared>),
    /// A copy of all files.
    Copy(Box<Copied>),
}

impl StepRoot {
    /// Prepares one of layers, given from the bottom up: as a copy where layers cannot be stacked.
    ///
    /// # Errors
    /// When a layer is not in the store, or can't be unpacked or copied.
    pub fn prepare(
        snapshots: &Snapshots,
        layers: &[LayerId],
        copies: bool,
    ) -> Result<Self, SnapshotError> {
        Ok(if copies {
            Self::Copy(Box::new(snapshots.prepare_copy(layers)?))
        } else {
            Self::Layers(Box::new(snapshots.prepare(layers)?))
        })
    }

    /// Returns it as the sandbox takes it.
    pub fn root_fs(&self) -> RootFs {
        match self {
            Self::Layers(prepared) => RootFs::Overlay {
                lowers: prepared.lowers().to_vec(),
                upper: prepared.upper().to_owned(),
                work: prepared.work().to_owned(),
            },
            Self::Copy(copied) => RootFs::Directory(copied.root()),
        }
    }

    /// Makes a layer of what the step changed, as [`Snapshots::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(
        self,
        snapshots: &Snapshots,
        named: bool,
    ) -> Result<Option<LayerId>, SnapshotError> {
        match self {
            Self::Layers(prepared) => snapshots.commit(*prepared, named),
            Self::Copy(copied) => snapshots.commit_copy(&copied),
        }
    }
}

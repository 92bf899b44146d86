//! The root file system of a step, whichever way it is had.

use stagewright_digest::LayerId;
use stagewright_exec::{RootFs, Stacking};

use crate::error::SnapshotError;
use crate::prepared::{Copied, Prepared};
use crate::snapshots::Snapshots;

/// A root file system that a step is about to change. Dropping it throws the changes away.
#[derive(Debug)]
pub enum StepRoot {
    /// Layers, to be stacked by overlayfs.
    Layers(Box<Prepared>),
    /// Layers, to be stacked by fuse-overlayfs.
    Stacked(Box<Prepared>),
    /// A copy of all files.
    Copy(Box<Copied>),
}

impl StepRoot {
    /// Prepares one of layers, given from the bottom up, as they are stacked on this host.
    ///
    /// # Errors
    /// When a layer is not in the store, or can't be unpacked or copied.
    pub fn prepare(
        snapshots: &Snapshots,
        layers: &[LayerId],
        stacking: Stacking,
    ) -> Result<Self, SnapshotError> {
        Ok(match stacking {
            Stacking::Overlayfs => Self::Layers(Box::new(snapshots.prepare(layers)?)),
            Stacking::FuseOverlayfs => Self::Stacked(Box::new(snapshots.prepare(layers)?)),
            Stacking::Copies => Self::Copy(Box::new(snapshots.prepare_copy(layers)?)),
        })
    }

    /// Returns it as the sandbox takes it.
    pub fn root_fs(&self) -> RootFs {
        match self {
            Self::Layers(prepared) | Self::Stacked(prepared) => RootFs::Overlay {
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
            Self::Stacked(prepared) => snapshots.commit_stacked(*prepared),
            Self::Copy(copied) => snapshots.commit_copy(&copied),
        }
    }
}

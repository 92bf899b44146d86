//! Several layers made one.

use stagewright_digest::LayerId;

use crate::error::SnapshotError;
use crate::snapshots::{Forms, Snapshots};

impl Snapshots {
    /// Makes one layer of several, given from the bottom up, that lie on those of `below`; nothing when
    /// together they change nothing. What one of them made and another removed is not in it.
    ///
    /// Files are read and written piece by piece; what is kept in memory is the list of entries.
    ///
    /// # Errors
    /// When one of them is not in the store, or the layer can't be made.
    pub fn squash(
        &self,
        below: &[LayerId],
        layers: &[LayerId],
        forms: Forms,
    ) -> Result<Option<LayerId>, SnapshotError> {
        let tree = self.tree(layers)?;
        let mut builder = self.builder(self.tree(below)?, forms);
        builder.add_difference(&tree);
        builder.finish()
    }
}

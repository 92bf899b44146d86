//! What was collected, so that a later miss can say so.
//!
//! ```text
//! gc/evicted   the names of layers that were collected, a line each, the newest last
//! ```

use std::collections::HashSet;

use stagewright_digest::{ActionKey, LayerId};

use crate::disk;
use crate::error::StoreError;
use crate::files;
use crate::store::Store;

const EVICTED: &str = "gc/evicted";
/// How many names are remembered: a miss reads all of them.
const REMEMBERED: usize = 4096;

impl Store {
    /// Says whether the result of an action was recorded and its layer collected since.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn was_evicted(&self, key: &ActionKey) -> Result<bool, StoreError> {
        let layer = self.recorded(key)?.and_then(|result| result.layer);
        match layer {
            Some(layer) if self.layer(&layer)?.is_none() => {
                Ok(self.evicted()?.contains(&layer.file_name()))
            }
            _ => Ok(false),
        }
    }

    /// Remembers that a layer is collected, before it is.
    pub(super) fn note_evicted(&self, id: &LayerId) -> Result<(), StoreError> {
        let path = self.path().join(EVICTED);
        let line = format!("{}\n", id.file_name());
        match disk::append(&path)
            .and_then(|mut file| disk::write_all(&mut file, &path, line.as_bytes()))
        {
            // To make room there must be none.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) fn evicted(&self) -> Result<HashSet<String>, StoreError> {
        let bytes = files::read(&self.path().join(EVICTED))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Forgets the oldest names when there are many.
    pub(super) fn trim_evicted(&self) -> Result<(), StoreError> {
        let path = self.path().join(EVICTED);
        let bytes = files::read(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() <= 2 * REMEMBERED {
            return Ok(());
        }
        let newest = lines[lines.len() - REMEMBERED..].join("\n") + "\n";
        Ok(self.publish(&path, newest.as_bytes())?)
    }
}

//! What the store holds, and whether it is whole.

use crate::builder::Builder;
use crate::error::Error;

pub use stagewright_store::{
    Damage as CacheDamage, LayerUse, Room as CacheRoom, Usage as CacheUsage,
    Verification as CacheVerification,
};

impl Builder {
    /// Measures what the store takes on disk. Reads every directory and no file.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Store`] when a directory cannot be read.
    pub fn cache_usage(&self) -> Result<CacheUsage, Error> {
        Ok(self.inner().store.usage()?)
    }

    /// Lists the layers that are stored, the least recently used first.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Store`] when they cannot be listed.
    pub fn layer_uses(&self) -> Result<Vec<LayerUse>, Error> {
        Ok(self.inner().store.layer_uses()?)
    }

    /// Checks what the store holds against its digests, and removes what is damaged if `repair`
    /// says so. Reads everything.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Store`] when something cannot be read or removed.
    pub fn verify_cache(&self, repair: bool) -> Result<CacheVerification, Error> {
        Ok(self.inner().store.verify(repair)?)
    }
}

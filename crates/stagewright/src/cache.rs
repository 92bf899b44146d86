//! What the store holds, and whether it is whole.

use crate::builder::Builder;
use crate::error::Error;

pub use stagewright_store::{
    Damage as CacheDamage, DiskRoom, DiskSpace, Item as CacheItem, ItemKind as CacheItemKind,
    LayerUse, PruneOptions, Pruned, Room as CacheRoom, Usage as CacheUsage,
    Verification as CacheVerification,
};

/// Less than one part in so many of a disk helps nobody who found it full.
const WORTH: u64 = 1000;

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

    /// Removes from the store what nobody needs, the least recently used first, and what processes
    /// left that died. Other builds may go on meanwhile: what they use stays, and what images with
    /// names need.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Store`] when something cannot be read or removed; what was removed before
    /// stays removed.
    pub fn prune_cache(&self, options: &PruneOptions) -> Result<Pruned, Error> {
        Ok(self.inner().store.prune(options)?)
    }

    /// Removes the least recently used if the store takes more than it may, or leaves too little free on its disk. Each build
    /// ends with it.
    pub(crate) fn keep_limit(&self) -> Result<(), Error> {
        let inner = self.inner();
        inner.store.keep_within(&inner.bounds)?;
        Ok(())
    }

    /// Removes what nobody needs from a store whose disk is full, half of it or the `last` time all; returns how many bytes
    /// that were, if they are worth to try again what failed.
    pub(crate) fn make_room(&self, last: bool) -> Result<Option<u64>, Error> {
        let inner = self.inner();
        let pruned = inner.store.make_room(inner.bounds.min_free_bytes, last)?;
        let worth = inner.store.disk_room()?.total_bytes / WORTH;
        Ok(Some(pruned.bytes).filter(|bytes| *bytes > worth))
    }

    /// Returns how often this builder found something in its store damaged, and set it aside. When
    /// it grew while something failed, the same is worth trying again: what is missing is made anew.
    pub fn damage_seen(&self) -> u64 {
        self.inner().store.damage_seen()
    }

    /// Takes what a person should know of the store: what was found to be damaged and set aside
    /// since this was last asked, a line each. A build tells it in its events.
    pub fn take_warnings(&self) -> Vec<String> {
        self.inner().store.take_warnings()
    }

    /// Checks what the store holds against its digests. Reads everything. If `repair` says so, what
    /// is damaged is moved to the store's folder `quarantine`, and the results that need it are
    /// forgotten.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Store`] when something cannot be read or moved.
    pub fn verify_cache(&self, repair: bool) -> Result<CacheVerification, Error> {
        let inner = self.inner();
        Ok(inner
            .store
            .verify(repair, &|layer| inner.snapshots.inspect(layer))?)
    }
}

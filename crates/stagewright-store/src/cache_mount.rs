//! Directories of `RUN --mount=type=cache`.
//!
//! ```text
//! mounts/<64 hex>/<n>/        a directory; n > 0 for those that `private` made beside a busy one
//! mounts/<64 hex>/<n>.lock    locked, shared or alone, by the steps that use it
//! ```

use std::path::{Path, PathBuf};

use stagewright_digest::ContentDigest;

use crate::disk;
use crate::error::StoreError;
use crate::lock::FileLock;
use crate::store::Store;

/// How steps share a cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own: a step that finds it busy gets another.
    Private,
    /// One at a time.
    Locked,
}

/// The use of a cache directory by one step.
#[derive(Debug)]
pub struct CacheMountLease {
    path: PathBuf,
    _lock: Option<FileLock>,
}

impl CacheMountLease {
    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Gives a step the use of a cache directory, made if it is not there. Nothing when
    /// `cancelled` says to give up waiting for a locked one. Blocks.
    pub fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<CacheMountLease>, StoreError> {
        let parent = self
            .path()
            .join("mounts")
            .join(ContentDigest::of(id.as_bytes()).to_hex());
        disk::create_dir_all(&parent)?;
        let lock_path = |n: u32| parent.join(format!("{n}.lock"));
        let (n, lock) = match sharing {
            Sharing::Shared => (0, None),
            Sharing::Locked => match FileLock::wait_unless(&lock_path(0), cancelled)? {
                Some(lock) => (0, Some(lock)),
                None => return Ok(None),
            },
            Sharing::Private => {
                let mut n = 0;
                loop {
                    if let Some(lock) = FileLock::try_take(&lock_path(n))? {
                        break (n, Some(lock));
                    }
                    n += 1;
                }
            }
        };
        let path = parent.join(n.to_string());
        disk::create_dir_all(&path)?;
        Ok(Some(CacheMountLease { path, _lock: lock }))
    }
}

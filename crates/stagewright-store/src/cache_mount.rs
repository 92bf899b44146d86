//! Directories of `RUN --mount=type=cache`.
//!
//! ```text
//! mounts/<64 hex>/id          the id that its name is the hash of
//! mounts/<64 hex>/<n>/        a directory; n > 0 for those that `private` made beside a busy one
//! mounts/<64 hex>/<n>.lock    locked, shared or alone, by the steps that use it; its time is when
//!                             one last did
//! ```

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_digest::ContentDigest;

use crate::disk;
use crate::error::StoreError;
use crate::lock::FileLock;
use crate::store::Store;

/// The file that says which id a folder is for.
pub(crate) const ID: &str = "id";

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
    store: Store,
    path: PathBuf,
    _lock: FileLock,
}

impl CacheMountLease {
    /// Returns the directory. It may have to be made first.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the directory has been made.
    pub fn is_made(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory of one on the store's file system, which is moved; another step that
    /// shares it may have been faster.
    pub fn make(&self, new: &Path) -> Result<(), StoreError> {
        if disk::rename_new(new, &self.path)?
            && let Some(parent) = self.path.parent()
        {
            disk::sync_directory(parent)?;
        }
        Ok(())
    }
}

impl Drop for CacheMountLease {
    fn drop(&mut self) {
        // Nobody counts what steps write to it.
        self.store.note_mount(&self.path);
    }
}

impl Store {
    /// Gives a step the use of a cache directory, which it makes if it is not there. It is not
    /// collected while the lease lives. A step that wants it alone waits for those that share it, and they for it.
    /// Nothing when `cancelled` says to give up waiting. Blocks.
    pub fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<CacheMountLease>, StoreError> {
        let parent = self.mount_folder(id);
        let Some((n, lock)) = lock_mount(&parent, sharing, cancelled)? else {
            return Ok(None);
        };
        // When it was last used is known by the time of its lock, which is no one's content.
        disk::touch(lock.file())?;
        let named = parent.join(ID);
        if !named.exists() {
            self.publish(&named, id.as_bytes())?;
        }
        let path = parent.join(n.to_string());
        Ok(Some(CacheMountLease {
            store: self.clone(),
            path,
            _lock: lock,
        }))
    }

    /// Gives the use of a cache directory that has been made, alone. Nothing if there is none, or when `cancelled` says to
    /// give up waiting for the steps that use it. Blocks.
    pub fn made_cache_mount(
        &self,
        id: &str,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<CacheMountLease>, StoreError> {
        if !self.mount_folder(id).join("0").is_dir() {
            return Ok(None);
        }
        let lease = self.cache_mount(id, Sharing::Locked, cancelled)?;
        Ok(lease.filter(CacheMountLease::is_made))
    }

    fn mount_folder(&self, id: &str) -> PathBuf {
        let name = ContentDigest::of(id.as_bytes()).to_hex();
        self.path().join("mounts").join(name)
    }
}

/// Returns the number of the directory of which a lock was taken.
fn lock_mount(
    parent: &Path,
    sharing: Sharing,
    cancelled: &dyn Fn() -> bool,
) -> io::Result<Option<(u32, FileLock)>> {
    let take = |n: u32| in_folder(parent, || FileLock::try_take(&lock_path(parent, n)));
    match sharing {
        Sharing::Shared => {
            let share = || in_folder(parent, || FileLock::try_share(&lock_path(parent, 0)));
            Ok(FileLock::poll(cancelled, share)?.map(|lock| (0, lock)))
        }
        Sharing::Locked => Ok(FileLock::poll(cancelled, || take(0))?.map(|lock| (0, lock))),
        Sharing::Private => {
            let mut n = 0;
            loop {
                if let Some(lock) = take(n)? {
                    return Ok(Some((n, lock)));
                }
                n += 1;
            }
        }
    }
}

pub(crate) fn lock_path(parent: &Path, n: u32) -> PathBuf {
    parent.join(format!("{n}.lock"))
}

/// Lists the directories of a cache mount, by the names of their locks.
pub(crate) fn numbers(parent: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        numbers.extend(
            name.strip_suffix(".lock")
                .and_then(|n| n.parse::<u32>().ok()),
        );
    }
    Ok(numbers)
}

/// Does something in a folder, made if it is not there: who collects garbage removes empty ones.
fn in_folder<T>(folder: &Path, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        disk::create_dir_all(folder)?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::open(StoreOptions { path }).unwrap();
        (folder, store)
    }

    #[test]
    fn who_makes_it_first_makes_it() {
        let (folder, store) = store();
        let leases = [0, 1].map(|_| take(&store, Sharing::Shared).unwrap());
        assert!(!leases[0].is_made());
        for (lease, name) in leases.iter().zip(["a", "b"]) {
            let new = folder.path().join(name);
            fs::create_dir(&new).unwrap();
            fs::write(new.join(name), name).unwrap();
            lease.make(&new).unwrap();
            assert!(lease.is_made() && lease.path().join("a").exists(), "{name}");
        }
        assert!(!leases[0].path().join("b").exists());
    }

    /// Takes a directory if that needs no waiting.
    fn take(store: &Store, sharing: Sharing) -> Option<CacheMountLease> {
        store.cache_mount("id", sharing, &|| true).unwrap()
    }

    #[test]
    fn one_that_is_locked_is_used_by_one_step_at_a_time() {
        let (_folder, store) = store();
        let first = take(&store, Sharing::Locked);
        assert!(take(&store, Sharing::Locked).is_none());
        assert!(take(&store, Sharing::Shared).is_none());
        drop(first);
        assert!(take(&store, Sharing::Locked).is_some());
    }

    #[test]
    fn one_that_is_shared_is_used_by_all_who_share_it() {
        let (_folder, store) = store();
        let first = take(&store, Sharing::Shared).unwrap();
        let second = take(&store, Sharing::Shared).unwrap();
        assert_eq!(first.path(), second.path());
        assert!(take(&store, Sharing::Locked).is_none());
        let third = take(&store, Sharing::Private).unwrap();
        assert_ne!(first.path(), third.path());
    }

    #[test]
    fn one_that_has_been_made_is_given_to_who_waits_for_its_steps() {
        let (folder, store) = store();
        let made = || store.made_cache_mount("id", &|| true).unwrap();
        assert!(made().is_none());
        let step = take(&store, Sharing::Shared).unwrap();
        let new = folder.path().join("new");
        fs::create_dir(&new).unwrap();
        step.make(&new).unwrap();
        assert!(made().is_none(), "a step uses it");
        drop(step);
        assert!(made().is_some_and(|lease| lease.is_made()));
        let other = store.made_cache_mount("other", &|| true).unwrap();
        assert!(other.is_none() && !store.mount_folder("other").exists());
    }
}

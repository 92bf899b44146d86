//! Work in progress.
//!
//! ```text
//! tmp/<random>/         a folder; what is in it is its owner's business
//! tmp/<random>.owner    locked by the owner; once it is not, the folder is dead and removed
//! ```

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::error::StoreError;
use crate::files;
use crate::lock::FileLock;
use crate::store::Store;

const OWNER_SUFFIX: &str = ".owner";

/// A folder for work in progress, removed when it is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    owner: PathBuf,
    _lock: FileLock,
}

impl TempDir {
    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = files::remove_tree(&self.path) {
            tracing::debug!(%error, "a temporary folder stays until the next cleaning");
            return;
        }
        if let Err(error) = fs::remove_file(&self.owner) {
            tracing::debug!(%error, "an owner's file stays until the next cleaning");
        }
    }
}

impl Store {
    /// Makes a folder for work in progress.
    pub fn temp_dir(&self) -> Result<TempDir, StoreError> {
        let parent = self.path().join("tmp");
        let (owner, lock) = loop {
            let (file, owner) = tempfile::Builder::new()
                .prefix("")
                .suffix(OWNER_SUFFIX)
                .tempfile_in(&parent)?
                .keep()
                .map_err(|error| error.error)?;
            if let Some(lock) = FileLock::of_new(fs::File::from_parts(file, &owner))? {
                break (owner, lock);
            }
        };
        let name = owner
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let path = parent.join(name.trim_end_matches(OWNER_SUFFIX));
        fs::create_dir(&path)?;
        Ok(TempDir {
            path,
            owner,
            _lock: lock,
        })
    }

    /// Removes the temporary folders whose owners are dead.
    pub(crate) fn clean_temp(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.path().join("tmp"))? {
            let owner = entry?.path();
            let name = owner
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(stem) = name.strip_suffix(OWNER_SUFFIX) else {
                continue;
            };
            let lock = match FileLock::try_take(&owner) {
                Ok(Some(lock)) => lock,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            files::remove_tree(&owner.with_file_name(stem))?;
            match fs::remove_file(&owner) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
            drop(lock);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    #[test]
    fn dead_folders_are_removed_and_living_ones_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::open(StoreOptions { path: path.clone() }).unwrap();
        let living = store.temp_dir().unwrap();
        fs::create_dir_all(path.join("tmp/dead/deep")).unwrap();
        fs::write(path.join("tmp/dead.owner"), "").unwrap();
        Store::open(StoreOptions { path: path.clone() }).unwrap();
        assert!(living.path().exists());
        assert!(!path.join("tmp/dead").exists() && !path.join("tmp/dead.owner").exists());
        drop(living);
        assert_eq!(fs::read_dir(path.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn cleaning_at_the_same_time_takes_no_folder_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::open(StoreOptions { path: path.clone() }).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let store = store.clone();
                scope.spawn(move || (0..300).for_each(|_| store.clean_temp().unwrap()));
            }
            for _ in 0..2 {
                let store = store.clone();
                scope.spawn(move || {
                    for _ in 0..150 {
                        let temp = store.temp_dir().unwrap();
                        assert!(temp.path().exists() && temp.owner.exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(path.join("tmp")).unwrap().count(), 0);
    }
}

//! Work in progress.
//!
//! ```text
//! tmp/<random>/         a folder; what is in it is its owner's business
//! tmp/<random>.owner    locked by the owner; once it is not, the folder is dead and removed
//! tmp/<random>.new      a file that will get its name elsewhere; locked by who writes it
//! ```

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::disk::{self, Remover};
use crate::error::StoreError;
use crate::files::file_name;
use crate::lock::{self, FileLock};
use crate::store::Store;

const OWNER_SUFFIX: &str = ".owner";

/// A folder for work in progress, removed when it is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    owner: PathBuf,
    remover: Option<Remover>,
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
        if let Err(error) = disk::remove_owned_tree(&self.path, self.remover.as_ref()) {
            tracing::debug!(%error, "a temporary folder stays until the next cleaning");
            return;
        }
        if let Err(error) = disk::remove_file(&self.owner) {
            tracing::debug!(%error, "an owner's file stays until the next cleaning");
        }
    }
}

impl Store {
    /// Makes a folder for work in progress.
    pub fn temp_dir(&self) -> Result<TempDir, StoreError> {
        let parent = self.temp_directory();
        let (file, owner) = disk::locked_file(&parent, OWNER_SUFFIX)?
            .keep()
            .map_err(|error| error.error)?;
        let lock = FileLock::held(fs::File::from_parts(file, &owner));
        let path = parent.join(file_name(&owner).trim_end_matches(OWNER_SUFFIX));
        disk::create_dir(&path)?;
        Ok(TempDir {
            path,
            owner,
            remover: self.remover().cloned(),
            _lock: lock,
        })
    }

    pub(crate) fn temp_directory(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// Removes the temporary folders and files whose owners are dead.
    pub(crate) fn clean_temp(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.temp_directory())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let folder = name.strip_suffix(OWNER_SUFFIX);
            if folder.is_none() && !name.ends_with(disk::TEMP_SUFFIX) {
                continue;
            }
            // What is gone by now was removed by its owner, or has its final name.
            let Some(_lock) = lock::try_take_existing(&path)? else {
                continue;
            };
            if let Some(folder) = folder {
                let folder = path.with_file_name(folder);
                if let Some(remover) = self.remover() {
                    remover.vacate(&folder);
                }
                disk::remove_owned_tree(&folder, self.remover())?;
            }
            disk::remove_file(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

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
        fs::write(path.join("tmp/dead.new"), "half").unwrap();
        let mut blob = store.blob_writer().unwrap();
        blob.write_all(b"written by a living process").unwrap();
        Store::open(StoreOptions { path: path.clone() }).unwrap();
        assert!(living.path().exists());
        assert!(!path.join("tmp/dead").exists() && !path.join("tmp/dead.owner").exists());
        assert!(!path.join("tmp/dead.new").exists());
        blob.commit(None).unwrap();
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

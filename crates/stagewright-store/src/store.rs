//! The store as a whole.
//!
//! ```text
//! version   the schema version, as decimal text
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fs_err as fs;

use crate::disk::{self, Remover};
use crate::error::StoreError;
use crate::files;
use crate::layer::Records;
use crate::lease::Lease;
use crate::lock::FileLock;
use crate::provisional::Unsettled;
use crate::quarantine::FoundDamage;

/// The schema version of the folder. Raise it when the meaning of a file changes, and say in
/// [`Store::migrate`] how the files of the version before become those of the new one.
const VERSION: u32 = 2;
/// The oldest version whose files can be used. What is older is removed: it can be built again.
const OLDEST_VERSION: u32 = 1;
const FOLDERS: [&str; 12] = [
    "blobs/sha256",
    "layers",
    "actions",
    "parts",
    "documents",
    "gc",
    "index",
    "leases",
    "locks",
    "mounts",
    "quarantine",
    "tmp",
];

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Its folder, made if it is not there.
    pub path: PathBuf,
}

/// A content store. Clones share it, and the lease on what they use if they are of a session.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    lease: Option<Arc<Lease>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    found: FoundDamage,
    remover: Option<Remover>,
    unsettled: Unsettled,
    records: Mutex<Records>,
}

impl Store {
    /// Opens a store, or makes it.
    ///
    /// # Errors
    /// When the folder cannot be made or written, belongs to a newer version of the program, or
    /// holds something else.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_with(options, None)
    }

    /// As [`Store::open`]; `remover` is asked to remove trees that this process may not.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(options: StoreOptions, remover: Option<Remover>) -> Result<Self, StoreError> {
        let path = options.path;
        disk::create_dir_all(&path)?;
        let store = Self {
            inner: Arc::new(Inner {
                path,
                found: FoundDamage::default(),
                remover,
                unsettled: Unsettled::default(),
                records: Mutex::default(),
            }),
            lease: None,
        };
        match files::read(&store.version_path())? {
            Some(bytes) => store.check_version(&bytes)?,
            None => store.create()?,
        }
        store.clean_temp()?;
        Ok(store)
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns a file in it that nobody writes to.
    pub fn still_file(&self) -> PathBuf {
        self.version_path()
    }

    pub(crate) fn remover(&self) -> Option<&Remover> {
        self.inner.remover.as_ref()
    }

    pub(crate) fn with_lease(&self, lease: Lease) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            lease: Some(Arc::new(lease)),
        }
    }

    /// Returns the store that this is a session of, if it is one.
    pub(crate) fn without_lease(&self) -> Option<Self> {
        self.lease.is_some().then(|| Self {
            inner: Arc::clone(&self.inner),
            lease: None,
        })
    }

    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }

    pub(crate) fn found_damage(&self) -> &FoundDamage {
        &self.inner.found
    }

    pub(crate) fn unsettled(&self) -> &Unsettled {
        &self.inner.unsettled
    }

    pub(crate) fn known_records(&self) -> &Mutex<Records> {
        &self.inner.records
    }

    fn version_path(&self) -> PathBuf {
        self.path().join("version")
    }

    fn check_version(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        let path = self.path().to_owned();
        let Ok(found) = text.parse::<u32>() else {
            return Err(StoreError::UnknownVersion { path, found: text });
        };
        match found {
            VERSION => Ok(()),
            ..VERSION => self.migrate(),
            _ => Err(StoreError::Future {
                path,
                found,
                known: VERSION,
            }),
        }
    }

    /// Brings a store of an older version up to this one. Each step can be repeated, and the version comes
    /// last.
    fn migrate(&self) -> Result<(), StoreError> {
        for folder in FOLDERS {
            disk::create_dir_all(&self.path().join(folder))?;
        }
        let _lock = FileLock::wait(&self.path().join("locks/schema"))?;
        let bytes = files::read(&self.version_path())?.unwrap_or_default();
        let found: u32 = String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0);
        if found >= VERSION {
            // Another process has done it.
            return Ok(());
        }
        tracing::warn!(found, known = VERSION, "the store is of an older version");
        if found < OLDEST_VERSION {
            for folder in FOLDERS.iter().filter(|folder| **folder != "locks") {
                disk::remove_owned_tree(&self.path().join(folder), self.remover())?;
                disk::create_dir_all(&self.path().join(folder))?;
            }
        } else {
            // Version 1 wrote its temporary files beside the places that they were for.
            remove_strays(self.path(), STRAYS_DEPTH)?;
        }
        Ok(self.publish(&self.version_path(), format!("{VERSION}\n").as_bytes())?)
    }

    /// Two processes may do this at once: each step can be repeated, and the version comes last.
    fn create(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.path())? {
            let name = entry?.file_name();
            let ours = FOLDERS.iter().any(|folder| {
                Path::new(folder)
                    .components()
                    .next()
                    .is_some_and(|part| part.as_os_str() == name)
            });
            let name = name.to_string_lossy();
            if !ours && name != "version" && !name.starts_with(STRAY_PREFIX) {
                return Err(StoreError::NotAStore {
                    path: self.path().to_owned(),
                });
            }
        }
        for folder in FOLDERS {
            disk::create_dir_all(&self.path().join(folder))?;
        }
        Ok(self.publish(&self.version_path(), format!("{VERSION}\n").as_bytes())?)
    }
}

/// How deep below the store version 1 wrote temporary files: `documents/<kind>/`.
const STRAYS_DEPTH: u32 = 2;
const STRAY_PREFIX: &str = ".new-";

fn remove_strays(folder: &Path, depth: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let stray = entry
            .file_name()
            .to_string_lossy()
            .starts_with(STRAY_PREFIX);
        if stray {
            disk::remove_file(&entry.path())?;
        } else if depth > 0 && entry.file_type()?.is_dir() {
            remove_strays(&entry.path(), depth - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> Result<Store, StoreError> {
        let path = path.to_owned();
        Store::open(StoreOptions { path })
    }

    fn with_version(version: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        opened(&path).unwrap().put_blob(b"kept").unwrap();
        fs::write(path.join("version"), version).unwrap();
        (folder, path)
    }

    #[test]
    fn a_store_from_the_future_is_left_alone() {
        let (_folder, path) = with_version("3\n");
        let message = opened(&path).unwrap_err().to_string();
        assert!(
            message.contains("schema version 3, this program knows version 2: use a newer program"),
            "{message}"
        );
        assert_eq!(fs::read_to_string(path.join("version")).unwrap(), "3\n");
    }

    #[test]
    fn a_version_that_is_no_number_is_not_called_the_future() {
        for text in ["", "two", "\u{0}\u{0}"] {
            let (_folder, path) = with_version(text);
            let message = opened(&path).unwrap_err().to_string();
            assert!(
                message.contains("is not one that any program wrote"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_store_of_version_1_is_migrated_with_what_it_holds() {
        let (_folder, path) = with_version("1\n");
        fs::create_dir_all(path.join("documents/place")).unwrap();
        let strays = ["blobs/sha256/.new-a", ".new-b", "documents/place/.new-c"];
        for stray in strays {
            fs::write(path.join(stray), "half").unwrap();
        }
        let store = opened(&path).unwrap();
        for stray in strays {
            assert!(!path.join(stray).exists(), "{stray}");
        }
        let digest = stagewright_digest::Digest::of(b"kept");
        assert_eq!(store.read_blob(&digest).unwrap(), Some(b"kept".to_vec()));
        assert_eq!(fs::read_to_string(path.join("version")).unwrap(), "2\n");
    }

    #[test]
    fn a_store_that_is_too_old_begins_anew() {
        let (_folder, path) = with_version("0\n");
        let store = opened(&path).unwrap();
        assert_eq!(store.usage().unwrap().blobs.count, 0);
        store.put_blob(b"new").unwrap();
        assert_eq!(opened(&path).unwrap().usage().unwrap().blobs.count, 1);
    }
}

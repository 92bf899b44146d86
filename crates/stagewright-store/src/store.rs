//! The store as a whole.
//!
//! ```text
//! version   the schema version, as decimal text
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

use crate::error::StoreError;
use crate::files;

/// The schema version of the folder. Raise it when the meaning of a file changes.
const VERSION: u32 = 1;
const FOLDERS: [&str; 9] = [
    "blobs/sha256",
    "layers",
    "actions",
    "parts",
    "documents",
    "index",
    "locks",
    "mounts",
    "tmp",
];

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Its folder, made if it is not there.
    pub path: PathBuf,
}

/// A content store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
}

impl Store {
    /// Opens a store, or makes it.
    ///
    /// # Errors
    /// When the folder cannot be made or written, belongs to a newer version of the program, or
    /// holds something else.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let path = options.path;
        fs::create_dir_all(&path)?;
        let store = Self(Arc::new(Inner { path }));
        match files::read(&store.version_path())? {
            Some(bytes) => store.check_version(&bytes)?,
            None => store.create()?,
        }
        store.clean_temp()?;
        Ok(store)
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn version_path(&self) -> PathBuf {
        self.path().join("version")
    }

    fn check_version(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        if text == VERSION.to_string() {
            return Ok(());
        }
        Err(StoreError::Future {
            path: self.path().to_owned(),
            found: text,
            known: VERSION,
        })
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
            if !ours && name != "version" && !name.starts_with(".new-") {
                return Err(StoreError::NotAStore {
                    path: self.path().to_owned(),
                });
            }
        }
        for folder in FOLDERS {
            fs::create_dir_all(self.path().join(folder))?;
        }
        files::publish(&self.version_path(), format!("{VERSION}\n").as_bytes())?;
        files::sync_directory(self.path()).map_err(io::Error::into)
    }
}

//! What the verbs keep between runs: the stand-in bases and the demo's store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bases::{Bases, Registry};
use crate::host;

/// Names another folder for the state than `target/demo`.
const FOLDER_VARIABLE: &str = "STAGEWRIGHT_DEMO_DIR";

/// The folder of the state.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
}

impl State {
    /// Opens the state, which is made when it is not there.
    pub(crate) fn open() -> Result<Self> {
        let folder = match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) => PathBuf::from(folder),
            None => host::root().join("target/demo"),
        };
        fs_err::create_dir_all(&folder)?;
        Ok(Self {
            folder: fs_err::canonicalize(folder)?,
        })
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Serves the stand-in bases, which are made first when they are not there.
    pub(crate) fn serve_bases(&self) -> Result<Registry> {
        // Two verbs at once would write the same files: the second waits for the first.
        let lock = fs_err::File::create(self.folder.join("lock"))?;
        lock.file()
            .lock()
            .context("waiting for another run of xtask")?;
        let bases = Bases::make(&self.folder)?;
        Registry::start(&self.folder, &bases)
    }
}

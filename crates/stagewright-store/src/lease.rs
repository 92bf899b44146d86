//! Leases: what running builds use is not collected.
//!
//! ```text
//! leases/<random>.lease   a line for each thing that its owner uses: its path in the store; locked
//!                         for as long as its owner lives
//! leases/gate             locked: shared while a line is added, alone while things are removed
//! ```
//!
//! A line is added before its thing is looked up. Whoever removes things takes the gate alone, reads
//! all leases, and moves away what none of them names: so a thing is either named before the leases
//! are read, and stays, or it is gone when its user looks for it. A lease whose owner died is not
//! locked any more and protects nothing.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;

use crate::disk;
use crate::error::StoreError;
use crate::fault;
use crate::files;
use crate::lock::{self, FileLock};
use crate::store::Store;

const FOLDER: &str = "leases";
const GATE: &str = "gate";
const SUFFIX: &str = ".lease";

/// The names of what one user of a store uses. Dropping it gives them up.
#[derive(Debug)]
pub(crate) struct Lease {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made with the first line.
    file: Option<fs::File>,
    names: HashSet<String>,
}

impl Lease {
    pub(crate) fn new(store: &Path) -> Self {
        Self {
            folder: store.join(FOLDER),
            state: Mutex::default(),
        }
    }

    /// Protects a thing from here on; says whether it was not yet. It may have been removed before: look
    /// for it afterwards.
    fn add(&self, name: &str) -> io::Result<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.names.contains(name) {
            return Ok(false);
        }
        let _gate = shared_gate(&self.folder)?;
        let file = match &mut state.file {
            Some(file) => file,
            none => none.insert(self.create()?),
        };
        fault::point("write", file.path())?;
        file.write_all(format!("{name}\n").as_bytes())?;
        state.names.insert(name.to_owned());
        Ok(true)
    }

    /// The gate is held: nobody removes the file before it is locked.
    fn create(&self) -> io::Result<fs::File> {
        let (file, path) = disk::locked_file(&self.folder, SUFFIX)?
            .keep()
            .map_err(|error| error.error)?;
        Ok(fs::File::from_parts(file, path))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &state.file
            && let Err(error) = disk::remove_file(file.path())
        {
            tracing::debug!(%error, "a lease stays until the next garbage collection");
        }
    }
}

fn shared_gate(folder: &Path) -> io::Result<FileLock> {
    let path = folder.join(GATE);
    match FileLock::shared(&path) {
        // Stores of older programs have no folder for leases.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk::create_dir_all(folder)?;
            FileLock::shared(&path)
        }
        gate => gate,
    }
}

/// The right to remove what no lease names. While it is held nobody begins to use anything: hold it
/// for a moment only.
#[derive(Debug)]
pub(crate) struct Gate {
    names: HashSet<String>,
    _lock: FileLock,
}

impl Gate {
    /// Says whether somebody uses a thing.
    pub(crate) fn leased(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

impl Store {
    /// Returns the store for one build, or another user of what it holds: whatever is found, stored or
    /// changed through it is not collected while it, or a clone of it, is there.
    pub fn session(&self) -> Self {
        self.with_lease(Lease::new(self.path()))
    }

    /// Protects a thing, named by its path in the store, if this is a session. Says whether this was
    /// the first time.
    pub(crate) fn protect(&self, name: &str) -> io::Result<bool> {
        self.lease().map_or(Ok(false), |lease| lease.add(name))
    }

    /// Closes the gate and reads all leases. Removes those of the dead.
    pub(crate) fn close_gate(&self) -> Result<Gate, StoreError> {
        let folder = self.path().join(FOLDER);
        disk::create_dir_all(&folder)?;
        let lock = FileLock::wait(&folder.join(GATE))?;
        let names = self.leased_names(true)?;
        Ok(Gate { names, _lock: lock })
    }

    /// Returns the paths of what is in use now.
    pub(crate) fn leased_names(&self, remove_dead: bool) -> Result<HashSet<String>, StoreError> {
        let mut names = HashSet::new();
        let folder = self.path().join(FOLDER);
        if !folder.exists() {
            return Ok(names);
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if !path.to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            if let Some(_dead) = lock::try_take_existing(&path)? {
                if remove_dead {
                    disk::remove_file(&path)?;
                }
                continue;
            }
            let bytes = files::read(&path)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            names.extend(text.lines().map(str::to_owned));
        }
        Ok(names)
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
    fn a_session_protects_what_it_used_until_its_last_clone_is_gone() {
        let (_folder, store) = store();
        let session = store.session();
        let clone = session.clone();
        session.protect("blobs/a").unwrap();
        store.protect("blobs/b").unwrap();
        let gate = store.close_gate().unwrap();
        assert!(gate.leased("blobs/a") && !gate.leased("blobs/b"));
        drop((gate, session));
        assert!(store.close_gate().unwrap().leased("blobs/a"));
        drop(clone);
        assert!(!store.close_gate().unwrap().leased("blobs/a"));
        // Only the gate is left.
        let left = fs::read_dir(store.path().join(FOLDER)).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn the_lease_of_the_dead_protects_nothing_and_is_removed() {
        let (_folder, store) = store();
        let dead = store.path().join("leases/dead.lease");
        fs::write(&dead, "blobs/a\n").unwrap();
        assert!(!store.close_gate().unwrap().leased("blobs/a"));
        assert!(!dead.exists());
    }

    #[test]
    fn nothing_is_added_while_the_gate_is_closed() {
        let (_folder, store) = store();
        let session = store.session();
        let gate = store.close_gate().unwrap();
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| session.protect("blobs/a").unwrap());
            assert!(!gate.leased("blobs/a"));
            assert!(!store.leased_names(false).unwrap().contains("blobs/a"));
            drop(gate);
            adding.join().unwrap();
        });
        assert!(store.close_gate().unwrap().leased("blobs/a"));
    }
}

//! Removing things.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use fs_err as fs;

use super::contents::{Found, Place, modified};
use super::options::{PruneOptions, Pruned};
use super::size::Floor;
use crate::blob;
use crate::cache_mount;
use crate::disk;
use crate::document::RESOLUTION_KIND;
use crate::error::StoreError;
use crate::files::{file_name, list};
use crate::index::unix_ms;
use crate::layer::{self, PROVISIONAL, RECORD};
use crate::lease::Gate;
use crate::lock::{self, FileLock};
use crate::provisional::is_lost;
use crate::store::Store;
use crate::temp::TempDir;

/// How many things are moved away while the gate is closed: renames, some milliseconds together.
const BATCH: usize = 32;

impl Store {
    /// Removes what nobody needs, the least recently used first, and what dead processes left.
    ///
    /// Builds may go on meanwhile: what they use stays.
    ///
    /// # Errors
    /// When something cannot be read or removed. What was removed before that stays removed.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, StoreError> {
        // What a session looks at it protects.
        if let Some(store) = self.without_lease() {
            return store.prune(options);
        }
        let folder = self.path().join("gc");
        disk::create_dir_all(&folder)?;
        let _lock = match FileLock::try_take(&folder.join("lock"))? {
            Some(lock) => lock,
            None if options.unless_running => {
                return Ok(Pruned {
                    was_running: true,
                    ..Pruned::default()
                });
            }
            None => FileLock::wait(&folder.join("lock"))?,
        };
        let began_unix_ms = unix_ms(std::time::SystemTime::now());
        self.clean_temp()?;
        let growth = self.begin_measure()?;
        let found = self.find_all()?;
        let records = self.records_room()?.bytes;
        let mut pruned = Pruned {
            left_bytes: records + found.iter().map(|found| found.item.bytes).sum::<u64>(),
            ..Pruned::default()
        };
        let keep = match options.has_end() {
            true => options.kept_bytes(pruned.left_bytes, &self.disk_room()?),
            false => None,
        };
        let used = |found: &&Found| found.item.in_use && !found.item.tagged;
        let used_bytes: u64 = found
            .iter()
            .filter(used)
            .map(|found| found.item.bytes)
            .sum();
        self.remove_found(found, options, keep, began_unix_ms, &mut pruned)?;
        if !options.is_narrow() {
            if options.is_of_all() && keep.is_none() {
                self.remove_resolutions()?;
            }
            self.remove_dead_locks()?;
            self.remove_unfinished_layers()?;
            self.compact_actions(options, began_unix_ms)?;
        }
        // What was not asked for here may go for the limit's sake.
        let missed = options.is_of_all() && keep.is_some_and(|keep| pruned.left_bytes > keep);
        let floor = match missed {
            true => Floor {
                bytes: pruned.left_bytes,
                idle_bytes: pruned.left_bytes.saturating_sub(used_bytes),
            },
            false => Floor::default(),
        };
        self.end_measure(growth, pruned.left_bytes, floor)?;
        Ok(pruned)
    }

    fn remove_found(
        &self,
        found: Vec<Found>,
        options: &PruneOptions,
        keep: Option<u64>,
        began_unix_ms: u64,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        // To reach a size anything goes; asked for outright, base images stay unless they are named.
        let bases = options.all || keep.is_some() || options.is_narrow();
        let wanted: Vec<Found> = found
            .into_iter()
            .filter(|found| options.names(&found.item) && found.item.is_reclaimable())
            .filter(|found| bases || !found.base)
            // The config of a base image is worth little room, and a question to its registry.
            .filter(|found| options.all || !found.base || !matches!(found.place, Place::Blob(_)))
            .collect();
        let enough = |pruned: &Pruned| keep.is_some_and(|keep| pruned.left_bytes <= keep);
        for batch in wanted.chunks(BATCH) {
            if enough(pruned) {
                break;
            }
            // On a disk that is full there may be no room for a folder: then things go where they are.
            let trash = self.temp_dir().ok();
            let gate = self.close_gate()?;
            // After the leases: a build names its image before it gives up its lease.
            let tagged = self.roots()?.tagged;
            let mut bin = Bin::new(self, trash.as_ref());
            for found in batch {
                // A layer that was made meanwhile may name a blob that none named before.
                let newer = matches!(&found.place, Place::Blob(digest) if
                    modified(&self.path().join(blob::name_of(digest))) >= began_unix_ms);
                if !newer && !enough(pruned) && self.remove(found, &gate, &tagged, &mut bin)? {
                    pruned.bytes += found.item.bytes;
                    pruned.left_bytes = pruned.left_bytes.saturating_sub(found.item.bytes);
                    pruned.items.push(found.item.clone());
                }
            }
            drop(gate);
            bin.empty()?;
        }
        Ok(())
    }

    /// Moves one thing away unless it is needed by now. Says whether it did.
    fn remove(
        &self,
        found: &Found,
        gate: &Gate,
        tagged: &HashSet<String>,
        bin: &mut Bin,
    ) -> Result<bool, StoreError> {
        let needed = |name: &String| gate.leased(name) || tagged.contains(name);
        match &found.place {
            Place::Layer(id, _, blobs) => {
                let name = layer::name_of(id);
                if needed(&name) {
                    return Ok(false);
                }
                self.note_evicted(id)?;
                bin.take(&self.path().join(name))?;
                for (digest, _) in blobs {
                    let name = blob::name_of(digest);
                    if !needed(&name) {
                        bin.take(&self.path().join(name))?;
                    }
                }
                Ok(true)
            }
            Place::Blob(digest) => {
                let name = blob::name_of(digest);
                if needed(&name) {
                    return Ok(false);
                }
                bin.take(&self.path().join(name))?;
                Ok(true)
            }
            Place::Mount(folder) => Ok(remove_mount(folder, bin)?),
            Place::Document(path) => Ok(disk::remove_file(path)?),
        }
    }

    fn remove_resolutions(&self) -> Result<(), StoreError> {
        for path in list(&self.path().join("documents").join(RESOLUTION_KIND))? {
            disk::remove_file(&path)?;
        }
        Ok(())
    }

    /// Removes the files of locks that nobody holds: one is left by each action that ever ran.
    fn remove_dead_locks(&self) -> Result<(), StoreError> {
        for path in list(&self.path().join("locks"))? {
            if file_name(&path).len() == ACTION_NAME_LENGTH
                && let Some(_held) = lock::try_take_existing(&path)?
            {
                disk::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Says whether there is a layer in a folder: not one that was lost with the power. When in doubt it stays.
    fn is_finished(&self, folder: &Path) -> bool {
        match self.read_record(folder) {
            Ok(Some(record)) => !is_lost(&record),
            Ok(None) => folder.join(RECORD).exists(),
            Err(_) => true,
        }
    }

    /// Removes the folders of layers that nobody finished.
    fn remove_unfinished_layers(&self) -> Result<(), StoreError> {
        let unfinished: Vec<_> = list(&self.path().join("layers"))?
            .into_iter()
            .filter(|path| !self.is_finished(path))
            .collect();
        for batch in unfinished.chunks(BATCH) {
            let trash = self.temp_dir().ok();
            let gate = self.close_gate()?;
            let mut bin = Bin::new(self, trash.as_ref());
            for path in batch {
                let leased = gate.leased(&format!("layers/{}", file_name(path)));
                let held = ["lock", "making"].iter().any(|lock| {
                    let lock = path.join(lock);
                    lock.exists() && !matches!(lock::try_take_existing(&lock), Ok(Some(_)))
                });
                if !leased && !held && !self.is_finished(path) {
                    bin.take(path)?;
                }
            }
            drop(gate);
            bin.empty()?;
        }
        Ok(())
    }
}

/// The length of the name of an action's lock.
const ACTION_NAME_LENGTH: usize = 64;

/// Removes the directories of a cache mount that no step uses. Says whether all went.
fn remove_mount(folder: &Path, bin: &mut Bin) -> io::Result<bool> {
    for n in cache_mount::numbers(folder)? {
        let path = cache_mount::lock_path(folder, n);
        // Whoever waits for the lock finds that its file is gone, and makes another.
        let Some(_held) = lock::try_take_existing(&path)? else {
            if path.exists() {
                return Ok(false);
            }
            continue;
        };
        bin.take(&folder.join(n.to_string()))?;
        disk::remove_file(&path)?;
    }
    disk::remove_file(&folder.join(cache_mount::ID))?;
    // A step may have come just now: then the folder is not empty, and its id is written again.
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        result => result.map(|()| true),
    }
}

/// Takes what is removed: a temporary folder, so that what a killed process leaves is removed by the
/// next.
struct Bin<'a> {
    folder: Option<&'a TempDir>,
    count: u32,
    store: &'a Store,
    changed: HashSet<std::path::PathBuf>,
}

impl<'a> Bin<'a> {
    fn new(store: &'a Store, folder: Option<&'a TempDir>) -> Self {
        Self {
            folder,
            count: 0,
            store,
            changed: HashSet::new(),
        }
    }

    /// Moves a file or folder away, if it is there.
    fn take(&mut self, path: &Path) -> io::Result<()> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        self.changed.extend(path.parent().map(Path::to_owned));
        if let Some(folder) = self.folder {
            self.count += 1;
            let to = folder.path().join(self.count.to_string());
            match disk::rename(path, &to) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                result => return result,
            }
        }
        // A layer without its record is none.
        for record in [RECORD, PROVISIONAL] {
            disk::remove_file(&path.join(record)).or_else(|error| match error.kind() {
                io::ErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            })?;
        }
        disk::remove_any(path, self.store.remover())
    }

    /// Removes what was taken. That it is gone is durable first: a name that came back after a crash
    /// would be one of files that may not have.
    fn empty(self) -> Result<(), StoreError> {
        for folder in &self.changed {
            if folder.starts_with(self.store.path()) && folder.exists() {
                disk::sync_directory(folder)?;
            }
        }
        if let Some(folder) = self.folder {
            for path in list(folder.path())? {
                disk::remove_any(&path, self.store.remover())?;
            }
        }
        Ok(())
    }
}

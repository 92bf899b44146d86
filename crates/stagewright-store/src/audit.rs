//! What the store holds.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::document::CONTEXT_KIND;
use crate::error::StoreError;
use crate::files::{file_name, list};
use crate::store::Store;

/// What takes the store's room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The blobs: what was pulled, and what was compressed for an export.
    pub blobs: Room,
    /// The layers, packed and unpacked.
    pub layers: Room,
    /// The directories of `RUN --mount=type=cache`.
    pub cache_mounts: Room,
    /// What is known of the files of build contexts.
    pub contexts: Room,
    /// Records, locks and work in progress.
    pub records: Room,
}

/// How many things there are and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// How many.
    pub count: u64,
    /// The bytes that they take on disk.
    pub bytes: u64,
    /// Of these, what images with names need.
    pub shared_bytes: u64,
    /// Of these, what could be removed now.
    pub reclaimable_bytes: u64,
}

impl Usage {
    /// Returns the bytes of everything.
    pub fn bytes(&self) -> u64 {
        self.sum(|room| room.bytes)
    }

    /// Returns the bytes of what images with names need.
    pub fn shared_bytes(&self) -> u64 {
        self.sum(|room| room.shared_bytes)
    }

    /// Returns the bytes of what could be removed now.
    pub fn reclaimable_bytes(&self) -> u64 {
        self.sum(|room| room.reclaimable_bytes)
    }

    fn sum(&self, bytes: fn(&Room) -> u64) -> u64 {
        self.rooms().iter().map(|(_, room)| bytes(room)).sum()
    }

    /// Returns the kinds of things and what each takes, by the names of the fields.
    pub fn rooms(&self) -> [(&'static str, &Room); 5] {
        [
            ("layers", &self.layers),
            ("blobs", &self.blobs),
            ("cache_mounts", &self.cache_mounts),
            ("contexts", &self.contexts),
            ("records", &self.records),
        ]
    }
}

impl Store {
    /// Measures records, locks and work in progress.
    pub(crate) fn records_room(&self) -> Result<Room, StoreError> {
        let mut records = Room::default();
        for folder in [
            "actions",
            "parts",
            "documents",
            "locks",
            "tmp",
            "quarantine",
        ] {
            let more = room_of(&self.path().join(folder))?;
            records.count += more.count;
            records.bytes += more.bytes;
        }
        // What is known of contexts is counted by itself.
        let contexts = self.path().join("documents").join(CONTEXT_KIND);
        records.bytes -= bytes_below(&contexts, &mut HashSet::new())?.min(records.bytes);
        Ok(records)
    }
}

/// Lists what is finished in a folder that must be there: what version 1 was still writing begins
/// with a point.
pub(crate) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::metadata(folder)?;
    let mut paths = list(folder)?;
    paths.retain(|path| !file_name(path).starts_with('.'));
    Ok(paths)
}

fn room_of(folder: &Path) -> io::Result<Room> {
    let mut room = Room::default();
    let mut seen = HashSet::new();
    for path in entries(folder)? {
        room.count += 1;
        room.bytes += bytes_below(&path, &mut seen)?;
    }
    Ok(room)
}

/// Adds up the blocks of a file or tree; what goes while it is measured counts nothing, and a file
/// with several names counts once. Of a directory that only another id of a step may look into, itself alone is counted.
pub(crate) fn bytes_below(path: &Path, seen: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied]
                .contains(&error.kind()) =>
        {
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    let linked = !metadata.is_dir() && metadata.nlink() > 1;
    if linked && !seen.insert((metadata.dev(), metadata.ino())) {
        return Ok(0);
    }
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(bytes),
            entries => entries?,
        };
        for entry in entries {
            bytes += bytes_below(&entry?.path(), seen)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions {
            path: folder.path().join("store"),
        })
        .unwrap();
        (folder, store)
    }

    #[test]
    fn a_whole_store_passes_and_is_measured() {
        let (_folder, store) = store();
        store.put_blob(b"one").unwrap();
        store.put_blob(&[7; 10_000]).unwrap();
        let found = store.verify(false, &|_| Ok(Vec::new())).unwrap();
        assert_eq!(found.damaged, vec![]);
        assert!(found.checked >= 2);
        let usage = store.usage().unwrap();
        assert_eq!(usage.blobs.count, 2);
        assert!(
            usage.blobs.bytes >= 10_003 && usage.bytes() >= usage.blobs.bytes,
            "{usage:?}"
        );
    }

    #[test]
    fn a_flipped_bit_is_found_and_repaired() {
        let (_folder, store) = store();
        let digest = store.put_blob(b"content").unwrap();
        let path = store.blob(&digest).unwrap().unwrap().path;
        fs::write(&path, b"cOntent").unwrap();
        let found = store.verify(false, &|_| Ok(Vec::new())).unwrap();
        assert_eq!(found.damaged.len(), 1);
        assert_eq!(found.damaged[0].path, path);
        store.verify(true, &|_| Ok(Vec::new())).unwrap();
        assert_eq!(store.blob(&digest).unwrap(), None);
        assert_eq!(
            store.verify(false, &|_| Ok(Vec::new())).unwrap().damaged,
            vec![]
        );
    }
}

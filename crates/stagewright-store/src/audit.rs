//! What the store holds, and whether it is whole.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_digest::DigestWriter;

use crate::disk;
use crate::error::StoreError;
use crate::files;
use crate::layer::LayerRecord;
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
}

/// What a check of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// How many blobs and layers were checked.
    pub checked: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
}

/// Something in the store that is not what its name or record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Usage {
    /// Returns the bytes of everything.
    pub fn bytes(&self) -> u64 {
        [self.blobs, self.layers, self.cache_mounts, self.records]
            .iter()
            .map(|room| room.bytes)
            .sum()
    }
}

impl Store {
    /// Measures what the store takes on disk. Reads every directory and no file.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let room = |folder: &str| room_of(&self.path().join(folder));
        let mut records = Room::default();
        for folder in ["actions", "parts", "documents", "locks", "tmp"] {
            let more = room(folder)?;
            records.count += more.count;
            records.bytes += more.bytes;
        }
        Ok(Usage {
            blobs: room("blobs/sha256")?,
            layers: room("layers")?,
            cache_mounts: room("mounts")?,
            records,
        })
    }

    /// Checks every blob against its name, and every layer's record and packed form. Reads all of
    /// them. Unpacked forms are not checked: their files have no digest of their own.
    ///
    /// With `repair`, what is damaged is removed; it is pulled or built again when it is needed.
    ///
    /// # Errors
    /// When something cannot be read, or what is damaged not removed.
    pub fn verify(&self, repair: bool) -> Result<Verification, StoreError> {
        let mut found = Verification::default();
        for path in entries(&self.path().join("blobs/sha256"))? {
            found.checked += 1;
            found.damaged.extend(check_blob(&path)?);
        }
        for path in entries(&self.path().join("layers"))? {
            found.checked += 1;
            found.damaged.extend(check_layer(&path)?);
        }
        if repair {
            for damage in &found.damaged {
                remove(&damage.path)?;
            }
        }
        Ok(found)
    }
}

fn check_blob(path: &Path) -> io::Result<Option<Damage>> {
    let name = file_name(path);
    let digest = sha256(path)?;
    let damage = |reason| {
        Some(Damage {
            path: path.to_owned(),
            reason,
        })
    };
    Ok(if digest == format!("sha256:{name}") {
        None
    } else {
        damage(format!("its bytes have the digest {digest}"))
    })
}

/// A layer whose record is not there was never finished: nothing refers to it.
fn check_layer(path: &Path) -> io::Result<Option<Damage>> {
    let damage = |reason: &str| {
        Ok(Some(Damage {
            path: path.to_owned(),
            reason: reason.to_owned(),
        }))
    };
    let record = path.join("record");
    if !record.exists() {
        return Ok(None);
    }
    let Some(bytes) = files::read_checked(&record)? else {
        return damage("its record is damaged");
    };
    let Ok(record) = serde_json::from_slice::<LayerRecord>(&bytes) else {
        return damage("its record cannot be read");
    };
    let packed = path.join("packed.tar");
    if packed.exists()
        && let Some(diff_id) = &record.diff_id
        && sha256(&packed)? != diff_id.to_string()
    {
        return damage("its tar is not the one that was recorded");
    }
    if !path.join("index").exists() {
        return damage("its index is missing");
    }
    Ok(None)
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut fs::File::open(path)?, &mut writer)?;
    let (_, digest, _) = writer.finish();
    Ok(digest.to_string())
}

/// Lists what is finished in a folder: what is still being written begins with a point.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        disk::remove_tree(path)
    } else {
        disk::remove_file(path).map(drop)
    }
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
/// with several names counts once.
fn bytes_below(path: &Path, seen: &mut HashSet<(u64, u64)>) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let linked = !metadata.is_dir() && metadata.nlink() > 1;
    if linked && !seen.insert((metadata.dev(), metadata.ino())) {
        return Ok(0);
    }
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
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
        let found = store.verify(false).unwrap();
        assert_eq!((found.checked, found.damaged), (2, vec![]));
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
        let found = store.verify(false).unwrap();
        assert_eq!(found.damaged.len(), 1);
        assert_eq!(found.damaged[0].path, path);
        store.verify(true).unwrap();
        assert_eq!(store.blob(&digest).unwrap(), None);
        assert_eq!(store.verify(false).unwrap().damaged, vec![]);
    }
}

//! Files that are either whole or not there.

use std::io::{self, Read as _};
use std::path::Path;

use fs_err as fs;
use stagewright_digest::ContentDigest;

use crate::disk;
use crate::store::Store;

/// The bytes of a checksum at the start of a checked file.
const CHECKSUM_BYTES: usize = 32;

impl Store {
    /// Publishes a file: written in the store's folder for temporary files, made durable, renamed.
    pub(crate) fn publish(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            disk::create_dir_all(directory)?;
        }
        let mut temp = disk::temp_file(&self.temp_directory())?;
        disk::write_all(&mut temp, path, bytes)?;
        disk::sync_data(temp.as_file(), path)?;
        disk::persist(temp, path)
    }

    /// Publishes a file with a checksum in front.
    pub(crate) fn publish_checked(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let checksum = ContentDigest::of(bytes);
        self.publish(path, &[checksum.as_bytes().as_slice(), bytes].concat())
    }
}

/// Reads what [`Store::publish_checked`] wrote. Nothing if it is not there or damaged: what such files
/// hold can always be made again.
pub(crate) fn read_checked(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(mut bytes) = read(path)? else {
        return Ok(None);
    };
    if bytes.len() < CHECKSUM_BYTES {
        return Ok(None);
    }
    let content = bytes.split_off(CHECKSUM_BYTES);
    if ContentDigest::of(&content).as_bytes().as_slice() != bytes {
        tracing::warn!(path = %path.display(), "a file of the store is damaged and is not used");
        return Ok(None);
    }
    Ok(Some(content))
}

/// Reads a file if it is there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(bytes))
}

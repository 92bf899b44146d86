//! Files that are either whole or not there.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_digest::ContentDigest;

use crate::disk;
use crate::store::Store;

/// The bytes of a checksum at the start of a checked file.
const CHECKSUM_BYTES: usize = 32;
/// In such pieces a file is written to the disk, or not.
const BLOCK_BYTES: usize = 4096;

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
        self.publish(path, &with_checksum(bytes))
    }

    /// As [`Store::publish_checked`], but does not wait for the disk: for what may be lost when the power is. Two waits
    /// for the disk cost more than all else that a small step needs.
    pub(crate) fn publish_hint(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.publish_named_hint(path, bytes, ContentDigest::of(bytes).as_bytes())
    }

    /// As [`Store::publish_hint`], for bytes whose name is known.
    pub(crate) fn publish_named_hint(
        &self,
        path: &Path,
        bytes: &[u8],
        name: &[u8; 32],
    ) -> io::Result<()> {
        if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
            disk::create_dir_all_soon(directory)?;
        }
        let mut temp = disk::temp_file(&self.temp_directory())?;
        disk::write_all(&mut temp, path, &[name, bytes].concat())?;
        disk::name(temp, path)
    }
}

/// Returns what a checked file holds.
pub(crate) fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let checksum = ContentDigest::of(bytes);
    [checksum.as_bytes().as_slice(), bytes].concat()
}

/// What a file with a checksum turned out to be.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It is not there.
    Absent,
    /// Its bytes are not those that were written.
    Damaged,
    /// Its content.
    Whole(Vec<u8>),
}

/// Reads what [`Store::publish_checked`] or [`Store::publish_hint`] wrote.
pub(crate) fn check(path: &Path) -> io::Result<Checked> {
    Ok(match read(path)? {
        None => Checked::Absent,
        Some(bytes) if is_whole(&bytes) => Checked::Whole(bytes[CHECKSUM_BYTES..].to_vec()),
        Some(bytes) if was_not_written(&bytes) => Checked::Absent,
        Some(_) => Checked::Damaged,
    })
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes
        .split_at_checked(CHECKSUM_BYTES)
        .is_some_and(|(sum, content)| ContentDigest::of(content).as_bytes().as_slice() == sum)
}

/// Says whether a file that is not whole is what is left of one that had its name before its bytes were on the disk when the
/// power went: nothing, or blocks of zeros.
fn was_not_written(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks(BLOCK_BYTES);
    bytes.is_empty() || blocks.any(is_zero)
}

/// Says whether all bytes are zero, as file systems give back what was never written.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
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

/// Lists a folder that may not be there, sorted.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Returns the last part of a path as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

//! What is damaged is moved aside: it is never used again, and can be looked at.
//!
//! ```text
//! quarantine/<n>-<name>   a file or folder that was damaged; the name says where it was
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use stagewright_digest::{Digest, DigestWriter, LayerId};

use crate::disk;
use crate::error::StoreError;
use crate::files::{self, Checked, file_name, list};
use crate::store::Store;

const FOLDER: &str = "quarantine";

/// What was found through a store and its clones.
#[derive(Debug, Default)]
pub(crate) struct FoundDamage {
    count: AtomicU64,
    /// What is still to be told.
    warnings: Mutex<Vec<String>>,
}

impl FoundDamage {
    fn warnings(&self) -> MutexGuard<'_, Vec<String>> {
        // The list is whole whatever happened to its last user.
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a layer that can be damaged while the rest is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerPart {
    /// Its record or its index: nothing of it can be used without them.
    Whole,
    /// Its packed form.
    Packed,
    /// Its unpacked form.
    Unpacked,
}

impl Store {
    /// Returns how often damage was found through this store and set aside. Whoever sees it grow
    /// while something failed can do it again: what was damaged will be made anew.
    pub fn damage_seen(&self) -> u64 {
        self.found_damage().count.load(Ordering::Relaxed)
    }

    /// Takes what is to be told of damage that was found since this was last asked: a line each.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.found_damage().warnings())
    }

    /// Notes that something was damaged, for whoever is to be told.
    pub(crate) fn warn_of_damage(&self, path: &Path, reason: &str) {
        let found = self.found_damage();
        found.count.fetch_add(1, Ordering::Relaxed);
        let line = format!(
            "{} in the store was damaged and is set aside: {reason}",
            path.strip_prefix(self.path()).unwrap_or(path).display()
        );
        tracing::warn!("{line}");
        found.warnings().push(line);
    }

    /// Sets a damaged layer aside, or the one form of it that is damaged when there is another.
    /// Actions that need it run again.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn quarantine_layer(
        &self,
        id: &LayerId,
        part: LayerPart,
        reason: &str,
    ) -> Result<(), StoreError> {
        let Some(layer) = self.layer(id)? else {
            return Ok(());
        };
        let (packed, unpacked) = (layer.packed_path(), layer.unpacked_path());
        let path = match (part, packed, unpacked) {
            (LayerPart::Packed, Some(packed), Some(_)) => packed,
            (LayerPart::Unpacked, Some(_), Some(unpacked)) => unpacked,
            _ => self.layer_directory(id),
        };
        Ok(self.quarantine(&path, reason)?)
    }

    /// Reads a blob and sets it aside when its bytes are not those of its name. Says whether it is
    /// whole; one that is not there is not.
    ///
    /// # Errors
    /// When it cannot be read or moved.
    pub fn check_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(blob) = self.blob(digest)? else {
            return Ok(false);
        };
        let found = digest_of(&blob.path)?;
        if found == *digest {
            return Ok(true);
        }
        self.quarantine(&blob.path, &format!("its bytes have the digest {found}"))?;
        Ok(false)
    }

    /// Reads the packed form of a layer and sets it aside when it is not the one that was recorded.
    /// Says whether it is whole; one that is not there is not.
    ///
    /// # Errors
    /// When it cannot be read or moved.
    pub fn check_packed(&self, id: &LayerId) -> Result<bool, StoreError> {
        let Some(layer) = self.layer(id)? else {
            return Ok(false);
        };
        let (Some(path), Some(diff_id)) = (layer.packed_path(), layer.record.diff_id) else {
            return Ok(false);
        };
        if *digest_of(&path)?.as_bytes() == *diff_id.as_bytes() {
            return Ok(true);
        }
        let reason = "its tar is not the one that was recorded";
        self.quarantine_layer(id, LayerPart::Packed, reason)?;
        Ok(false)
    }

    /// Moves something that is damaged out of the way.
    pub(crate) fn quarantine(&self, path: &Path, reason: &str) -> io::Result<()> {
        self.warn_of_damage(path, reason);
        let folder = self.path().join(FOLDER);
        disk::create_dir_all(&folder)?;
        let from = path.strip_prefix(self.path()).unwrap_or(path);
        let name = from.to_string_lossy().replace('/', "-");
        for n in fs::read_dir(&folder)?.count().. {
            let to = folder.join(format!("{n}-{name}"));
            // Two processes that take the same number at once have other names, or move the same.
            if to.symlink_metadata().is_ok() {
                continue;
            }
            match disk::rename(path, &to) {
                // Somebody else has found it too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved?,
            }
            break;
        }
        Ok(())
    }

    /// Keeps a copy of something that is damaged and is about to be replaced.
    pub(crate) fn quarantine_copy(
        &self,
        path: &Path,
        bytes: &[u8],
        reason: &str,
    ) -> io::Result<()> {
        let copy = self.temp_directory().join(file_name(path));
        self.publish(&copy, bytes)?;
        self.quarantine(&copy, reason)
    }

    /// Reads a file with a checksum. One that is damaged is set aside, and is not there.
    pub(crate) fn read_checked(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match files::check(path)? {
            Checked::Whole(bytes) => Ok(Some(bytes)),
            Checked::Absent => Ok(None),
            Checked::Damaged => {
                // It may be that this user cannot move it: it is not used all the same.
                if let Err(error) = self.quarantine(path, "its checksum does not match") {
                    tracing::warn!(%error, "what is damaged stays where it is");
                }
                Ok(None)
            }
        }
    }

    /// Returns what was set aside.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn quarantined(&self) -> Result<Vec<PathBuf>, StoreError> {
        Ok(list(&self.path().join(FOLDER))?)
    }
}

/// Returns the SHA-256 of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut fs::File::open(path)?, &mut writer)?;
    let (_, digest, _) = writer.finish();
    Ok(digest)
}

//! OCI content by SHA-256.
//!
//! ```text
//! blobs/sha256/<64 hex>   the bytes
//! ```

use std::io::{self, Write};
use std::path::PathBuf;

use fs_err as fs;
use stagewright_digest::{Digest, DigestWriter};
use tempfile::NamedTempFile;

use crate::disk;
use crate::error::StoreError;
use crate::fault;
use crate::files;
use crate::store::Store;

/// A blob that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The file. It never changes; it may be removed when no lease protects it.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl Store {
    /// Finds a blob. Its bytes are not read: see [`Store::read_blob`] for a checked read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        let first = self.protect(&name_of(digest))?;
        let path = self.blob_path(digest);
        if first && let Ok(file) = fs::File::open(&path) {
            // A blob that no layer named may be named by one soon: a collection that began before
            // leaves what was used since alone.
            disk::touch(&file)?;
        }
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Blob {
                path,
                bytes: metadata.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a small blob and checks its bytes. A damaged one is set aside and reported as absent.
    pub fn read_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.protect(&name_of(digest))?;
        let path = self.blob_path(digest);
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(Some(bytes));
        }
        self.quarantine(&path, &format!("its bytes have the digest {found}"))?;
        Ok(None)
    }

    /// Stores bytes that are in memory.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        // One that is there may be damaged: then it is set aside, and written anew.
        if self.read_blob(&digest)?.is_none() {
            self.publish(&self.blob_path(&digest), bytes)?;
            self.note_growth(bytes.len() as u64);
        }
        Ok(digest)
    }

    /// Starts a blob that is written bit by bit. Dropping the writer removes it.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        let temp = disk::temp_file(&self.temp_directory())?;
        Ok(BlobWriter {
            store: self.clone(),
            inner: DigestWriter::new(temp),
        })
    }

    pub(crate) fn blob_directory(&self) -> PathBuf {
        self.path().join("blobs").join(Digest::ALGORITHM)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blob_directory().join(digest.to_hex())
    }
}

/// Returns how leases name a blob.
pub(crate) fn name_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", Digest::ALGORITHM, digest.to_hex())
}

/// Writes a blob.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    inner: DigestWriter<NamedTempFile>,
}

impl BlobWriter {
    /// Opens what was written so far, and what will be, from the start.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> io::Result<std::fs::File> {
        self.inner.get_ref().reopen()
    }

    /// Makes the blob durable and gives it its name.
    ///
    /// # Errors
    /// When its bytes are not those that are expected, or it cannot be written.
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let (temp, digest, bytes) = self.inner.finish();
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(StoreError::WrongDigest {
                expected: *expected,
                found: digest,
            });
        }
        let path = self.store.blob_path(&digest);
        self.store.protect(&name_of(&digest))?;
        disk::sync_data(temp.as_file(), &path)?;
        disk::persist(temp, &path)?;
        self.store.note_growth(bytes);
        Ok((digest, bytes))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fault::point("write blob", self.store.path())?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

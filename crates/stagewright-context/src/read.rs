//! Reading a file for copying.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use stagewright_digest::{ContentDigest, ContentHasher};

use crate::{Context, ContextError, Entry};

/// A file of a context that is being copied. It hashes what it hands out, so that a copy can be
/// held against the digest that its key was made of.
#[derive(Debug)]
pub struct ContextFile {
    file: File,
    path: PathBuf,
    hasher: ContentHasher,
    bytes: u64,
}

impl Context {
    /// Opens a file that a walk listed.
    pub fn open_file(&self, entry: &Entry) -> Result<ContextFile, ContextError> {
        Ok(ContextFile {
            file: self.open_regular(entry)?,
            path: entry.path.clone(),
            hasher: ContentHasher::new(),
            bytes: 0,
        })
    }
}

impl ContextFile {
    /// Returns how many bytes were handed out so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// Returns the digest of all bytes that were handed out; an error if the file has more.
    pub fn finish(mut self) -> Result<ContentDigest, ContextError> {
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(self.hasher.finish()),
            Ok(_) => Err(ContextError::Changed { path: self.path }),
            Err(source) => Err(ContextError::read(self.path, source)),
        }
    }
}

impl Read for ContextFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        self.bytes += len as u64;
        Ok(len)
    }
}

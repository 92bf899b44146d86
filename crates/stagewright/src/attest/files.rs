//! Files that packages are looked for in: of an image, or of a build context.

use std::io::{BufReader, Read as _};

use stagewright_layer::{EntryKind, EntryPath};
use stagewright_snapshot::MergedTree;
use stagewright_solver::ContextFiles;
use tempfile::SpooledTempFile;

use crate::error::{Error, ErrorKind};
use crate::failure;

/// More of a file is not read: lists of packages of whole distributions are smaller.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Nor of a database. It is read here and there: a small one lies in memory meanwhile, a larger one in a file without a
/// name.
const DATABASE_BYTES_MAX: u64 = 512 << 20;
const DATABASE_IN_MEMORY_MAX: usize = 16 << 20;

/// A regular file.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its path without a leading slash.
    pub(super) path: String,
    pub(super) executable: bool,
    pub(super) bytes: u64,
}

/// Where packages are looked for. Nothing is mounted.
pub(super) trait PackageFiles {
    /// Lists the regular files, in a fixed order. Those whose names are not UTF-8 are of no package.
    fn list(&self) -> Result<Vec<Found>, Error>;

    /// Opens a file that was listed.
    fn open(&self, path: &str) -> Result<Box<dyn std::io::BufRead + '_>, Error>;

    /// Reads a file that was listed; nothing for one that is too large.
    fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let mut bytes = Vec::new();
        let read = self
            .open(path)?
            .take(TEXT_BYTES_MAX + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| {
            let message = format!("looking for packages in {path}: {error}");
            Error::new(ErrorKind::Store, message)
        })?;
        if bytes.len() as u64 > TEXT_BYTES_MAX {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Copies a file that was listed to where it can be read here and there; nothing for one that is too large.
    fn random_access(&self, found: &Found) -> Result<Option<SpooledTempFile>, Error> {
        if found.bytes > DATABASE_BYTES_MAX {
            return Ok(None);
        }
        let mut copy = SpooledTempFile::new(DATABASE_IN_MEMORY_MAX);
        let mut file = self.open(&found.path)?.take(DATABASE_BYTES_MAX + 1);
        let copied = std::io::copy(&mut file, &mut copy).map_err(|error| {
            let message = format!("looking for packages in {}: {error}", found.path);
            Error::new(ErrorKind::Store, message)
        })?;
        Ok((copied <= DATABASE_BYTES_MAX).then_some(copy))
    }
}

impl PackageFiles for MergedTree {
    fn list(&self) -> Result<Vec<Found>, Error> {
        let entries = self.walk(&EntryPath::root());
        Ok(entries
            .filter_map(|found| {
                let EntryKind::File { bytes, .. } = found.kind() else {
                    return None;
                };
                Some(Found {
                    path: std::str::from_utf8(found.path().as_bytes())
                        .ok()?
                        .to_owned(),
                    executable: found.entry.metadata.mode & 0o111 != 0,
                    bytes: *bytes,
                })
            })
            .collect())
    }

    fn open(&self, path: &str) -> Result<Box<dyn std::io::BufRead + '_>, Error> {
        let fail = |message: String| Error::new(ErrorKind::Store, message);
        let entry = EntryPath::parse(path.as_bytes())
            .ok()
            .and_then(|path| self.lookup(&path))
            .ok_or_else(|| fail(format!("{path} is not in the image any more")))?;
        let reader =
            MergedTree::open(self, &entry).map_err(|error| fail(failure::chain(&error)))?;
        Ok(Box::new(BufReader::new(reader)))
    }
}

impl PackageFiles for ContextFiles {
    fn list(&self) -> Result<Vec<Found>, Error> {
        let files = self.files().map_err(failure::of_step)?;
        Ok(files
            .into_iter()
            .filter_map(|entry| {
                Some(Found {
                    path: entry.path.to_str()?.to_owned(),
                    executable: entry.mode & 0o111 != 0,
                    bytes: entry.bytes,
                })
            })
            .collect())
    }

    fn open(&self, path: &str) -> Result<Box<dyn std::io::BufRead + '_>, Error> {
        let file = self.open_file(path.as_ref()).map_err(failure::of_step)?;
        let file = file.ok_or_else(|| {
            let message = format!("{path} is not in the build context any more");
            Error::new(ErrorKind::NotFound, message)
        })?;
        Ok(Box::new(BufReader::new(file)))
    }
}

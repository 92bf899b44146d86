//! A tar with an image in it, opened for reading: where each of its files begins.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::image::ImageError;
use crate::media_type::LayerEncoding;

/// More files than this hold no image.
const ENTRIES_MAX: usize = 200_000;
/// Links are followed this often: old archives link a layer to the same layer of another image.
const LINKS_MAX: u32 = 8;

/// A tar file and where its entries are.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File { offset: u64, size: u64 },
    Link { target: String },
}

impl Archive {
    /// Reads the headers of a tar; seeks over the files.
    pub(crate) fn open(path: &Path, expected: &'static str) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Form {
            path: path.to_owned(),
            expected,
            reason,
        };
        let mut file = fs::File::open(path)?;
        let mut magic = Vec::new();
        file.by_ref().take(8).read_to_end(&mut magic)?;
        if LayerEncoding::of_magic(&magic) != LayerEncoding::Uncompressed {
            return Err(wrong("it is compressed; decompress it first".to_owned()));
        }
        file.seek(SeekFrom::Start(0))?;
        let not_a_tar = |error: io::Error| wrong(format!("it is no tar: {error}"));
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut entries = HashMap::new();
        for entry in archive.entries_with_seek().map_err(not_a_tar)? {
            let entry = entry.map_err(not_a_tar)?;
            if entries.len() >= ENTRIES_MAX {
                return Err(wrong(format!("it has more than {ENTRIES_MAX} files")));
            }
            let name = normal_name(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            let found = if kind.is_file() {
                Entry::File {
                    offset: entry.raw_file_position(),
                    size: entry.size(),
                }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let Some(target) = entry.link_name_bytes() else {
                    continue;
                };
                let target = String::from_utf8_lossy(&target).into_owned();
                let folder = match name.rsplit_once('/') {
                    Some((folder, _)) if kind.is_symlink() => format!("{folder}/{target}"),
                    _ => target,
                };
                Entry::Link {
                    target: normal_name(&folder),
                }
            } else {
                continue;
            };
            entries.insert(name, found);
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether there is a file, or a link, of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(&normal_name(name))
    }

    /// Returns where a file begins and how long it is; links are followed inside the archive.
    fn locate(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normal_name(name);
        for _ in 0..LINKS_MAX {
            match self.entries.get(&name)? {
                Entry::File { offset, size } => return Some((*offset, *size)),
                Entry::Link { target } => name.clone_from(target),
            }
        }
        None
    }

    /// Returns the length of a file.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.locate(name).map(|(_, size)| size)
    }

    /// Opens a file, if it is there.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<impl Read + Send + use<>>> {
        let Some((offset, size)) = self.locate(name) else {
            return Ok(None);
        };
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(file.take(size)))
    }

    /// Reads a small file into memory, if it is there.
    pub(crate) fn read_small(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(reader) = self.read(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{name} in {} is longer than {bytes_max} bytes",
                    self.path.display()
                ),
            ));
        }
        Ok(Some(bytes))
    }
}

/// Takes out `.`, `..` and doubled slashes. What would leave the archive stays at its top.
fn normal_name(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

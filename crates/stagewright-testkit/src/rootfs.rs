//! A root file system as its layers make it, without writing it anywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::layout::hex;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is, and what it holds.
    pub kind: Kind,
    /// The permission bits, with set-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The owning group.
    pub gid: u64,
    /// The extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file, or one more name of a file.
    File {
        /// Its length.
        size: u64,
        /// The SHA-256 of its bytes, in hexadecimal.
        sha256: String,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A device, a pipe: its type letter and its numbers.
    Special {
        /// `c`, `b` or `p`.
        letter: char,
        /// The device's major and minor number.
        device: (u32, u32),
    },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::File { size, sha256 } => write!(f, "file {size} bytes {:.12}", sha256)?,
            Kind::Folder => write!(f, "folder")?,
            Kind::Symlink { target } => write!(f, "link to {target}")?,
            Kind::Special { letter, device } => write!(f, "{letter} {}:{}", device.0, device.1)?,
        }
        write!(f, " {:o} {}:{}", self.mode, self.uid, self.gid)?;
        for (name, value) in &self.xattrs {
            write!(f, " {name}={}", hex(value))?;
        }
        Ok(())
    }
}

/// The entries of a root file system by path, without a leading slash; the root is the empty path
/// when a layer holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rootfs {
    /// The entries.
    pub entries: BTreeMap<String, Entry>,
}

impl Rootfs {
    /// Returns the entry at a path, with or without a leading slash.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_start_matches('/'))
    }

    /// Applies a layer: its uncompressed tar.
    pub fn apply(&mut self, tar: impl Read) {
        let mut added: BTreeMap<String, Entry> = BTreeMap::new();
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = normal(std::str::from_utf8(&entry.path_bytes()).unwrap());
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path.as_str()));
            if name == ".wh..wh..opq" {
                self.remove_below(folder);
            } else if let Some(hidden) = name.strip_prefix(".wh.") {
                let hidden = if folder.is_empty() {
                    hidden.to_owned()
                } else {
                    format!("{folder}/{hidden}")
                };
                self.remove(&hidden);
            } else {
                let new = match entry.header().entry_type() {
                    EntryType::Link => self.linked(&entry, &added),
                    _ => read_entry(&mut entry),
                };
                added.insert(path, new);
            }
        }
        for (path, entry) in added {
            if entry.kind != Kind::Folder {
                self.remove_below(&path);
            }
            self.entries.insert(path, entry);
        }
    }

    fn linked<R: Read>(&self, entry: &tar::Entry<'_, R>, added: &BTreeMap<String, Entry>) -> Entry {
        let target = entry.link_name_bytes().unwrap().into_owned();
        let target = normal(&String::from_utf8(target).unwrap());
        match added.get(&target).or_else(|| self.entries.get(&target)) {
            Some(found) => found.clone(),
            None => panic!("a hard link to {target}, which is not there"),
        }
    }

    fn remove(&mut self, path: &str) {
        self.entries.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, folder: &str) {
        if folder.is_empty() {
            self.entries.retain(|path, _| path.is_empty());
            return;
        }
        // They follow one another: each file of a layer asks for this, so that all are not looked at.
        let prefix = format!("{folder}/");
        let below: Vec<String> = self
            .entries
            .range(prefix.clone()..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&prefix))
            .collect();
        for path in below {
            self.entries.remove(&path);
        }
    }
}

/// Returns a path without leading `./`, leading and trailing `/`.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

fn read_entry<R: Read>(entry: &mut tar::Entry<'_, R>) -> Entry {
    let xattrs = read_xattrs(entry);
    let header = entry.header().clone();
    let device = || {
        (
            header.device_major().unwrap().unwrap_or(0),
            header.device_minor().unwrap().unwrap_or(0),
        )
    };
    let kind = match header.entry_type() {
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap().into_owned();
            Kind::Symlink {
                target: String::from_utf8(target).unwrap(),
            }
        }
        EntryType::Char => Kind::Special {
            letter: 'c',
            device: device(),
        },
        EntryType::Block => Kind::Special {
            letter: 'b',
            device: device(),
        },
        EntryType::Fifo => Kind::Special {
            letter: 'p',
            device: (0, 0),
        },
        _ => read_file(entry),
    };
    // A link's mode means nothing, and writers disagree about it.
    let mode = if matches!(kind, Kind::Symlink { .. }) {
        0o777
    } else {
        header.mode().unwrap()
    };
    Entry {
        kind,
        mode: mode & 0o7777,
        uid: header.uid().unwrap(),
        gid: header.gid().unwrap(),
        xattrs,
    }
}

fn read_file(content: &mut impl Read) -> Kind {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = content.read(&mut buffer).unwrap();
        if count == 0 {
            return Kind::File {
                size,
                sha256: hex(&hasher.finalize()),
            };
        }
        size += count as u64;
        hasher.update(&buffer[..count]);
    }
}

fn read_xattrs<R: Read>(entry: &mut tar::Entry<'_, R>) -> BTreeMap<String, Vec<u8>> {
    let mut xattrs = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions().unwrap() {
        for extension in extensions {
            let extension = extension.unwrap();
            if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
    }
    xattrs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerTar;

    fn applied(layers: Vec<LayerTar>) -> Vec<String> {
        let mut rootfs = Rootfs::default();
        for layer in layers {
            rootfs.apply(layer.finish().as_slice());
        }
        rootfs
            .entries
            .into_iter()
            .map(|(path, entry)| format!("{path} {entry}"))
            .collect()
    }

    #[test]
    fn layers_stack_and_whiteouts_hide() {
        let below = LayerTar::new()
            .folder("d", 0o755)
            .file("d/a", 0o644, "a")
            .file("d/b", 0o600, "b")
            .folder("e", 0o700)
            .file("e/c", 0o644, "c");
        let above = LayerTar::new()
            .whiteout("d/a")
            .opaque("e")
            .file("e/new", 0o644, "");
        assert_eq!(
            applied(vec![below, above]),
            [
                "d folder 755 0:0",
                "d/b file 1 bytes 3e23e8160039 600 0:0",
                "e folder 700 0:0",
                "e/new file 0 bytes e3b0c44298fc 644 0:0",
            ]
        );
    }

    #[test]
    fn a_file_in_place_of_a_folder_hides_what_it_held() {
        let below = LayerTar::new().folder("d", 0o755).file("d/a", 0o644, "a");
        let above = LayerTar::new().symlink("d", "x");
        assert_eq!(applied(vec![below, above]), ["d link to x 777 0:0"]);
    }

    #[test]
    fn a_hard_link_is_the_file_that_it_names() {
        let layer = LayerTar::new()
            .owner(1, 2)
            .file("./a", 0o755, "a")
            .hard_link("b", "a");
        assert_eq!(
            applied(vec![layer]),
            [
                "a file 1 bytes ca978112ca1b 755 1:2",
                "b file 1 bytes ca978112ca1b 755 1:2"
            ]
        );
    }

    #[test]
    fn a_whiteout_does_not_hide_its_own_layer() {
        let below = LayerTar::new().file("a", 0o644, "old");
        let above = LayerTar::new().file("a", 0o644, "a").whiteout("a");
        assert_eq!(
            applied(vec![below, above]),
            ["a file 1 bytes ca978112ca1b 644 0:0"]
        );
    }
}

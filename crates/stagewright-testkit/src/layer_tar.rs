//! Layers made by hand.

use std::fmt;

use tar::{EntryType, Header};

/// The time of everything in a layer made here: any fixed one does.
const MTIME: u64 = 1_700_000_000;

/// A layer's tar, written entry by entry in the order of the calls.
pub struct LayerTar {
    builder: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
}

impl fmt::Debug for LayerTar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerTar")
            .field("bytes", &self.builder.get_ref().len())
            .finish()
    }
}

impl LayerTar {
    /// Starts an empty layer, whose entries belong to root.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "reads as the start of a layer")]
    pub fn new() -> Self {
        Self {
            builder: tar::Builder::new(Vec::new()),
            owner: (0, 0),
        }
    }

    /// Gives the entries that follow an owner.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = self.header(EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        self.builder
            .append_data(&mut header, path, content)
            .unwrap();
        self
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(mut self, path: &str, mode: u32) -> Self {
        let mut header = self.header(EntryType::Directory, mode);
        let path = format!("{}/", path.trim_end_matches('/'));
        self.builder
            .append_data(&mut header, path, std::io::empty())
            .unwrap();
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        let mut header = self.header(EntryType::Symlink, 0o777);
        self.builder.append_link(&mut header, path, target).unwrap();
        self
    }

    /// Adds a hard link to an earlier entry.
    #[must_use]
    pub fn hard_link(mut self, path: &str, target: &str) -> Self {
        let mut header = self.header(EntryType::Link, 0o755);
        self.builder.append_link(&mut header, path, target).unwrap();
        self
    }

    /// Adds a character device by its major and minor number.
    #[must_use]
    pub fn device(mut self, path: &str, number: (u32, u32)) -> Self {
        let mut header = self.header(EntryType::Char, 0o666);
        header.set_device_major(number.0).unwrap();
        header.set_device_minor(number.1).unwrap();
        self.builder
            .append_data(&mut header, path, std::io::empty())
            .unwrap();
        self
    }

    /// Says that what lies at a path below this layer is gone.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let marker = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        self.file(&format!("{marker}.wh.{name}"), 0, "")
    }

    /// Says that a folder hides what it held below this layer.
    #[must_use]
    pub fn opaque(self, folder: &str) -> Self {
        self.file(&format!("{folder}/.wh..wh..opq"), 0, "")
    }

    /// Returns the tar's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(MTIME);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_size(0);
        header
    }
}

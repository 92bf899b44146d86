//! One file, folder or link of a context.

use std::path::PathBuf;

use rustix::fs::{FileType, Stat};
use stagewright_digest::ContentDigest;

/// Extended attributes: names and values, sorted by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A file, folder or link of a context, as it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the context's root; empty for the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Its permission bits with setuid, setgid and sticky: `0o7777` and nothing else.
    pub mode: u32,
    /// The owner on the host. A build makes everything that comes from a context root's.
    pub uid: u32,
    /// The group on the host. A build makes everything that comes from a context root's.
    pub gid: u32,
    /// The bytes of a file; zero for everything else.
    pub bytes: u64,
    /// When the content was last changed, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// What tells this state of the file from another.
    pub stamp: FileStamp,
    /// The extended attributes that belong into an image, by name. [`Context::digest`] fills them
    /// in.
    ///
    /// [`Context::digest`]: crate::Context::digest
    pub xattrs: Xattrs,
    /// The hash of a file's bytes. [`Context::digest`] fills it in.
    ///
    /// [`Context::digest`]: crate::Context::digest
    pub content: Option<ContentDigest>,
}

/// What an entry is. Hard links are files of their own; sockets are never listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is stored.
        target: PathBuf,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// The device's driver.
        major: u32,
        /// Which of the driver's devices.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The device's driver.
        major: u32,
        /// Which of the driver's devices.
        minor: u32,
    },
}

/// What the system tells about one state of a file: if none of it differs, the bytes don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// The device that the file is on.
    pub dev: u64,
    /// The file's number on it.
    pub ino: u64,
    /// The file's bytes.
    pub bytes: u64,
    /// When the content was last changed, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When anything about the file was last changed, in nanoseconds since 1970.
    pub ctime_ns: i128,
}

impl FileStamp {
    #[expect(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between architectures"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            bytes: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

impl Entry {
    /// Makes an entry of what the system tells; `None` for a socket, which has no place in an
    /// image.
    #[expect(
        clippy::unnecessary_cast,
        reason = "the fields' types differ between architectures"
    )]
    pub(crate) fn new(path: PathBuf, stat: &Stat, link: Option<PathBuf>) -> Option<Self> {
        let (major, minor) = (
            rustix::fs::major(stat.st_rdev as u64),
            rustix::fs::minor(stat.st_rdev as u64),
        );
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink {
                target: link.unwrap_or_default(),
            },
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Socket | FileType::Unknown => return None,
        };
        let stamp = FileStamp::of(stat);
        Some(Self {
            bytes: if kind == EntryKind::File {
                stamp.bytes
            } else {
                0
            },
            path,
            kind,
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime_ns: stamp.mtime_ns,
            stamp,
            xattrs: Vec::new(),
            content: None,
        })
    }

    /// Tells whether this is a folder.
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// Tells whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }
}

//! What a layer says about one path.

use std::collections::BTreeMap;

use stagewright_digest::ContentDigest;

use crate::EntryPath;

/// A point in time, counted from 1970 (UTC). `nanos` counts forwards, also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// Whole seconds.
    pub seconds: i64,
    /// The rest, below 1,000,000,000.
    pub nanos: u32,
}

impl Mtime {
    /// A time of whole seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

/// The attributes that entries of every kind have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: within `0o7777`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content was last modified. Not part of content digests.
    pub mtime: Mtime,
    /// Extended attributes that belong to an image; see [`xattr_belongs`].
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Root's, without extended attributes, at time zero.
    pub fn with_mode(mode: u32) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}

/// Returns whether an extended attribute is part of an image.
///
/// As in BuildKit's content hash: of `security.*` only file capabilities, nothing of `system.*`
/// (ACLs name users of the machine), and nothing that overlayfs keeps for itself.
pub fn xattr_belongs(name: &[u8]) -> bool {
    if name.starts_with(b"security.") {
        return name == b"security.capability";
    }
    let foreign: [&[u8]; 3] = [b"system.", b"trusted.overlay.", b"user.overlay."];
    !foreign.iter().any(|prefix| name.starts_with(prefix))
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its length.
        bytes: u64,
        /// The name of its bytes.
        content: ContentDigest,
    },
    /// A directory.
    Directory {
        /// Whether it hides what lies below it in lower layers.
        opaque: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: Vec<u8>,
    },
    /// Another name of an entry of the same layer.
    Hardlink {
        /// The first name in the order of paths, which is never a hard link itself.
        target: EntryPath,
    },
    /// A character device.
    CharDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Nothing: what lower layers hold at this path is gone.
    Whiteout,
}

impl EntryKind {
    /// Returns whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind,
    /// Its attributes. Those of a hard link equal its target's, those of a whiteout mean nothing.
    pub metadata: Metadata,
}

impl Entry {
    /// Returns a directory that hides nothing.
    pub fn directory(path: EntryPath, metadata: Metadata) -> Self {
        Self {
            path,
            kind: EntryKind::Directory { opaque: false },
            metadata,
        }
    }

    /// Returns the mark that what lower layers hold at `path` is gone.
    pub fn whiteout(path: EntryPath) -> Self {
        Self {
            path,
            kind: EntryKind::Whiteout,
            metadata: Metadata::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xattrs_of_images_are_told_from_those_of_the_host() {
        let cases: [(&[u8], bool); 9] = [
            (b"security.capability", true),
            (b"security.selinux", false),
            (b"security.ima", false),
            (b"system.posix_acl_access", false),
            (b"trusted.overlay.opaque", false),
            (b"user.overlay.origin", false),
            (b"user.overlayed", true),
            (b"user.mime_type", true),
            (b"trusted.x", true),
        ];
        for (name, expected) in cases {
            assert_eq!(
                xattr_belongs(name),
                expected,
                "{}",
                String::from_utf8_lossy(name)
            );
        }
    }
}

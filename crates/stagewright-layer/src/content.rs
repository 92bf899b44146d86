//! The content digest of entries.

use stagewright_digest::{ContentDigest, ContentHasher};

use crate::entry::{Entry, EntryKind, xattr_belongs};
use crate::path::EntryPath;

/// The version of the encoding below. A change gives every layer a new name.
const VERSION: u32 = 1;

/// Names a sequence of entries by what they hold, without their times.
///
/// ```text
/// encoding = framed("layer-content") u32le(VERSION) entry*
/// entry    = framed(path) kind u8 mode u32le uid u32le gid u32le
///            u32le(xattr count) (framed(name) framed(value))*  sorted by name
///            payload
/// framed   = u64le(length) bytes
/// payload  = kind 1, file:              u64le(size) the 32 bytes of the content's BLAKE3
///            kind 2, directory:         u8 opaque
///            kind 3, symbolic link:     framed(target)
///            kind 4, character device:  u32le(major) u32le(minor)
///            kind 5, block device:      u32le(major) u32le(minor)
///            kind 6, named pipe:        nothing
///            kind 7, whiteout:          nothing
/// ```
///
/// A hard link is encoded as what it links to. A symbolic link's mode is always `0o777`, as no
/// other can be set. A whiteout's attributes are zero. Extended attributes that do not belong to an
/// image are left out. Paths are in order, so that equal trees have equal names.
#[derive(Debug, Clone)]
pub struct TreeHasher {
    hasher: ContentHasher,
    encoded: Vec<u8>,
}

/// The encoding is handed to the hash function in pieces of about this size, as hashing many small
/// pieces is slow.
const PIECE_BYTES: usize = 64 * 1024;

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHasher {
    /// Starts with no entry.
    pub fn new() -> Self {
        let mut hasher = Self {
            hasher: ContentHasher::new(),
            encoded: Vec::with_capacity(PIECE_BYTES * 2),
        };
        hasher.framed(b"layer-content");
        hasher.encoded.extend_from_slice(&VERSION.to_le_bytes());
        hasher
    }

    /// Adds what lies at `path`. The path of `entry` itself is not looked at, so that a tree can be
    /// named as seen from any directory.
    ///
    /// # Panics
    /// When `entry` is a hard link: give what it links to.
    pub fn add(&mut self, path: &EntryPath, entry: &Entry) -> &mut Self {
        self.framed(path.as_bytes());
        let (kind, mode) = match &entry.kind {
            EntryKind::File { .. } => (1, entry.metadata.mode),
            EntryKind::Directory { .. } => (2, entry.metadata.mode),
            EntryKind::Symlink { .. } => (3, 0o777),
            EntryKind::CharDevice { .. } => (4, entry.metadata.mode),
            EntryKind::BlockDevice { .. } => (5, entry.metadata.mode),
            EntryKind::Fifo => (6, entry.metadata.mode),
            EntryKind::Whiteout => (7, 0),
            EntryKind::Hardlink { .. } => panic!("a hard link is hashed as what it links to"),
        };
        self.encoded.push(kind);
        self.attributes(entry, mode);
        match &entry.kind {
            EntryKind::File { bytes, content } => {
                self.encoded.extend_from_slice(&bytes.to_le_bytes());
                self.encoded.extend_from_slice(content.as_bytes());
            }
            EntryKind::Directory { opaque } => self.encoded.push(u8::from(*opaque)),
            EntryKind::Symlink { target } => self.framed(target),
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                self.encoded.extend_from_slice(&major.to_le_bytes());
                self.encoded.extend_from_slice(&minor.to_le_bytes());
            }
            EntryKind::Fifo | EntryKind::Whiteout | EntryKind::Hardlink { .. } => {}
        }
        if self.encoded.len() >= PIECE_BYTES {
            self.hasher.update(&self.encoded);
            self.encoded.clear();
        }
        self
    }

    /// Returns the name of the entries added so far.
    pub fn finish(mut self) -> ContentDigest {
        self.hasher.update(&self.encoded);
        self.hasher.finish()
    }

    fn attributes(&mut self, entry: &Entry, mode: u32) {
        let metadata = &entry.metadata;
        if matches!(entry.kind, EntryKind::Whiteout) {
            self.encoded.extend_from_slice(&[0; 16]);
            return;
        }
        for number in [mode, metadata.uid, metadata.gid] {
            self.encoded.extend_from_slice(&number.to_le_bytes());
        }
        let belonging = || {
            metadata
                .xattrs
                .iter()
                .filter(|(name, _)| xattr_belongs(name))
        };
        let count = u32::try_from(belonging().count())
            .expect("because an entry has far fewer attributes than 2^32");
        self.encoded.extend_from_slice(&count.to_le_bytes());
        for (name, value) in belonging() {
            self.framed(name);
            self.framed(value);
        }
    }

    fn framed(&mut self, bytes: &[u8]) {
        self.encoded
            .extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.encoded.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Metadata, Mtime};

    fn name(entries: &[Entry]) -> ContentDigest {
        let mut hasher = TreeHasher::new();
        for entry in entries {
            hasher.add(&entry.path, entry);
        }
        hasher.finish()
    }

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry {
            path: EntryPath::parse(path.as_bytes()).unwrap(),
            kind,
            metadata: Metadata {
                mode: 0o644,
                uid: 1,
                gid: 2,
                ..Metadata::default()
            },
        }
    }

    fn file(path: &str, bytes: &[u8]) -> Entry {
        let content = ContentDigest::of(bytes);
        entry(
            path,
            EntryKind::File {
                bytes: bytes.len() as u64,
                content,
            },
        )
    }

    fn changed(change: impl FnOnce(&mut Metadata)) -> Entry {
        let mut entry = file("f", b"x");
        change(&mut entry.metadata);
        entry
    }

    /// Every line must have a name of its own.
    #[test]
    fn every_field_counts() {
        let cases = [
            vec![],
            vec![file("f", b"x")],
            vec![file("g", b"x")],
            vec![file("f", b"y")],
            vec![file("f", b"x"), file("g", b"x")],
            vec![changed(|m| m.mode = 0o755)],
            vec![changed(|m| m.uid = 9)],
            vec![changed(|m| m.gid = 9)],
            vec![changed(|m| {
                drop(m.xattrs.insert(b"user.a".into(), b"b".into()))
            })],
            vec![changed(|m| {
                drop(m.xattrs.insert(b"user.a".into(), b"c".into()))
            })],
            vec![changed(|m| {
                drop(m.xattrs.insert(b"user.b".into(), b"b".into()))
            })],
            vec![entry("f", EntryKind::Directory { opaque: false })],
            vec![entry("f", EntryKind::Directory { opaque: true })],
            vec![entry(
                "f",
                EntryKind::Symlink {
                    target: b"a".into(),
                },
            )],
            vec![entry(
                "f",
                EntryKind::Symlink {
                    target: b"b".into(),
                },
            )],
            vec![entry("f", EntryKind::CharDevice { major: 1, minor: 2 })],
            vec![entry("f", EntryKind::CharDevice { major: 1, minor: 3 })],
            vec![entry("f", EntryKind::CharDevice { major: 2, minor: 2 })],
            vec![entry("f", EntryKind::BlockDevice { major: 1, minor: 2 })],
            vec![entry("f", EntryKind::Fifo)],
            vec![entry("f", EntryKind::Whiteout)],
        ];
        let names: Vec<_> = cases.iter().map(|case| name(case)).collect();
        for (at, one) in names.iter().enumerate() {
            assert!(!names[..at].contains(one), "case {at}: {:?}", cases[at]);
        }
    }

    #[test]
    fn times_and_attributes_of_the_host_do_not_count() {
        let plain = name(&[file("f", b"x")]);
        let mtime = Mtime {
            seconds: 5,
            nanos: 6,
        };
        assert_eq!(name(&[changed(|m| m.mtime = mtime)]), plain);
        for foreign in [
            "security.selinux",
            "system.posix_acl_access",
            "trusted.overlay.origin",
        ] {
            let entry = changed(|m| drop(m.xattrs.insert(foreign.into(), b"v".into())));
            assert_eq!(name(&[entry]), plain, "{foreign}");
        }
        let mut link = entry(
            "l",
            EntryKind::Symlink {
                target: b"a".into(),
            },
        );
        let before = name(std::slice::from_ref(&link));
        link.metadata.mode = 0o777;
        assert_eq!(name(&[link]), before);
    }

    /// A change here gives every layer a new name: bump `VERSION` on purpose only.
    #[test]
    fn names_are_pinned() {
        let empty = name(&[]).to_hex();
        let some = name(&[
            changed(|m| {
                drop(
                    m.xattrs
                        .insert(b"security.capability".into(), b"\0\x01".into()),
                )
            }),
            entry("g", EntryKind::Directory { opaque: true }),
            entry(
                "g/h",
                EntryKind::Symlink {
                    target: b"../f".into(),
                },
            ),
            entry("i", EntryKind::CharDevice { major: 1, minor: 3 }),
            entry("j", EntryKind::Whiteout),
        ])
        .to_hex();
        assert_eq!(
            empty,
            "fc3a62db6434c8c370360bfb2ac00faf26237ae6d1935e5d7aed3d383bdc9fb8"
        );
        assert_eq!(
            some,
            "06d2c21e80e111315063f3f1407d5949cdcdf40062c04fc4489727234be4bd30"
        );
    }
}

//! Work on trees of files inside a user namespace: what is asked and what comes back, shared by
//! both ends.

use std::ffi::OsString;
use std::path::PathBuf;

/// Something in a tree, as it is seen inside the user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeNode {
    /// Its path below the root; empty for the root.
    pub path: PathBuf,
    /// Its kind and permissions, as `st_mode`.
    pub mode: u32,
    /// Its owner, as the namespace numbers users.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was changed, in seconds since 1970.
    pub seconds: i64,
    /// The part of a second.
    pub nanos: u32,
    /// When its attributes were changed: seconds since 1970, and the part of a second.
    pub changed: (i64, u32),
    /// When it was made, where the file system knows.
    pub born: Option<(i64, u32)>,
    /// How many names it has.
    pub links: u32,
    /// The file system that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Which device it is, if it is one.
    pub special: u64,
    /// Where it leads, if it is a symbolic link.
    pub target: OsString,
    /// Its extended attributes.
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

/// A change of something in a tree. Paths are below the root, empty for the root itself; no
/// symbolic link is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeChange {
    /// Gives it to a user and a group, and then sets its permissions, which that may clear.
    Owner {
        /// What.
        path: PathBuf,
        /// The user, as the namespace numbers users.
        uid: u32,
        /// The group.
        gid: u32,
        /// The permissions; nothing for a symbolic link.
        mode: Option<u32>,
    },
    /// Sets an extended attribute.
    Xattr {
        /// Of what.
        path: PathBuf,
        /// The attribute.
        name: OsString,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes an extended attribute, if it is there.
    ClearXattr {
        /// Of what.
        path: PathBuf,
        /// The attribute.
        name: OsString,
    },
    /// Removes a file or an empty directory.
    Remove {
        /// What.
        path: PathBuf,
    },
    /// Sets the times of access and change.
    Times {
        /// Of what.
        path: PathBuf,
        /// In seconds since 1970.
        seconds: i64,
        /// The part of a second.
        nanos: u32,
    },
}

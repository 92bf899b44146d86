//! Looking at a tree of files: from here, or as it is seen in a user namespace.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};
use stagewright_exec::{TreeNode, UserNamespace};
use stagewright_layer::{EntryPath, Mtime};

use crate::sys;

pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the kernel knows of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    /// How many names it has.
    pub(crate) links: u64,
    /// The same for all its names.
    pub(crate) file: (u64, u64),
    /// Which device it is, if it is one.
    pub(crate) special: u64,
    /// When its attributes were changed.
    pub(crate) changed: (i64, u32),
    /// When it was made, where the file system knows.
    pub(crate) born: Option<(i64, u32)>,
}

impl Node {
    pub(crate) fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }
}

impl From<Statx> for Node {
    fn from(stat: Statx) -> Self {
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Self {
            mode: stat.stx_mode.into(),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mtime: Mtime {
                seconds: stat.stx_mtime.tv_sec,
                nanos: stat.stx_mtime.tv_nsec,
            },
            links: stat.stx_nlink.into(),
            file: (
                rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                stat.stx_ino,
            ),
            special: rustix::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            born: born.then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)),
        }
    }
}

/// Returns when the attributes of a file were changed.
pub(crate) fn changed(file: &OwnedFd) -> io::Result<(i64, u32)> {
    Ok(node_of(file)?.changed)
}

fn node_of(file: &OwnedFd) -> io::Result<Node> {
    let wanted = StatxFlags::BASIC_STATS;
    Ok(rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, wanted)?.into())
}

impl From<&TreeNode> for Node {
    fn from(node: &TreeNode) -> Self {
        Self {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            mtime: Mtime {
                seconds: node.seconds,
                nanos: node.nanos,
            },
            links: node.links.into(),
            file: (node.device, node.inode),
            special: node.special,
            changed: node.changed,
            born: node.born,
        }
    }
}

/// The names in a directory, and its extended attributes.
pub(crate) type Listed = (Vec<(Vec<u8>, Node)>, Xattrs);

/// A tree of files that nobody changes.
pub(crate) trait Tree: Sync {
    fn top(&self) -> io::Result<Node>;
    fn list(&self, directory: &EntryPath) -> io::Result<Listed>;
    fn link(&self, path: &EntryPath) -> io::Result<Vec<u8>>;
    fn open(&self, path: &EntryPath) -> io::Result<OwnedFd>;
    fn xattrs(&self, path: &EntryPath, file: &OwnedFd) -> io::Result<Xattrs>;
}

/// A tree that this process may read.
pub(crate) struct Here(pub(crate) OwnedFd);

impl Tree for Here {
    fn top(&self) -> io::Result<Node> {
        node_of(&self.0)
    }

    fn list(&self, directory: &EntryPath) -> io::Result<Listed> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = sys::open_below(&self.0, directory, flags, Mode::empty())?;
        let mut children = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let (flags, wanted) = (
                    AtFlags::SYMLINK_NOFOLLOW,
                    StatxFlags::BASIC_STATS | StatxFlags::BTIME,
                );
                let stat = rustix::fs::statx(&directory, name, flags, wanted)?;
                children.push((name.to_vec(), stat.into()));
            }
        }
        Ok((children, sys::xattrs(&directory)?))
    }

    fn link(&self, path: &EntryPath) -> io::Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.0, path.as_path(), Vec::new())?;
        Ok(target.into_bytes())
    }

    fn open(&self, path: &EntryPath) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        sys::open_below(&self.0, path, flags, Mode::empty())
    }

    fn xattrs(&self, _path: &EntryPath, file: &OwnedFd) -> io::Result<Xattrs> {
        sys::xattrs(file)
    }
}

/// A tree as it is seen in a user namespace.
pub(crate) struct Inside<'a> {
    namespace: &'a UserNamespace,
    root: &'a Path,
    /// The tree from here, where it may be read: most files can be opened without asking.
    here: Option<Here>,
    nodes: HashMap<PathBuf, TreeNode>,
    children: HashMap<PathBuf, Vec<Vec<u8>>>,
}

impl<'a> Inside<'a> {
    pub(crate) fn new(root: &'a Path, namespace: &'a UserNamespace) -> io::Result<Self> {
        let mut nodes = HashMap::new();
        let mut children: HashMap<PathBuf, Vec<Vec<u8>>> = HashMap::new();
        for node in namespace.walk(root)? {
            if let (Some(parent), Some(name)) = (node.path.parent(), node.path.file_name()) {
                let names = children.entry(parent.to_owned()).or_default();
                names.push(name.as_bytes().to_vec());
            }
            nodes.insert(node.path.clone(), node);
        }
        Ok(Self {
            namespace,
            root,
            here: sys::open_directory(root).ok().map(Here),
            nodes,
            children,
        })
    }

    fn node(&self, path: &Path) -> io::Result<&TreeNode> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.nodes.get(path).ok_or_else(missing)
    }
}

impl Tree for Inside<'_> {
    fn top(&self) -> io::Result<Node> {
        Ok(self.node(Path::new(""))?.into())
    }

    fn list(&self, directory: &EntryPath) -> io::Result<Listed> {
        let path = directory.as_path();
        let names = self.children.get(path).into_iter().flatten();
        let child = |name: &Vec<u8>| {
            let node = self.node(&path.join(std::ffi::OsStr::from_bytes(name)))?;
            Ok((name.clone(), node.into()))
        };
        let children: io::Result<Vec<_>> = names.map(child).collect();
        Ok((children?, xattrs_of(self.node(path)?)))
    }

    fn link(&self, path: &EntryPath) -> io::Result<Vec<u8>> {
        Ok(self.node(path.as_path())?.target.clone().into_vec())
    }

    fn open(&self, path: &EntryPath) -> io::Result<OwnedFd> {
        match self.here.as_ref().map(|here| here.open(path)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            Some(Ok(file)) => Ok(file),
            _ => self.namespace.open_file(self.root, path.as_path()),
        }
    }

    fn xattrs(&self, path: &EntryPath, _file: &OwnedFd) -> io::Result<Xattrs> {
        // Outside, the rights of programs are written in another way.
        Ok(xattrs_of(self.node(path.as_path())?))
    }
}

fn xattrs_of(node: &TreeNode) -> Xattrs {
    let named =
        |(name, value): &(std::ffi::OsString, Vec<u8>)| (name.as_bytes().to_vec(), value.clone());
    let mut xattrs = Xattrs::new();
    xattrs.extend(node.xattrs.iter().map(named));
    xattrs
}

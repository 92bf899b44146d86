//! Opening paths without leaving the context, and following the links of a named source in it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::entry::EntryKind;
use crate::{Context, ContextError};

/// As many links as the kernel follows in one path.
const LINKS_MAX: usize = 40;

/// Opens a clean relative path below `root`. A link anywhere in it is an error, so that the path
/// can't lead elsewhere even if somebody swaps a folder for a link meanwhile.
pub(crate) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let name = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, name, flags, Mode::empty(), inside) {
        // Old kernels don't know the call, and some sandboxes forbid what they don't know.
        Err(Errno::NOSYS | Errno::PERM) => open_stepwise(root, name, flags),
        other => other,
    }
}

fn open_stepwise(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Ok(name)),
            Component::CurDir => None,
            _ => Some(Err(Errno::XDEV)),
        })
        .collect::<Result<_, _>>()?;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some((last, folders)) = names.split_last() else {
        return rustix::fs::openat(root, ".", flags, Mode::empty());
    };
    let mut at: Option<OwnedFd> = None;
    for folder in folders {
        let from = at.as_ref().map_or(root, |fd| fd.as_fd());
        at = Some(rustix::fs::openat(from, *folder, step, Mode::empty())?);
    }
    let from = at.as_ref().map_or(root, |fd| fd.as_fd());
    rustix::fs::openat(from, *last, flags, Mode::empty())
}

/// Reads a link.
pub(crate) fn read_link(folder: &OwnedFd, name: &[u8]) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// A context with or without its ignore rules.
pub(crate) struct View<'a> {
    context: &'a Context,
    filtered: bool,
}

impl<'a> View<'a> {
    /// What a build sees.
    pub(crate) fn filtered(context: &'a Context) -> Self {
        Self {
            context,
            filtered: true,
        }
    }

    /// What is on the disk.
    pub(crate) fn unfiltered(context: &'a Context) -> Self {
        Self {
            context,
            filtered: false,
        }
    }
}

/// Follows every link of a path inside the context: an absolute target starts at the context's
/// root, `..` stops there. Returns the path without links, or `None` where the way leads to
/// nothing that the view shows.
pub(crate) fn follow(view: &View<'_>, path: &Path) -> Result<Option<PathBuf>, ContextError> {
    let mut todo: VecDeque<OsString> = names(path).collect();
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        let Some(entry) = view.context.lookup_unfiltered(&next)? else {
            return Ok(None);
        };
        let EntryKind::Symlink { target } = &entry.kind else {
            done = next;
            continue;
        };
        if view.filtered && view.context.excludes(&next) {
            return Ok(None);
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(ContextError::TooManyLinks {
                path: path.to_owned(),
            });
        }
        if target.is_absolute() {
            done = PathBuf::new();
        }
        for name in names(target).rev() {
            todo.push_front(name);
        }
    }
    if view.filtered && view.context.lookup(&done)?.is_none() {
        return Ok(None);
    }
    Ok(Some(done))
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

/// What an entry of a folder is, where the folder's listing tells.
pub(crate) fn is_directory(kind: FileType) -> Option<bool> {
    match kind {
        FileType::Unknown => None,
        kind => Some(kind == FileType::Directory),
    }
}

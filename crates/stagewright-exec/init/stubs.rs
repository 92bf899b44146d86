//! Mount points: made where they are missing, and removed again after the step.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use crate::message::Failure;
use crate::guards::without;
use crate::sys;
use crate::trouble::Doing;

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// As many as the kernel follows.
const LINKS_MAX: usize = 40;
const ELOOP: i32 = 40;

/// What was made in the root for mounts, in order.
#[derive(Default)]
pub(crate) struct Stubs {
    made: Vec<(PathBuf, bool)>,
    /// Where something else is seen than what the root has there.
    mounted: Vec<PathBuf>,
}

impl Stubs {
    /// Opens a mount point inside the root, making what is missing of its path.
    pub(crate) fn open(
        &mut self,
        root: BorrowedFd<'_>,
        target: &Path,
        directory: bool,
    ) -> Result<OwnedFd, Failure> {
        let (at, path) =
            self.make(root, target, directory).doing("making the mount point", target)?;
        self.mounted.push(path);
        Ok(at)
    }

    /// Opens the directory in which something is put in the place of `name`, making what is missing of
    /// its path.
    pub(crate) fn open_parent(
        &mut self,
        root: BorrowedFd<'_>,
        parent: &Path,
        name: &OsStr,
    ) -> Result<OwnedFd, Failure> {
        let (at, path) = self.make(root, parent, true).doing("making the mount point", parent)?;
        self.mounted.push(path.join(name));
        Ok(at)
    }

    fn make(
        &mut self,
        root: BorrowedFd<'_>,
        target: &Path,
        directory: bool,
    ) -> io::Result<(OwnedFd, PathBuf)> {
        let mut left: VecDeque<OsString> = names(target).collect();
        let mut path = PathBuf::from("/");
        let top = |path: &Path| sys::open_in_root(root, path, sys::O_PATH | sys::O_DIRECTORY);
        let mut at = top(&path)?;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                path.pop();
                at = top(&path)?;
                continue;
            }
            let next = path.join(&name);
            let c_name = sys::c_string(&name)?;
            // A link is followed by hand, so that what it points to can be made as well; `/` is
            // the step's root all along.
            let found = sys::open_at(at.as_fd(), &c_name, sys::O_PATH | sys::O_NOFOLLOW, 0);
            let link = match &found {
                Ok(found) => u32::from(sys::stat(found.as_fd())?.mode) & sys::S_IFMT == sys::S_IFLNK,
                Err(_) => false,
            };
            if link && !without("links") {
                links += 1;
                if links > LINKS_MAX {
                    return Err(io::Error::from_raw_os_error(ELOOP));
                }
                let to = PathBuf::from(OsString::from_vec(sys::readlink_at(at.as_fd(), &c_name)?));
                if to.is_absolute() {
                    path = PathBuf::from("/");
                    at = top(&path)?;
                }
                for name in names(&to).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(name);
                }
                continue;
            }
            at = match found {
                // Not the descriptor that was found: opening a path again sees what is mounted.
                Ok(_) => sys::open_in_root(root, &next, sys::O_PATH)?,
                Err(error) if error.raw_os_error() == Some(sys::ENOENT) => {
                    let name = c_name;
                    let is_directory = !left.is_empty() || directory;
                    if is_directory {
                        sys::mkdir_at(at.as_fd(), &name, DIRECTORY_MODE)?;
                    } else {
                        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
                        drop(sys::open_at(at.as_fd(), &name, flags, FILE_MODE)?);
                    }
                    // What is made below a mount goes with it. The root may have the same there, which
                    // the mount hides: it is not to be removed.
                    if !self.mounted.iter().any(|mounted| next.starts_with(mounted)) {
                        self.made.push((next.clone(), is_directory));
                    }
                    sys::open_in_root(root, &next, sys::O_PATH)?
                }
                Err(error) => return Err(error),
            };
            path = next;
        }
        Ok((at, path))
    }

    /// Takes the mounts away and removes what was made, where it is still empty. Called with the
    /// step's root as `/` and nothing of the step running any more.
    pub(crate) fn remove(&self) {
        for path in self.mounted.iter().rev() {
            if let Ok(path) = sys::c_string(path) {
                let _ = sys::unmount(&path);
            }
        }
        if let Ok(root) = sys::open("/".as_ref(), sys::O_PATH | sys::O_DIRECTORY, 0) {
            self.remove_made(root.as_fd());
        }
    }

    /// Removes what was made in a root that nothing is mounted in.
    pub(crate) fn remove_made(&self, root: BorrowedFd<'_>) {
        for (path, directory) in self.made.iter().rev() {
            // What the step filled, or put in its place, stays in the layer.
            let _ = remove(root, path, *directory);
        }
    }
}

/// Returns the names of a path, but `.`.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Removes an empty file or directory whose path has no link in it: the step may have replaced any
/// directory on the way.
fn remove(root: BorrowedFd<'_>, path: &Path, directory: bool) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = sys::open_without_links(root, parent)?;
    let name = sys::c_string(name)?;
    if directory {
        return sys::rmdir_at(parent.as_fd(), &name);
    }
    let found = sys::stat_at(parent.as_fd(), &name)?;
    if u32::from(found.mode) & sys::S_IFMT == sys::S_IFREG && found.size == 0 {
        sys::unlink_at(parent.as_fd(), &name)?;
    }
    Ok(())
}

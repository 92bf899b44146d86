//! Mount points: made where they are missing, and removed again after the step.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::message::Failure;
use crate::sys;
use crate::trouble::Doing;

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// What was made in the root for mounts, in order.
#[derive(Default)]
pub(crate) struct Stubs {
    made: Vec<(PathBuf, bool)>,
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
        self.make(root, target, directory).doing("making the mount point", target)
    }

    fn make(
        &mut self,
        root: BorrowedFd<'_>,
        target: &Path,
        directory: bool,
    ) -> io::Result<OwnedFd> {
        let parts: Vec<&[u8]> = target
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.as_bytes()),
                _ => None,
            })
            .collect();
        let mut path = PathBuf::from("/");
        let mut at = sys::open_in_root(root, &path, sys::O_PATH | sys::O_DIRECTORY)?;
        for (index, name) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            let next = path.join(std::ffi::OsStr::from_bytes(name));
            at = match sys::open_in_root(root, &next, sys::O_PATH) {
                Ok(found) => found,
                Err(error) if error.raw_os_error() == Some(sys::ENOENT) => {
                    let name = CString::new(*name)?;
                    let is_directory = !last || directory;
                    if is_directory {
                        sys::mkdir_at(at.as_fd(), &name, DIRECTORY_MODE)?;
                    } else {
                        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
                        drop(sys::open_at(at.as_fd(), &name, flags, FILE_MODE)?);
                    }
                    self.made.push((next.clone(), is_directory));
                    sys::open_in_root(root, &next, sys::O_PATH)?
                }
                Err(error) => return Err(error),
            };
            path = next;
        }
        self.mounted.push(path);
        Ok(at)
    }

    /// Takes the mounts away and removes what was made, where it is still empty. Called with the
    /// step's root as `/` and nothing of the step running any more.
    pub(crate) fn remove(&self) {
        for path in self.mounted.iter().rev() {
            if let Ok(path) = sys::c_string(path) {
                let _ = sys::unmount(&path);
            }
        }
        for (path, directory) in self.made.iter().rev() {
            let removed = if *directory {
                std::fs::remove_dir(path)
            } else if std::fs::symlink_metadata(path).is_ok_and(|found| found.len() == 0) {
                std::fs::remove_file(path)
            } else {
                Ok(())
            };
            // What the step filled stays in the layer.
            let _ = removed;
        }
    }
}

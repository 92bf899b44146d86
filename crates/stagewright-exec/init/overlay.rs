//! Mounts of overlayfs.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::guards::without;
use crate::sys;

/// What the host's defaults say must neither change what a step sees nor let attributes of a base
/// image's files name other files.
const OPTIONS: [(&CStr, &CStr); 5] = [
    (c"redirect_dir", c"nofollow"),
    (c"metacopy", c"off"),
    (c"index", c"off"),
    (c"nfs_export", c"off"),
    (c"xino", c"off"),
];
/// Only root of the host may use the usual attributes, `trusted.overlay`.
const USER_ATTRIBUTES: &CStr = c"userxattr";
/// A step that is cut off by a crash is thrown away: nothing in it needs to last.
const VOLATILE: &CStr = c"volatile";

/// Makes an overlay that is attached nowhere yet, of layers from the top down and, for one that can be
/// written to, an upper and a work directory. `rootless` is for user namespaces.
pub(crate) fn overlay(
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    rootless: bool,
) -> io::Result<OwnedFd> {
    let made = match without("one by one") {
        true => Err(io::Error::from_raw_os_error(sys::EINVAL)),
        false => one_by_one(lowers, writable, rootless),
    };
    // Kernels before 6.8 do not take lower directories one by one.
    made.or_else(|error| match error.raw_os_error() {
        Some(sys::EINVAL) => as_one_text(lowers, writable, rootless),
        _ => Err(error),
    })
}

fn one_by_one(
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    rootless: bool,
) -> io::Result<OwnedFd> {
    let overlay = sys::FileSystem::open(c"overlay")?;
    for lower in lowers {
        overlay.set(c"lowerdir+", &sys::c_string(lower)?)?;
    }
    for (option, value) in OPTIONS {
        overlay.set(option, value)?;
    }
    if rootless {
        overlay.flag(USER_ATTRIBUTES)?;
    }
    if let Some((upper, work)) = writable {
        overlay.set(c"upperdir", &sys::c_string(upper)?)?;
        overlay.set(c"workdir", &sys::c_string(work)?)?;
        overlay.flag(VOLATILE)?;
    }
    overlay.mount()
}

/// Gives all options as one text, which may be a page long (an option that is set alone, 256 bytes):
/// descriptors stand for the paths of directories, which are longer than that together.
fn as_one_text(
    lowers: &[PathBuf],
    writable: Option<(&PathBuf, &PathBuf)>,
    rootless: bool,
) -> io::Result<OwnedFd> {
    let open = |path: &PathBuf| sys::open(path, sys::O_PATH | sys::O_DIRECTORY, 0);
    let name = |directory: &OwnedFd| format!("/proc/self/fd/{}", directory.as_raw_fd());
    let opened: Vec<OwnedFd> = lowers.iter().map(open).collect::<io::Result<_>>()?;
    let mut words = vec![format!("lowerdir={}", opened.iter().map(name).collect::<Vec<_>>().join(":"))];
    for (option, value) in OPTIONS {
        words.push(format!("{}={}", option.to_string_lossy(), value.to_string_lossy()));
    }
    if rootless {
        words.push(USER_ATTRIBUTES.to_string_lossy().into_owned());
    }
    let mut kept = Vec::new();
    if let Some((upper, work)) = writable {
        for (option, path) in [("upperdir", upper), ("workdir", work)] {
            let directory = open(path)?;
            words.push(format!("{option}={}", name(&directory)));
            kept.push(directory);
        }
        words.push(VOLATILE.to_string_lossy().into_owned());
    }
    let text = CString::new(words.join(",")).map_err(|_| io::Error::from_raw_os_error(sys::EINVAL))?;
    // It is mounted over a directory for a moment, which only this namespace sees.
    let place = lowers.first().map_or(Path::new("/"), PathBuf::as_path);
    let target = sys::c_string(place)?;
    sys::mount(c"overlay", &target, c"overlay", 0, Some(&text))?;
    let mounted = sys::clone_mount_at(place);
    sys::unmount(&target)?;
    mounted
}

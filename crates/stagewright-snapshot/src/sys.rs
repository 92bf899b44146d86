//! System calls on trees of files, relative to an open root directory.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use stagewright_layer::EntryPath;

/// Opens a directory of the host.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// Has the disk begin with a part of a file, and does not wait for it. It is a hint: what fails here fails in `fdatasync` too.
pub(crate) fn begin_writing(file: &std::fs::File, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else {
        return;
    };
    // SAFETY: the descriptor is open for as long as the file is borrowed, and no memory is passed.
    #[expect(unsafe_code, reason = "no crate in use has this call")]
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Opens something below a root directory, without following any symbolic link on the way.
pub(crate) fn open_below(
    root: &OwnedFd,
    path: &EntryPath,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(root, relative(path), flags, mode, resolve) {
            Ok(descriptor) => return Ok(descriptor),
            // The kernel says so when something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Kernels before 5.6, and sandboxes that forbid what they don't know.
            Err(Errno::NOSYS | Errno::PERM) => return open_stepwise(root, path, flags, mode),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The same, one component at a time.
fn open_stepwise(
    root: &OwnedFd,
    path: &EntryPath,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let Some(name) = path.name() else {
        return Ok(rustix::fs::openat(root, c".", flags, mode)?);
    };
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut holder: Option<OwnedFd> = None;
    let components: Vec<&[u8]> = path.components().collect();
    for component in &components[..components.len() - 1] {
        let at: BorrowedFd<'_> = holder.as_ref().unwrap_or(root).as_fd();
        let next = rustix::fs::openat(at, *component, step, Mode::empty())?;
        holder = Some(next);
    }
    Ok(rustix::fs::openat(
        holder.as_ref().unwrap_or(root),
        name,
        flags,
        mode,
    )?)
}

/// Returns a path as system calls take it: the root directory is `.`.
pub(crate) fn relative(path: &EntryPath) -> &Path {
    if path.is_root() {
        Path::new(".")
    } else {
        path.as_path()
    }
}

/// Reads all extended attributes of an open file or directory.
pub(crate) fn xattrs(file: impl AsFd) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let file = file.as_fd();
    let mut found = BTreeMap::new();
    let names = match sized(|buffer| rustix::fs::flistxattr(file, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(found),
        Err(errno) => return Err(errno.into()),
    };
    for name in names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        match sized(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
            Ok(value) => {
                found.insert(name.to_vec(), value);
            }
            // The name was listed, the value may not be read: attributes of the host's security.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(found)
}

/// Calls with a buffer that is large enough.
fn sized(
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(count) => {
                buffer.truncate(count);
                return Ok(buffer);
            }
            // The kernel's limit is 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

//! Mounts.

use std::ffi::{CStr, CString, c_int, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::raw;
use super::raw::shared_number;

pub(crate) const MS_RDONLY: c_ulong = 1;
pub(crate) const MS_NOSUID: c_ulong = 2;
pub(crate) const MS_NODEV: c_ulong = 4;
pub(crate) const MS_NOEXEC: c_ulong = 8;
pub(crate) const MS_REMOUNT: c_ulong = 32;
pub(crate) const MS_BIND: c_ulong = 4096;
pub(crate) const MS_REC: c_ulong = 16384;
pub(crate) const MS_PRIVATE: c_ulong = 1 << 18;
pub(crate) const MS_STRICTATIME: c_ulong = 1 << 24;

pub(crate) const ATTR_RDONLY: u64 = 1;
pub(crate) const ATTR_NODEV: u64 = 4;

/// Returns a path that names a descriptor's file: what is mounted through it lands exactly there.
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// Calls mount(2).
pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let data = data.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: all strings outlive the call; `data` may be null.
    raw::check(unsafe {
        raw::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.cast(),
        )
    })?;
    Ok(())
}

/// Detaches the mount at a path.
pub(crate) fn unmount(target: &CStr) -> io::Result<()> {
    const MNT_DETACH: c_int = 2;
    const UMOUNT_NOFOLLOW: c_int = 8;
    // SAFETY: `target` outlives the call.
    raw::check(unsafe { raw::umount2(target.as_ptr(), MNT_DETACH | UMOUNT_NOFOLLOW) })?;
    Ok(())
}

/// Sets attributes of the mount at a descriptor's file and, on request, of all below it.
pub(crate) fn set_attributes(fd: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    change_attributes(fd, set, 0, recursive)
}

/// Sets and clears attributes of the mount at a descriptor's file.
pub(crate) fn change_attributes(
    fd: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    recursive: bool,
) -> io::Result<()> {
    const AT_EMPTY_PATH: c_int = 0x1000;
    const AT_RECURSIVE: c_int = 0x8000;
    let attributes = [set, clear, 0, 0];
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attributes` has the layout of `struct mount_attr` and the size that is given.
    raw::check_long(unsafe {
        raw::syscall(
            shared_number::MOUNT_SETATTR,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })?;
    Ok(())
}

/// Makes `.` the root and mounts the old one over it, to be unmounted.
pub(crate) fn pivot_root_here() -> io::Result<()> {
    // SAFETY: the strings are constant.
    raw::check_long(unsafe {
        raw::syscall(raw::number::PIVOT_ROOT, c".".as_ptr(), c".".as_ptr())
    })?;
    Ok(())
}

/// A file system being configured.
pub(crate) struct FileSystem(OwnedFd);

impl FileSystem {
    /// Begins to configure a file system of a kind.
    pub(crate) fn open(kind: &CStr) -> io::Result<Self> {
        const FSOPEN_CLOEXEC: c_int = 1;
        // SAFETY: `kind` outlives the call; the kernel returns a descriptor of our own.
        let fd = raw::check_long(unsafe {
            raw::syscall(shared_number::FSOPEN, kind.as_ptr(), FSOPEN_CLOEXEC)
        })?;
        // SAFETY: as above.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as c_int) }))
    }

    /// Sets an option that has a value.
    pub(crate) fn set(&self, key: &CStr, value: &CStr) -> io::Result<()> {
        const SET_STRING: c_int = 1;
        self.configure(SET_STRING, Some(key), Some(value))
    }

    /// Sets an option that has none.
    pub(crate) fn flag(&self, key: &CStr) -> io::Result<()> {
        const SET_FLAG: c_int = 0;
        self.configure(SET_FLAG, Some(key), None)
    }

    /// Mounts the file system, attached nowhere yet.
    pub(crate) fn mount(self) -> io::Result<OwnedFd> {
        const CMD_CREATE: c_int = 6;
        const FSMOUNT_CLOEXEC: c_int = 1;
        self.configure(CMD_CREATE, None, None)?;
        // SAFETY: no memory is passed; the kernel returns a descriptor of our own.
        let fd = raw::check_long(unsafe {
            raw::syscall(
                shared_number::FSMOUNT,
                self.0.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                0,
            )
        })?;
        // SAFETY: as above.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
    }

    fn configure(
        &self,
        command: c_int,
        key: Option<&CStr>,
        value: Option<&CStr>,
    ) -> io::Result<()> {
        let key = key.map_or(std::ptr::null(), CStr::as_ptr);
        let value = value.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: the strings outlive the call; a command that takes none gets null.
        raw::check_long(unsafe {
            raw::syscall(
                shared_number::FSCONFIG,
                self.0.as_raw_fd(),
                command,
                key,
                value,
                0,
            )
        })?;
        Ok(())
    }
}

/// Attaches a mount to a descriptor's file.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    const BOTH_EMPTY_PATHS: c_int = 0x04 | 0x40;
    // SAFETY: the strings are constant.
    raw::check_long(unsafe {
        raw::syscall(
            shared_number::MOVE_MOUNT,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            BOTH_EMPTY_PATHS,
        )
    })?;
    Ok(())
}

/// Copies the mount of a path below a descriptor's file, attached nowhere yet.
pub(crate) fn clone_mount(at: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: c_int = 1;
    const OPEN_TREE_CLOEXEC: c_int = 0o2_000_000;
    const AT_EMPTY_PATH: c_int = 0x1000;
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    // SAFETY: `path` outlives the call; the kernel returns a descriptor of our own.
    let fd = raw::check_long(unsafe {
        raw::syscall(shared_number::OPEN_TREE, at.as_raw_fd(), path.as_ptr(), flags)
    })?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// Copies the mount of a path of the host, attached nowhere yet.
pub(crate) fn clone_mount_at(path: &std::path::Path) -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    let directory = super::open(path, super::O_PATH, 0)?;
    clone_mount(directory.as_fd(), c"")
}

//! Files, by descriptor.

use std::ffi::{CStr, CString, OsStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::raw;
pub(crate) use super::raw::{PollFd, StatX, TimeSpec};

pub(crate) const O_RDONLY: c_int = 0;
pub(crate) const O_WRONLY: c_int = 0o1;
pub(crate) const O_RDWR: c_int = 0o2;
pub(crate) const O_CREAT: c_int = 0o100;
pub(crate) const O_EXCL: c_int = 0o200;
pub(crate) const O_PATH: c_int = 0o10_000_000;
pub(crate) const O_NONBLOCK: c_int = 0o4000;
pub(crate) const O_CLOEXEC: c_int = 0o2_000_000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: c_int = 0o200_000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_NOFOLLOW: c_int = 0o400_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: c_int = 0o40_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_NOFOLLOW: c_int = 0o100_000;

pub(crate) const AT_FDCWD: c_int = -100;
const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
const AT_REMOVEDIR: c_int = 0x200;
const AT_EMPTY_PATH: c_int = 0x1000;

pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

pub(crate) const S_IFMT: u32 = 0o170_000;
pub(crate) const S_IFSOCK: u32 = 0o140_000;
pub(crate) const S_IFLNK: u32 = 0o120_000;
pub(crate) const S_IFREG: u32 = 0o100_000;
pub(crate) const S_IFBLK: u32 = 0o060_000;
pub(crate) const S_IFDIR: u32 = 0o040_000;
pub(crate) const S_IFCHR: u32 = 0o020_000;
pub(crate) const S_IFIFO: u32 = 0o010_000;

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EINTR: i32 = 4;
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOEXEC: i32 = 8;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENOTDIR: i32 = 20;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOSYS: i32 = 38;

pub(crate) const POLLIN: i16 = 1;
pub(crate) const POLLERR: i16 = 8;
pub(crate) const POLLHUP: i16 = 0x10;

/// Returns text as the C library takes it.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(EINVAL))
}

fn own(fd: c_int) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, so that nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Opens a path of the caller's own, following links.
pub(crate) fn open(path: &Path, flags: c_int, mode: u32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: `path` is a C string that outlives the call.
    let fd = unsafe { raw::open(path.as_ptr(), flags | O_CLOEXEC, mode) };
    Ok(own(raw::check(fd)?))
}

/// Opens a name in a directory.
pub(crate) fn open_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: c_int,
    mode: u32,
) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string that outlives the call.
    let fd = unsafe { raw::openat(dir.as_raw_fd(), name.as_ptr(), flags | O_CLOEXEC, mode) };
    Ok(own(raw::check(fd)?))
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens a path as if `root` were `/`: no link and no `..` leaves it.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: c_int,
) -> io::Result<OwnedFd> {
    if crate::guards::without("links") {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        return open_resolving(root, path, flags, 0);
    }
    open_resolving(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Opens what is at a path below `root`, if no link and no mount is on the way.
pub(crate) fn open_plain(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: c_int,
) -> io::Result<OwnedFd> {
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    open_resolving(root, path, flags | O_NOFOLLOW, resolve)
}

/// Opens a directory below `root`, if no link and no mount is on the way.
pub(crate) fn open_without_links(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    open_resolving(root, path, O_PATH | O_DIRECTORY, resolve)
}

fn open_resolving(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: c_int,
    resolve: u64,
) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    let how = OpenHow {
        flags: (flags | O_CLOEXEC) as u64,
        mode: 0,
        resolve,
    };
    loop {
        // SAFETY: `path` and `how` outlive the call; the size is that of `how`.
        let fd = unsafe {
            raw::syscall(
                raw::shared_number::OPENAT2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<OpenHow>(),
            )
        };
        match raw::check_long(fd) {
            Ok(fd) => return Ok(own(fd as c_int)),
            // A rename elsewhere made the kernel unsure whether `..` stayed inside.
            Err(error) if error.raw_os_error() == Some(11) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns what the kernel knows of a descriptor's file.
pub(crate) fn stat(fd: BorrowedFd<'_>) -> io::Result<StatX> {
    stat_with(fd.as_raw_fd(), c"", AT_EMPTY_PATH)
}

/// Returns what the kernel knows of a name in a directory, without following a link.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<StatX> {
    stat_with(dir.as_raw_fd(), name, AT_SYMLINK_NOFOLLOW)
}

fn stat_with(dir: c_int, name: &CStr, flags: c_int) -> io::Result<StatX> {
    const BASIC_STATS: u32 = 0x7ff;
    let mut found = StatX::default();
    // SAFETY: `name` outlives the call; `found` has the kernel's layout of `struct statx`.
    raw::check(unsafe { raw::statx(dir, name.as_ptr(), flags, BASIC_STATS, &raw mut found) })?;
    Ok(found)
}

/// Returns whether a descriptor's file is a directory.
pub(crate) fn is_dir(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(u32::from(stat(fd)?.mode) & S_IFMT == S_IFDIR)
}

pub(crate) fn mkdir_at(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `name` outlives the call.
    raw::check(unsafe { raw::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) })?;
    Ok(())
}

pub(crate) fn mknod_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    mode: u32,
    (major, minor): (u32, u32),
) -> io::Result<()> {
    let (major, minor) = (u64::from(major), u64::from(minor));
    let device = (minor & 0xff)
        | ((major & 0xfff) << 8)
        | ((minor & !0xff) << 12)
        | ((major & !0xfff) << 32);
    // SAFETY: `name` outlives the call.
    raw::check(unsafe { raw::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) })?;
    Ok(())
}

pub(crate) fn symlink_at(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: both strings outlive the call.
    raw::check(unsafe { raw::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })?;
    Ok(())
}

/// Makes a second name for a file, never for what a link points to.
pub(crate) fn link_at(
    from: BorrowedFd<'_>,
    from_name: &CStr,
    to: BorrowedFd<'_>,
    name: &CStr,
) -> io::Result<()> {
    // SAFETY: both strings outlive the call.
    raw::check(unsafe {
        raw::linkat(
            from.as_raw_fd(),
            from_name.as_ptr(),
            to.as_raw_fd(),
            name.as_ptr(),
            0,
        )
    })?;
    Ok(())
}

/// Removes a name that is no directory.
pub(crate) fn unlink_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: `name` outlives the call.
    raw::check(unsafe { raw::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) })?;
    Ok(())
}

/// Removes an empty directory.
pub(crate) fn rmdir_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: `name` outlives the call.
    raw::check(unsafe { raw::unlinkat(dir.as_raw_fd(), name.as_ptr(), AT_REMOVEDIR) })?;
    Ok(())
}

pub(crate) fn readlink_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; 4096];
    // SAFETY: the buffer is as long as said, `name` outlives the call.
    let length = unsafe {
        raw::readlinkat(
            dir.as_raw_fd(),
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Changes the owner of a name, not of what a link points to.
pub(crate) fn chown_at(dir: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: `name` outlives the call.
    raw::check(unsafe {
        raw::fchownat(
            dir.as_raw_fd(),
            name.as_ptr(),
            uid,
            gid,
            AT_SYMLINK_NOFOLLOW,
        )
    })?;
    Ok(())
}

/// Changes the owner of a descriptor's file.
pub(crate) fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the empty string is constant.
    raw::check(unsafe {
        raw::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, AT_EMPTY_PATH)
    })?;
    Ok(())
}

pub(crate) fn chmod(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::fchmod(fd.as_raw_fd(), mode) })?;
    Ok(())
}

/// Changes the mode of a name, which must be no link.
pub(crate) fn chmod_at(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `name` outlives the call.
    raw::check(unsafe { raw::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode, 0) })?;
    Ok(())
}

/// Sets the times of access and change of a name, not of what a link points to.
pub(crate) fn set_times_at(
    dir: BorrowedFd<'_>,
    name: &CStr,
    times: [TimeSpec; 2],
) -> io::Result<()> {
    // SAFETY: `name` and the two times outlive the call.
    raw::check(unsafe {
        raw::utimensat(
            dir.as_raw_fd(),
            name.as_ptr(),
            times.as_ptr(),
            AT_SYMLINK_NOFOLLOW,
        )
    })?;
    Ok(())
}

/// Sets both times of a path below the working directory.
pub(crate) fn set_time(path: &CStr, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let time = TimeSpec { seconds, nanoseconds };
    // SAFETY: the working directory is borrowed by number.
    set_times_at(unsafe { BorrowedFd::borrow_raw(AT_FDCWD) }, path, [time, time])
}

/// Returns the names in a directory, but `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    let mut buffer = vec![0_u8; 32 << 10];
    loop {
        // SAFETY: the buffer is as long as said.
        let length = raw::check_long(unsafe {
            raw::syscall(
                raw::number::GETDENTS64,
                dir.as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        })? as usize;
        if length == 0 {
            return Ok(found);
        }
        let mut rest = &buffer[..length];
        // An entry: inode (8), offset (8), its length (2), type (1), name and a zero.
        while let Some(size) = rest.get(16..18) {
            let size = usize::from(u16::from_le_bytes([size[0], size[1]]));
            let (entry, after) = rest.split_at(size.clamp(19, rest.len()));
            if let Ok(name) = CStr::from_bytes_until_nul(&entry[19..])
                && name != c"."
                && name != c".."
            {
                found.push(name.to_owned());
            }
            rest = after;
        }
    }
}

/// Renames a name in a directory to one in another of the same file system.
pub(crate) fn rename_at(
    from_dir: BorrowedFd<'_>,
    from: &CStr,
    to_dir: BorrowedFd<'_>,
    to: &CStr,
) -> io::Result<()> {
    // SAFETY: both names outlive the call.
    raw::check(unsafe {
        raw::renameat(from_dir.as_raw_fd(), from.as_ptr(), to_dir.as_raw_fd(), to.as_ptr())
    })?;
    Ok(())
}

/// Changes the root directory to a path and goes there.
pub(crate) fn chroot(path: &CStr) -> io::Result<()> {
    // SAFETY: `path` outlives the call.
    raw::check(unsafe { raw::chroot(path.as_ptr()) })?;
    chdir(c"/")
}

pub(crate) fn chdir(path: &CStr) -> io::Result<()> {
    // SAFETY: `path` outlives the call.
    raw::check(unsafe { raw::chdir(path.as_ptr()) })?;
    Ok(())
}

/// Checks that the working directory is below the root: the kernel says so of one that is not.
pub(crate) fn check_working_directory() -> io::Result<()> {
    let mut path = vec![0_u8; 4096];
    // SAFETY: the buffer is as long as said.
    raw::check_long(unsafe { raw::syscall(raw::number::GETCWD, path.as_mut_ptr(), path.len()) })?;
    if path.first() == Some(&b'/') {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(ENOENT))
    }
}

pub(crate) fn fchdir(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::fchdir(fd.as_raw_fd()) })?;
    Ok(())
}

pub(crate) fn umask(mode: u32) {
    // SAFETY: no memory is passed; it cannot fail.
    unsafe { raw::umask(mode) };
}

/// Makes `to` a copy of `fd` that programs inherit; nobody owns `to` afterwards but the process.
pub(crate) fn dup_onto(fd: BorrowedFd<'_>, to: c_int) -> io::Result<()> {
    // SAFETY: the callers pass 0, 1 or 2, which no `OwnedFd` of this program holds.
    raw::check(unsafe { raw::dup2(fd.as_raw_fd(), to) })?;
    Ok(())
}

/// Makes a pipe: what is written to the second comes out of the first.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    raw::check(unsafe { raw::pipe2(fds.as_mut_ptr(), O_CLOEXEC) })?;
    Ok((own(fds[0]), own(fds[1])))
}

/// Closes every descriptor from `first` on, or marks it to be closed by `execve`.
///
/// The caller owns none of them any more.
pub(crate) fn close_from(first: u32, at_exec: bool) {
    let flags: u32 = if at_exec { 4 } else { 0 };
    // SAFETY: no memory is passed; the caller has given up the descriptors.
    let done = unsafe { raw::syscall(raw::shared_number::CLOSE_RANGE, first, u32::MAX, flags) };
    if done == 0 || at_exec {
        return;
    }
    // A kernel before 5.9: one by one.
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let fds: Vec<c_int> = open
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|fd| *fd >= first as c_int)
            .collect();
        for fd in fds {
            // SAFETY: as above; a number that is closed already only gives an error.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// Waits for events; returns whether there are any, `false` after the time.
pub(crate) fn poll(fds: &mut [PollFd], timeout_ms: c_int) -> io::Result<bool> {
    loop {
        // SAFETY: the list is as long as said.
        let count = unsafe { raw::poll(fds.as_mut_ptr(), fds.len() as u64, timeout_ms) };
        match raw::check(count) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.raw_os_error() == Some(EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives bytes, and one descriptor when one comes along.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
    const SCM_RIGHTS: c_int = 1;
    let mut part = raw::IoVec {
        base: buffer.as_mut_ptr().cast(),
        length: buffer.len(),
    };
    let mut control = raw::DescriptorMessage::default();
    let mut message = raw::MsgHdr {
        name: std::ptr::null_mut(),
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<raw::DescriptorMessage>(),
        flags: 0,
    };
    loop {
        // SAFETY: `message` points to one buffer and one control message that live on.
        let length =
            unsafe { raw::recvmsg(socket.as_raw_fd(), &raw mut message, MSG_CMSG_CLOEXEC) };
        if let Ok(length) = usize::try_from(length) {
            let carries = message.control_length >= 20 && control.kind == SCM_RIGHTS;
            return Ok((length, carries.then(|| own(control.fd))));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(EINTR) {
            return Err(error);
        }
    }
}

/// Sends a byte together with a descriptor.
pub(crate) fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    const MSG_NOSIGNAL: c_int = 0x4000;
    const SCM_RIGHTS: c_int = 1;
    const SOL_SOCKET: c_int = 1;
    let mut byte = 0u8;
    let mut part = raw::IoVec { base: (&raw mut byte).cast(), length: 1 };
    let mut control = raw::DescriptorMessage {
        // The header and one number; the padding is not counted.
        length: 20,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fd: fd.as_raw_fd(),
        padding: 0,
    };
    let message = raw::MsgHdr {
        name: std::ptr::null_mut(),
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<raw::DescriptorMessage>(),
        flags: 0,
    };
    // SAFETY: `message` points to one buffer and one control message that live on.
    let sent = unsafe { raw::sendmsg(socket.as_raw_fd(), &raw const message, MSG_NOSIGNAL) };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends all bytes, without a signal when nobody reads.
pub(crate) fn send_all(socket: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    const MSG_NOSIGNAL: c_int = 0x4000;
    while !bytes.is_empty() {
        // SAFETY: the bytes outlive the call.
        let sent = unsafe {
            raw::send(
                socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(EINTR) {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// The control socket, which is open as long as this program runs.
pub(crate) fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: nothing closes descriptor 0 of the processes that call this.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Reads what there is.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the buffer is as long as said.
        let count = unsafe { raw::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(EINTR) {
                    return Err(error);
                }
            }
        }
    }
}

/// Writes all bytes.
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: the bytes outlive the call.
        let count = unsafe { raw::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) => bytes = &bytes[count..],
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.raw_os_error() != Some(EINTR) {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

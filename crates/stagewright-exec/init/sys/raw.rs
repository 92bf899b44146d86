//! Declarations of the C library and numbers of the kernel.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::io;

unsafe extern "C" {
    pub(super) fn syscall(number: c_long, ...) -> c_long;
    pub(super) fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    pub(super) fn umount2(target: *const c_char, flags: c_int) -> c_int;
    pub(super) fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub(super) fn openat(dir: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    pub(super) fn mkdirat(dir: c_int, path: *const c_char, mode: c_uint) -> c_int;
    pub(super) fn mknodat(dir: c_int, path: *const c_char, mode: c_uint, device: u64) -> c_int;
    pub(super) fn symlinkat(target: *const c_char, dir: c_int, path: *const c_char) -> c_int;
    pub(super) fn renameat(
        from_dir: c_int,
        from: *const c_char,
        to_dir: c_int,
        to: *const c_char,
    ) -> c_int;
    pub(super) fn linkat(
        from: c_int,
        from_path: *const c_char,
        to: c_int,
        to_path: *const c_char,
        flags: c_int,
    ) -> c_int;
    pub(super) fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    pub(super) fn readlinkat(
        dir: c_int,
        path: *const c_char,
        buffer: *mut c_char,
        size: usize,
    ) -> isize;
    pub(super) fn fchownat(
        dir: c_int,
        path: *const c_char,
        uid: c_uint,
        gid: c_uint,
        flags: c_int,
    ) -> c_int;
    pub(super) fn fchmod(fd: c_int, mode: c_uint) -> c_int;
    pub(super) fn fchmodat(dir: c_int, path: *const c_char, mode: c_uint, flags: c_int) -> c_int;
    pub(super) fn utimensat(
        dir: c_int,
        path: *const c_char,
        times: *const TimeSpec,
        flags: c_int,
    ) -> c_int;
    pub(super) fn statx(
        dir: c_int,
        path: *const c_char,
        flags: c_int,
        mask: c_uint,
        out: *mut StatX,
    ) -> c_int;
    pub(super) fn chroot(path: *const c_char) -> c_int;
    pub(super) fn chdir(path: *const c_char) -> c_int;
    pub(super) fn fchdir(fd: c_int) -> c_int;
    pub(super) fn read(fd: c_int, bytes: *mut c_void, length: usize) -> isize;
    pub(super) fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;
    pub(super) fn umask(mode: c_uint) -> c_uint;
    pub(super) fn dup2(from: c_int, to: c_int) -> c_int;
    pub(super) fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    pub(super) fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    pub(super) fn kill(pid: c_int, signal: c_int) -> c_int;
    pub(super) fn setns(fd: c_int, kind: c_int) -> c_int;
    pub(super) fn llistxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize;
    pub(super) fn lgetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *mut c_void,
        size: usize,
    ) -> isize;
    pub(super) fn lsetxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int;
    pub(super) fn lremovexattr(path: *const c_char, name: *const c_char) -> c_int;
    pub(super) fn sendmsg(fd: c_int, message: *const MsgHdr, flags: c_int) -> isize;
    pub(super) fn setsid() -> c_int;
    pub(super) fn setpgid(pid: c_int, group: c_int) -> c_int;
    pub(super) fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    pub(super) fn tcgetpgrp(fd: c_int) -> c_int;
    pub(super) fn getpid() -> c_int;
    pub(super) fn getppid() -> c_int;
    pub(super) fn geteuid() -> c_uint;
    pub(super) fn getegid() -> c_uint;
    pub(super) fn prctl(option: c_int, ...) -> c_int;
    pub(super) fn sethostname(name: *const c_char, length: usize) -> c_int;
    pub(super) fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    pub(super) fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub(super) fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int;
    pub(super) fn prlimit(
        pid: c_int,
        resource: c_int,
        new: *const RLimit,
        old: *mut RLimit,
    ) -> c_int;
    pub(super) fn sigaction(
        signal: c_int,
        new: *const SigAction,
        old: *mut SigAction,
    ) -> c_int;
    pub(super) fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    pub(super) fn signalfd(fd: c_int, set: *const SigSet, flags: c_int) -> c_int;
    pub(super) fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    pub(super) fn recvmsg(fd: c_int, message: *mut MsgHdr, flags: c_int) -> isize;
    pub(super) fn send(fd: c_int, bytes: *const c_void, length: usize, flags: c_int) -> isize;
    pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    pub(super) fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    pub(super) fn execve(
        path: *const c_char,
        argv: *const *const c_char,
        envp: *const *const c_char,
    ) -> c_int;
    pub(super) fn _exit(code: c_int) -> !;
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct TimeSpec {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct StatXTime {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    reserved: i32,
}

/// The kernel's `struct statx`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct StatX {
    pub(crate) mask: u32,
    pub(crate) block_size: u32,
    pub(crate) attributes: u64,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    spare0: u16,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) attributes_mask: u64,
    pub(crate) atime: StatXTime,
    pub(crate) btime: StatXTime,
    pub(crate) ctime: StatXTime,
    pub(crate) mtime: StatXTime,
    pub(crate) rdev_major: u32,
    pub(crate) rdev_minor: u32,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    pub(crate) mount_id: u64,
    spare2: u64,
    spare3: [u64; 12],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RLimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// glibc's `sigset_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SigSet {
    pub(super) words: [u64; 16],
}

/// glibc's `struct sigaction` on 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SigAction {
    pub(super) handler: usize,
    pub(super) mask: SigSet,
    pub(super) flags: c_int,
    pub(super) restorer: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PollFd {
    pub(crate) fd: c_int,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

#[repr(C)]
pub(super) struct IoVec {
    pub(super) base: *mut c_void,
    pub(super) length: usize,
}

#[repr(C)]
pub(super) struct MsgHdr {
    pub(super) name: *mut c_void,
    pub(super) name_length: u32,
    pub(super) parts: *mut IoVec,
    pub(super) part_count: usize,
    pub(super) control: *mut c_void,
    pub(super) control_length: usize,
    pub(super) flags: c_int,
}

/// A control message that carries one descriptor.
#[repr(C)]
#[derive(Default)]
pub(super) struct DescriptorMessage {
    pub(super) length: usize,
    pub(super) level: c_int,
    pub(super) kind: c_int,
    pub(super) fd: c_int,
    pub(super) padding: c_int,
}

/// The numbers of system calls that the C library has no function for.
#[cfg(target_arch = "x86_64")]
pub(super) mod number {
    use std::ffi::c_long;
    pub(crate) const CLONE: c_long = 56;
    pub(crate) const GETCWD: c_long = 79;
    pub(crate) const CAPGET: c_long = 125;
    pub(crate) const CAPSET: c_long = 126;
    pub(crate) const PIVOT_ROOT: c_long = 155;
    pub(crate) const GETDENTS64: c_long = 217;
    pub(crate) const KEYCTL: c_long = 250;
    pub(crate) const SECCOMP: c_long = 317;
    pub(crate) const UNSHARE: c_long = 272;
}

/// The numbers of system calls that the C library has no function for.
#[cfg(target_arch = "aarch64")]
pub(super) mod number {
    use std::ffi::c_long;
    pub(crate) const CLONE: c_long = 220;
    pub(crate) const GETCWD: c_long = 17;
    pub(crate) const CAPGET: c_long = 90;
    pub(crate) const CAPSET: c_long = 91;
    pub(crate) const PIVOT_ROOT: c_long = 41;
    pub(crate) const GETDENTS64: c_long = 61;
    pub(crate) const KEYCTL: c_long = 219;
    pub(crate) const SECCOMP: c_long = 277;
    pub(crate) const UNSHARE: c_long = 97;
}

/// Numbers that all architectures share.
pub(super) mod shared_number {
    use std::ffi::c_long;
    pub(crate) const OPEN_TREE: c_long = 428;
    pub(crate) const MOVE_MOUNT: c_long = 429;
    pub(crate) const FSOPEN: c_long = 430;
    pub(crate) const FSCONFIG: c_long = 431;
    pub(crate) const FSMOUNT: c_long = 432;
    pub(crate) const CLOSE_RANGE: c_long = 436;
    pub(crate) const OPENAT2: c_long = 437;
    pub(crate) const MOUNT_SETATTR: c_long = 442;
}

/// Turns a C result into a Rust one.
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Turns a system call's result into a Rust one.
pub(super) fn check_long(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

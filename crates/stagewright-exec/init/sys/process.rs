//! Processes: namespaces, ids, signals, programs.

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::raw;

pub(crate) const CLONE_NEWCGROUP: c_long = 0x0200_0000;
pub(crate) const CLONE_NEWNS: c_long = 0x0002_0000;
pub(crate) const CLONE_NEWUTS: c_long = 0x0400_0000;
pub(crate) const CLONE_NEWIPC: c_long = 0x0800_0000;
pub(crate) const CLONE_NEWUSER: c_long = 0x1000_0000;
pub(crate) const CLONE_NEWPID: c_long = 0x2000_0000;
pub(crate) const CLONE_NEWNET: c_long = 0x4000_0000;
pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGSTOP: c_int = 19;

unsafe extern "C" {
    fn fork() -> c_int;
}

/// Leaves namespaces for new ones; a new PID namespace begins with the next child.
pub(crate) fn unshare(flags: c_long) -> io::Result<()> {
    // SAFETY: no memory is passed.
    raw::check_long(unsafe { raw::syscall(raw::number::UNSHARE, flags) })?;
    Ok(())
}

/// Becomes root of a user namespace.
pub(crate) fn join_user_namespace(path: &std::path::Path) -> io::Result<()> {
    let namespace = super::open(path, super::O_RDONLY | super::O_CLOEXEC, 0)?;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::setns(namespace.as_raw_fd(), CLONE_NEWUSER as c_int) })?;
    become_root()
}

/// Takes the ids that root has in the user namespace.
pub(crate) fn become_root() -> io::Result<()> {
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::setresgid(0, 0, 0) })?;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::setresuid(0, 0, 0) })?;
    Ok(())
}

/// Splits this process in two. Returns the child's pid to the parent and 0 to the child.
pub(crate) fn split() -> io::Result<c_int> {
    // SAFETY: this program has one thread, so that the child is a whole copy.
    raw::check(unsafe { fork() })
}

/// Ends this process at once.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: it does not return.
    unsafe { raw::_exit(code) }
}

/// Waits for a child (-1: for any). Nothing when there is none.
pub(crate) fn wait(pid: c_int) -> Option<(c_int, c_int)> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one number.
        match raw::check(unsafe { raw::waitpid(pid, &raw mut status, 0) }) {
            Ok(pid) => return Some((pid, status)),
            Err(error) if error.raw_os_error() == Some(super::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Returns whether a child has ended, and reaps it; also when there is none.
pub(crate) fn has_ended(pid: c_int) -> bool {
    const WNOHANG: c_int = 1;
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    unsafe { raw::waitpid(pid, &raw mut status, WNOHANG) != 0 }
}

/// What has become of this process's children.
pub(crate) enum Children {
    /// One has ended, and with this status.
    Ended(c_int, c_int),
    /// There are some, and none has ended.
    Running,
    /// There is none.
    Gone,
}

/// Reaps a child if one has ended.
pub(crate) fn reap_one() -> Children {
    const WNOHANG: c_int = 1;
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    match unsafe { raw::waitpid(-1, &raw mut status, WNOHANG) } {
        0 => Children::Running,
        pid if pid < 0 => Children::Gone,
        pid => Children::Ended(pid, status),
    }
}

/// Reaps the children that have ended. Returns whether no child is left.
pub(crate) fn reap() -> bool {
    loop {
        match reap_one() {
            Children::Ended(..) => {}
            Children::Running => return false,
            Children::Gone => return true,
        }
    }
}

/// Returns a descriptor that can be read when a child has ended since it was read last.
pub(crate) fn ends_of_children() -> io::Result<OwnedFd> {
    const SIGCHLD: c_int = 17;
    const SIG_BLOCK: c_int = 0;
    let mut set = raw::SigSet { words: [0; 16] };
    set.words[0] = 1 << (SIGCHLD - 1);
    // SAFETY: the set outlives the call.
    raw::check(unsafe { raw::sigprocmask(SIG_BLOCK, &raw const set, std::ptr::null_mut()) })?;
    // SAFETY: the set outlives the call.
    let made = raw::check(unsafe {
        raw::signalfd(-1, &raw const set, super::O_CLOEXEC | super::O_NONBLOCK)
    })?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

pub(crate) fn pid() -> c_int {
    // SAFETY: no memory is passed; it cannot fail.
    unsafe { raw::getpid() }
}

pub(crate) fn kill(pid: c_int, signal: c_int) {
    // SAFETY: no memory is passed; a process that is gone is what is wanted.
    unsafe { raw::kill(pid, signal) };
}

pub(crate) fn new_session() {
    // SAFETY: no memory is passed.
    unsafe { raw::setsid() };
}

/// Makes standard input the terminal of this process's session.
pub(crate) fn take_terminal() -> io::Result<()> {
    const TIOCSCTTY: u64 = 0x540e;
    // SAFETY: no memory is passed; 0 takes it from no other session.
    raw::check(unsafe { raw::ioctl(0, TIOCSCTTY, 0 as c_int) })?;
    Ok(())
}

pub(crate) fn parent() -> c_int {
    // SAFETY: no memory is passed; it cannot fail.
    unsafe { raw::getppid() }
}

/// Asks for a signal when the parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    const PR_SET_PDEATHSIG: c_int = 1;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::prctl(PR_SET_PDEATHSIG, SIGKILL as i64) })?;
    Ok(())
}

/// Lets this user's other processes look at this one's namespaces, after a change of ids.
pub(crate) fn allow_tracing() -> io::Result<()> {
    const PR_SET_DUMPABLE: c_int = 4;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::prctl(PR_SET_DUMPABLE, 1_i64) })?;
    Ok(())
}

/// Makes the orphans among this process's descendants its children.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::prctl(PR_SET_CHILD_SUBREAPER, 1_i64) })?;
    Ok(())
}

/// Lets no other process read this one's memory or open its executable, but those with the right
/// to trace any process.
pub(crate) fn forbid_tracing() -> io::Result<()> {
    const PR_SET_DUMPABLE: c_int = 4;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::prctl(PR_SET_DUMPABLE, 0_i64) })?;
    Ok(())
}

/// Leaves the caller's session keyring for a new one without a name.
pub(crate) fn new_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    let nameless = std::ptr::null::<c_char>();
    // SAFETY: null stands for no name.
    raw::check_long(unsafe {
        raw::syscall(raw::number::KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, nameless)
    })?;
    Ok(())
}

/// Gives every signal its default action and lets all through.
pub(crate) fn reset_signals() {
    const SIG_SETMASK: c_int = 2;
    let none = raw::SigSet { words: [0; 16] };
    let default = raw::SigAction { handler: 0, mask: none, flags: 0, restorer: 0 };
    for signal in 1..=64 {
        // SAFETY: the action outlives the call; those that cannot be changed give an error.
        unsafe { raw::sigaction(signal, &raw const default, std::ptr::null_mut()) };
    }
    // SAFETY: the set outlives the call.
    unsafe { raw::sigprocmask(SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the name is as long as said.
    raw::check(unsafe { raw::sethostname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}

pub(crate) fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the groups are as many as said.
    match raw::check(unsafe { raw::setgroups(groups.len(), groups.as_ptr()) }) {
        // A user namespace of one group has no others to give, and root without the right to change
        // groups stays what it is.
        Err(error)
            if error.raw_os_error() == Some(super::EPERM)
                && (groups_are_fixed() || (uid, gid) == (0, 0) && groups.is_empty()) => {}
        other => drop(other?),
    }
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::setresgid(gid, gid, gid) })?;
    // SAFETY: no memory is passed.
    raw::check(unsafe { raw::setresuid(uid, uid, uid) })?;
    Ok(())
}

fn groups_are_fixed() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

/// Sets a resource limit, never above what the host's hard limit allows.
pub(crate) fn set_limit(resource: c_int, soft: u64, hard: u64) -> io::Result<()> {
    let mut now = raw::RLimit { soft: 0, hard: 0 };
    // SAFETY: the kernel writes one limit.
    raw::check(unsafe { raw::prlimit(0, resource, std::ptr::null(), &raw mut now) })?;
    let hard = hard.min(now.hard);
    let new = raw::RLimit { soft: soft.min(hard), hard };
    // SAFETY: the limit outlives the call.
    raw::check(unsafe { raw::prlimit(0, resource, &raw const new, std::ptr::null_mut()) })?;
    Ok(())
}

/// Drops every capability but those of the mask from the set that programs can get.
pub(crate) fn bound_capabilities(keep: u64) {
    const PR_CAPBSET_DROP: c_int = 24;
    const CAPABILITY_MAX: u64 = 63;
    for capability in 0..=CAPABILITY_MAX {
        if keep & (1 << capability) == 0 {
            // SAFETY: no memory is passed; a number that the kernel does not know is an error.
            unsafe { raw::prctl(PR_CAPBSET_DROP, capability, 0u64, 0u64, 0u64) };
        }
    }
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Returns the capabilities that this process may use.
fn permitted_capabilities() -> io::Result<u64> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut data = [0_u32; 6];
    // SAFETY: both have the layout of the kernel's structures.
    raw::check_long(unsafe {
        raw::syscall(raw::number::CAPGET, header.as_ptr(), data.as_mut_ptr())
    })?;
    Ok(u64::from(data[1]) | u64::from(data[4]) << 32)
}

/// Keeps only the capabilities of the mask, of those that this process has.
pub(crate) fn set_capabilities(mask: u64) -> io::Result<()> {
    let mask = mask & permitted_capabilities()?;
    let header = [CAPABILITY_VERSION_3, 0];
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    // Effective, permitted, inheritable, twice: for the low and the high half.
    let data = [low, low, 0, high, high, 0];
    // SAFETY: both have the layout of the kernel's structures.
    raw::check_long(unsafe {
        raw::syscall(raw::number::CAPSET, header.as_ptr(), data.as_ptr())
    })?;
    Ok(())
}

/// An instruction of a system call filter.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FilterInstruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

/// Installs a system call filter.
pub(crate) fn set_filter(program: &[FilterInstruction]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const FilterInstruction,
    }
    const SET_MODE_FILTER: c_int = 1;
    let program = Program {
        length: u16::try_from(program.len()).unwrap_or(u16::MAX),
        instructions: program.as_ptr(),
    };
    // SAFETY: the program outlives the call and is as long as said.
    raw::check_long(unsafe {
        raw::syscall(raw::number::SECCOMP, SET_MODE_FILTER, 0, &raw const program)
    })?;
    Ok(())
}

/// Becomes another program. Returns only when that fails.
pub(crate) fn execute(path: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |words: &[CString]| -> Vec<*const c_char> {
        words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with null, and all strings outlive the call.
    unsafe { raw::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Brings the loopback interface of a new network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    const AF_INET: c_int = 2;
    const SOCK_DGRAM: c_int = 2;
    const SIOCSIFFLAGS: u64 = 0x8914;
    const IFF_UP: u16 = 1;
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&IFF_UP.to_ne_bytes());
    // SAFETY: no memory is passed.
    let socket = raw::check(unsafe { raw::socket(AF_INET, SOCK_DGRAM, 0) })?;
    // SAFETY: the kernel reads a `struct ifreq` of 40 bytes.
    let done = raw::check(unsafe { raw::ioctl(socket, SIOCSIFFLAGS, request.as_mut_ptr()) });
    done.map(drop)
}

/// Ends this process by a signal.
pub(crate) fn kill_self() -> ! {
    // SAFETY: no memory is passed.
    unsafe { raw::kill(raw::getpid(), SIGKILL) };
    exit(1)
}

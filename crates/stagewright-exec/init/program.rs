//! The step's program: its ids, rights and descriptors, then itself.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::message::{Failure, FailureKind, Report};
use crate::outside::Input;
use crate::step::{Security, Step};
use crate::guards::without;
use crate::sys;
use crate::trouble::Doing;
use crate::{filter, wire};

/// What a program gets that has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The capabilities that Docker gives by default: chown, dac_override, fowner, fsetid, kill,
/// setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const CAPABILITIES: u64 = 1 << 0
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

/// The right to change the root directory: a way out where that alone confines.
const SYS_CHROOT: u64 = 1 << 18;

/// What confines the program besides its rights.
pub(crate) enum Confinement<'a> {
    /// Namespaces, which this process is in.
    Namespaces,
    /// A root directory, which it is to change to.
    Root(&'a OwnedFd),
}

/// Becomes the step's program.
pub(crate) fn start(
    step: &Step,
    confinement: &Confinement<'_>,
    input: &Input,
    report_to: &OwnedFd,
) -> ! {
    let failure = match prepare(step, confinement, input) {
        Ok(()) => find_and_execute(step),
        Err(failure) => failure,
    };
    let _ = sys::write_all(report_to.as_fd(), &wire::message(&Report::Failed { failure }));
    // The caller takes the first report: what process 1 says of this end comes after it.
    sys::kill_self()
}

fn prepare(
    step: &Step,
    confinement: &Confinement<'_>,
    input: &Input,
) -> Result<(), Failure> {
    // Out of the caller's session, so that nothing can be typed into its terminal.
    sys::new_session();
    if let Some(stdin) = &input.stdin {
        sys::dup_onto(stdin.as_fd(), 0).doing("passing standard input on", "")?;
        if input.terminal {
            sys::take_terminal().doing("taking the terminal", "")?;
        }
    } else {
        let null = sys::open("/dev/null".as_ref(), sys::O_RDONLY, 0).doing("opening", "/dev/null")?;
        sys::dup_onto(null.as_fd(), 0).doing("closing standard input", "")?;
    }
    if let Confinement::Root(root) = confinement {
        sys::fchdir(root.as_fd())
            .and_then(|()| sys::chroot(c"."))
            .doing("changing the root", "/")?;
    }
    for limit in &step.ulimits {
        sys::set_limit(limit.resource as i32, limit.soft, limit.hard)
            .doing("setting the limit", limit.resource.name())?;
    }
    let cwd = sys::c_string(&step.cwd).doing("entering the working directory", &step.cwd)?;
    sys::chdir(&cwd).doing("entering the working directory", &step.cwd)?;
    // A path such as /proc/self/fd/7 could name a directory outside of the root.
    if !without("directory") {
        sys::check_working_directory().doing("entering the working directory", &step.cwd)?;
    }
    sys::umask(0o022);
    if !without("descriptors") {
        sys::close_from(3, true);
    }
    let sandboxed = step.security == Security::Sandbox;
    let capabilities = match confinement {
        Confinement::Namespaces => CAPABILITIES,
        Confinement::Root(_) => CAPABILITIES & !SYS_CHROOT,
    };
    let bounded = sandboxed && !without("capabilities");
    if bounded {
        sys::bound_capabilities(capabilities);
    }
    // Without the right to mount, a filter would make setuid programs useless; the container that
    // forbids mounts has one of its own.
    if sandboxed && matches!(confinement, Confinement::Namespaces) && !without("filter") {
        filter::install().doing("filtering system calls", "")?;
    }
    let user = &step.user;
    sys::set_ids(user.uid, user.gid, &user.groups)
        .doing("becoming the user", user.uid.to_string())?;
    if bounded {
        let kept = if user.uid == 0 { capabilities } else { 0 };
        sys::set_capabilities(kept).doing("giving up capabilities", "")?;
    }
    if matches!(confinement, Confinement::Root(_)) {
        // After the change of ids, which forgets it.
        sys::die_with_parent().doing("tying the program to the step", "")?;
    }
    Ok(())
}

/// Executes the program, found along `PATH` if its name has no slash.
fn find_and_execute(step: &Step) -> Failure {
    let Some(program) = step.argv.first() else {
        return failed(OsStr::new(""), sys::EINVAL);
    };
    let words = |words: Vec<OsString>| -> io::Result<Vec<CString>> {
        words.into_iter().map(sys::c_string).collect()
    };
    let env = step.env.iter().map(|(name, value)| {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        entry
    });
    let (Ok(argv), Ok(env)) = (words(step.argv.clone()), words(env.collect())) else {
        return failed(program, sys::EINVAL);
    };
    if program.as_bytes().contains(&b'/') {
        return execute(program, program, &argv, &env);
    }
    let path = step.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or_else(|| OsString::from(PATH_DEFAULT), |(_, value)| value.clone());
    let mut worst = sys::ENOENT;
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        let mut file = OsStr::from_bytes(if directory.is_empty() { b"." } else { directory }).to_owned();
        file.push("/");
        file.push(program);
        let failure = execute(&file, program, &argv, &env);
        // A file that is there and cannot be executed says more than one that is not.
        if ![sys::ENOENT, sys::ENOTDIR].contains(&failure.errno) {
            worst = failure.errno;
        }
    }
    failed(program, worst)
}

fn execute(file: &OsStr, program: &OsStr, argv: &[CString], env: &[CString]) -> Failure {
    match sys::c_string(file) {
        Ok(file) => {
            let error = sys::execute(&file, argv, env);
            failed(program, error.raw_os_error().unwrap_or(sys::ENOENT))
        }
        Err(_) => failed(program, sys::EINVAL),
    }
}

fn failed(program: &OsStr, errno: i32) -> Failure {
    Failure {
        kind: FailureKind::Start,
        doing: "starting the program".to_owned(),
        subject: wire::Bytes(program.as_bytes().to_vec()),
        errno,
    }
}

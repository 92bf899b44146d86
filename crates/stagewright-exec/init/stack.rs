//! Layers that the program fuse-overlayfs stacks, where the kernel's overlayfs cannot be mounted.
//!
//! The program is a child of the process outside, and in the mount namespace that process 1 copies
//! its own from: it keeps the caller's root directory when the step's is changed, no process of the
//! step sees it, and it ends with its parent.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::message::{Failure, FailureKind, Means};
use crate::root;
use crate::step::RootFs;
use crate::sys;
use crate::trouble::Doing;
use crate::wire::Bytes;

const DEVICE: &str = "/dev/fuse";
/// How long it may take to mount.
const PATIENCE_MS: i32 = 15_000;
/// Descriptors from here on are the program's directories.
const FIRST_DIRECTORY: i32 = 3;

/// A stack that the program serves.
pub(crate) struct Stack {
    child: i32,
    place: PathBuf,
}

/// Returns where the root of a step is mounted, if the program is to mount it.
pub(crate) fn place<'a>(root: &'a RootFs, means: &Means) -> Option<&'a Path> {
    match root {
        RootFs::Overlay { lowers, upper, .. } if !lowers.is_empty() => {
            means.stacker.as_ref().and(upper.parent())
        }
        _ => None,
    }
}

impl Stack {
    /// Mounts the root of a step, if the program is to mount it, in this mount namespace.
    pub(crate) fn of(root: &RootFs, means: &Means) -> Result<Option<Self>, Failure> {
        let (Some(program), Some(place), RootFs::Overlay { lowers, upper, work }) =
            (&means.stacker, place(root, means), root)
        else {
            return Ok(None);
        };
        root::make_mounts_private()?;
        Self::start(program, lowers, [upper, work], place).map(Some)
    }

    /// Mounts layers, from the top down, with a directory that takes the changes and one to work in.
    /// The mount may hide both.
    pub(crate) fn start(
        program: &Path,
        lowers: &[PathBuf],
        [upper, work]: [&PathBuf; 2],
        place: &Path,
    ) -> Result<Self, Failure> {
        // Asked first: the program says less of what it lacks.
        sys::open(DEVICE.as_ref(), sys::O_RDWR, 0).doing("opening", DEVICE)?;
        let before = device_of(place).doing("looking at", place)?;
        let (log, said) = log().doing("making a file in memory", "")?;
        let child = sys::split().doing("starting", program)?;
        if child == 0 {
            let _ = sys::die_with_parent();
            let directories = lowers.iter().chain([upper, work]).map(PathBuf::as_path);
            let Err(error) = become_program(program, directories, place, &log);
            let _ = sys::write_all(log.as_fd(), error.to_string().as_bytes());
            sys::exit(1);
        }
        let stack = Self { child, place: place.to_owned() };
        for _ in 0..PATIENCE_MS {
            if device_of(place).is_ok_and(|now| now != before) {
                return Ok(stack);
            }
            if sys::has_ended(child) {
                return Err(failed(program, &said, "it ended"));
            }
            let _ = sys::poll(&mut [], 1);
        }
        stack.end();
        Err(failed(program, &said, "it mounted nothing in time"))
    }

    /// Ends it. What the processes of the step wrote was passed on to the files when they closed
    /// theirs, at their end at the latest.
    pub(crate) fn end(self) {
        if let Ok(place) = sys::c_string(&self.place) {
            let _ = sys::unmount(&place);
        }
        sys::kill(self.child, sys::SIGKILL);
        sys::wait(self.child);
    }
}

/// Tells whether something else is mounted at a path than was.
fn device_of(path: &Path) -> io::Result<(u32, u32)> {
    let found = sys::stat(sys::open(path, sys::O_PATH, 0)?.as_fd())?;
    Ok((found.dev_major, found.dev_minor))
}

/// Returns a file that the program may write to at any time, and the same to be read: a pipe would
/// have to be emptied.
fn log() -> io::Result<(OwnedFd, OwnedFd)> {
    let memory = sys::FileSystem::open(c"tmpfs")?.mount()?;
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL;
    let written = sys::open_at(memory.as_fd(), c"log", flags, 0o600)?;
    Ok((written, sys::open_at(memory.as_fd(), c"log", sys::O_RDONLY, 0)?))
}

fn become_program<'a>(
    program: &Path,
    directories: impl Iterator<Item = &'a Path>,
    place: &Path,
    log: &OwnedFd,
) -> io::Result<std::convert::Infallible> {
    let null = sys::open("/dev/null".as_ref(), sys::O_RDWR, 0)?;
    sys::dup_onto(null.as_fd(), 0)?;
    sys::dup_onto(null.as_fd(), 1)?;
    sys::dup_onto(log.as_fd(), 2)?;
    // A path may hold any character, also those that mean something in an option: descriptors stand
    // for them, above all that are open and will be closed.
    let opened: Vec<OwnedFd> = directories
        .map(|path| sys::open(path, sys::O_PATH | sys::O_DIRECTORY, 0))
        .collect::<io::Result<_>>()?;
    let first = opened.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(0).max(FIRST_DIRECTORY - 1) + 1;
    sys::close_from(FIRST_DIRECTORY.cast_unsigned(), true);
    let mut names = Vec::new();
    for (directory, number) in opened.iter().zip(first..) {
        sys::dup_onto(directory.as_fd(), number)?;
        names.push(format!("/proc/self/fd/{number}"));
    }
    let (lowers, writable) = names.split_at(names.len().saturating_sub(2));
    let options = format!("lowerdir={},upperdir={},workdir={}", lowers.join(":"), writable[0], writable[1]);
    let program = sys::c_string(program)?;
    let argv = [program.clone(), c"-f".into(), c"-o".into(), CString::new(options)?, sys::c_string(place)?];
    Err(sys::execute(&program, &argv, &[]))
}

fn failed(program: &Path, said: &OwnedFd, what: &str) -> Failure {
    let mut bytes = [0; 1024];
    let count = sys::read(said.as_fd(), &mut bytes).unwrap_or(0);
    let said = String::from_utf8_lossy(&bytes[..count]);
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("argument ignored")).collect();
    let program = program.display();
    Failure {
        kind: FailureKind::Unsupported,
        doing: format!("{program} could not mount the root, {what}: {}", lines.join("; ")),
        subject: Bytes(Vec::new()),
        errno: 0,
    }
}

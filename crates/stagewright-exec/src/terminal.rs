//! A terminal for a step, between it and the terminal of this process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

/// How often the size of the terminal is looked at: its changes are told by a signal, and signals
/// are this process's own.
const SIZE_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};
const PIECE_BYTES: usize = 16 << 10;

/// A pseudo terminal: what a step writes to its end is read from ours.
#[derive(Debug)]
pub(crate) struct Pty {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Pty {
    /// Makes one that is as large and set as another terminal.
    pub(crate) fn like(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let path = rustix::pty::ptsname(&ours, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
        let settings = rustix::termios::tcgetattr(terminal)?;
        rustix::termios::tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        if let Ok(size) = rustix::termios::tcgetwinsize(terminal) {
            rustix::termios::tcsetwinsize(&ours, size)?;
        }
        Ok(Self { ours, theirs })
    }

    /// Splits it into our end and the step's. The step has let go of its end when none is open.
    pub(crate) fn into_ends(self) -> (OwnedFd, OwnedFd) {
        (self.ours, self.theirs)
    }
}

/// The terminal of this process while every key goes to the step; as it was when dropped.
#[derive(Debug)]
pub(crate) struct Raw<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Raw<'t> {
    pub(crate) fn enter(terminal: BorrowedFd<'t>) -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // Who closed the terminal does not need its settings.
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Copies between a terminal and our end of a pseudo terminal until the step's end is closed, or
/// until the other end of `stop` is.
pub(crate) fn copy(
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    ours: &OwnedFd,
    stop: &UnixStream,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut input_open = true;
    loop {
        let keys = if input_open {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds = [
            PollFd::new(ours, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
            PollFd::from_borrowed_fd(input, keys),
        ];
        match poll(&mut fds, Some(&SIZE_INTERVAL)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [from_step, stopped, keyed] = fds.map(|fd| fd.revents());
        if !from_step.is_empty() {
            match rustix::io::read(ours, &mut piece) {
                // Nobody has the other end open any more.
                Ok(0) | Err(rustix::io::Errno::IO) => return Ok(()),
                Ok(count) => write_all(output, &piece[..count])?,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        } else if !stopped.is_empty() {
            return Ok(());
        }
        if input_open && !keyed.is_empty() {
            match rustix::io::read(input, &mut piece) {
                Ok(0) | Err(rustix::io::Errno::IO) => input_open = false,
                Ok(count) => write_all(ours.as_fd(), &piece[..count])?,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        follow_size(output, ours);
    }
}

fn follow_size(terminal: BorrowedFd<'_>, ours: &OwnedFd) {
    let sizes = (
        rustix::termios::tcgetwinsize(terminal),
        rustix::termios::tcgetwinsize(ours),
    );
    if let (Ok(new), Ok(old)) = sizes
        && (new.ws_row, new.ws_col) != (old.ws_row, old.ws_col)
    {
        // A step that has ended needs no size.
        let _ = rustix::termios::tcsetwinsize(ours, new);
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

//! Wakes whoever waits for a build, without Python's lock.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A descriptor that becomes readable when something happened: `poll` waits for it, and so does an
/// event loop.
#[derive(Clone)]
pub(crate) struct Signal(Arc<Wakes>);

struct Wakes(OwnedFd);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        // It can only fail when it was woken 2^64 times: it is readable then.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Signal {
    pub(crate) fn new() -> PyResult<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self(Arc::new(Wakes(fd))))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }

    /// Forgets what happened so far.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // When nothing happened there is nothing to read.
        let _ = rustix::io::read(&self.0.0, &mut count);
    }

    /// Waits until something happened, a signal came, or the time is over.
    pub(crate) fn wait(&self, time: Duration) {
        let mut fds = [PollFd::new(&self.0.0, PollFlags::IN)];
        let time = Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

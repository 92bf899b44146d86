//! Having the disk write files while others are still being made or read.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;

/// What is done sooner leaves the disk little to write: it is not asked to.
const PATIENCE: Duration = Duration::from_millis(20);

/// Has a file system written again and again, from a moment after this is made until it is stopped, so that little is left
/// to wait for when everything must be durable. Many small files take the disk as long as they take to make or to read.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Dropped to stop it.
    going: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins with the file system of a directory. Where no thread can be had, nothing is written ahead.
    pub(crate) fn of(directory: &Path) -> Self {
        let (going, stopped) = channel::<()>();
        let directory = fs::File::open(directory);
        let work = move || {
            // It is a hint: what fails here fails where it is waited for.
            let Ok(directory) = directory else { return };
            while stopped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                if rustix::fs::syncfs(&directory).is_err() {
                    return;
                }
            }
        };
        Self {
            going: Some(going),
            thread: std::thread::Builder::new().spawn(work).ok(),
        }
    }

    /// Has it begin with nothing more, and does not wait for what it began with: dropping it does.
    pub(crate) fn stop(&mut self) {
        self.going = None;
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // It has nothing that can panic.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_whenever_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        drop(Ahead::of(folder.path()));
        drop(Ahead::of(&folder.path().join("missing")));
        let mut ahead = Ahead::of(folder.path());
        ahead.stop();
        let thread = ahead.thread.take().unwrap();
        thread.join().unwrap();
    }
}

//! Having the disk write files while others are still being made or read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use fs_err as fs;

/// What is done sooner leaves the disk little to write: it is not asked to.
const PATIENCE: Duration = Duration::from_millis(20);

/// Has a file system written again and again, from a moment after this is made until it is dropped and once more then, so
/// that little is left to wait for when everything must be durable. Many small files take the disk as long as they take
/// to make or to read.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Dropped to stop it. Nobody waits for what it began with.
    _going: Sender<()>,
}

impl Ahead {
    /// Begins with the file system of a directory, unless somebody does already, as `writing` says. Where no thread can be had,
    /// nothing is written ahead.
    pub(crate) fn of(directory: &Path, writing: &Arc<AtomicBool>) -> Self {
        let writing = Arc::clone(writing);
        let (going, stopped) = channel::<()>();
        let directory = fs::File::open(directory);
        let work = move || {
            // It is a hint: what fails here fails where it is waited for.
            let Ok(directory) = directory else { return };
            let goes_on = || stopped.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if !goes_on() || writing.swap(true, Ordering::Relaxed) {
                return;
            }
            while rustix::fs::syncfs(&directory).is_ok() && goes_on() {}
            // What was made since.
            let _ = rustix::fs::syncfs(&directory);
            writing.store(false, Ordering::Relaxed);
        };
        // A thread that can't be had writes nothing.
        drop(std::thread::Builder::new().spawn(work));
        Self { _going: going }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Waits until somebody writes, or nobody does.
    fn wait(writing: &AtomicBool, wanted: bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while writing.load(Ordering::Relaxed) != wanted {
            assert!(Instant::now() < deadline, "{wanted}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_ends_whenever_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let writing = Arc::default();
        drop(Ahead::of(folder.path(), &writing));
        drop(Ahead::of(&folder.path().join("missing"), &writing));
        for _ in 0..2 {
            let ahead = Ahead::of(folder.path(), &writing);
            wait(&writing, true);
            let second = Ahead::of(folder.path(), &writing);
            std::thread::sleep(2 * PATIENCE);
            drop(second);
            assert!(writing.load(Ordering::Relaxed), "the first one goes on");
            drop(ahead);
            wait(&writing, false);
        }
    }
}

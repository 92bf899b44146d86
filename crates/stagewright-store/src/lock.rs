//! Locks between processes: `flock`, which the kernel gives back when their holder dies.
//!
//! ```text
//! locks/<64 hex>   empty; locked while the action of that key runs
//! ```

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use stagewright_digest::ActionKey;

use crate::disk;
use crate::error::StoreError;
use crate::store::Store;

/// How long to wait between attempts at a lock that may be given up on.
const POLL_INTERVAL: Duration = Duration::from_millis(15);

/// An exclusive lock on a file, given back when it is dropped. It also keeps apart holders in the
/// same process: each opens the file anew.
#[derive(Debug)]
pub struct FileLock(fs::File);

impl FileLock {
    /// Waits for the lock.
    pub(crate) fn wait(path: &Path) -> io::Result<Self> {
        loop {
            let file = disk::open_or_create(path)?;
            wait_for(&file)?;
            if is_named(file.file())? {
                return Ok(Self(file));
            }
        }
    }

    /// Waits until nobody has the lock alone, and shares it.
    pub(crate) fn shared(path: &Path) -> io::Result<Self> {
        loop {
            let file = disk::open_or_create(path)?;
            retry(|| flock(&file, FlockOperation::LockShared))?;
            if is_named(file.file())? {
                return Ok(Self(file));
            }
        }
    }

    /// Holds a lock that was taken.
    pub(crate) fn held(file: fs::File) -> Self {
        Self(file)
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Shares the lock if nobody has it alone.
    pub(crate) fn try_share(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, FlockOperation::NonBlockingLockShared)
    }

    fn attempt(path: &Path, operation: FlockOperation) -> io::Result<Option<Self>> {
        loop {
            let file = disk::open_or_create(path)?;
            match flock(&file, operation) {
                Ok(()) if is_named(file.file())? => return Ok(Some(Self(file))),
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &fs::File {
        &self.0
    }

    /// Waits for the lock until `cancelled` says to give up.
    pub(crate) fn wait_unless(
        path: &Path,
        cancelled: &dyn Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::poll(cancelled, || Self::try_take(path))
    }

    /// Waits until `attempt` gives the lock, or `cancelled` says to give up.
    pub(crate) fn poll(
        cancelled: &dyn Fn() -> bool,
        attempt: impl Fn() -> io::Result<Option<Self>>,
    ) -> io::Result<Option<Self>> {
        loop {
            if let Some(lock) = attempt()? {
                return Ok(Some(lock));
            }
            if cancelled() {
                return Ok(None);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Waits for the lock of an open file. A signal, which the program that this runs in may handle,
/// does not end the wait.
pub(crate) fn wait_for(file: impl AsFd) -> io::Result<()> {
    retry(|| flock(&file, FlockOperation::LockExclusive))
}

fn retry(take: impl Fn() -> rustix::io::Result<()>) -> io::Result<()> {
    loop {
        match take() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

/// Says whether a locked file still has a name. Whoever collects garbage, rewrites a shard or cleans
/// up after dead processes removes files whose lock nobody holds; a lock on one that is removed
/// keeps nobody out.
fn is_named(file: &std::fs::File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

/// Takes the lock of a file that was just made. Says no if the file was removed before its lock was
/// taken: it is to be made again.
pub(crate) fn take_new(file: &std::fs::File) -> io::Result<bool> {
    wait_for(file)?;
    is_named(file)
}

/// Takes the lock of a file that may not be there, if nobody has it.
pub(crate) fn try_take_existing(path: &Path) -> io::Result<Option<fs::File>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The right to run an action. While it is held, everyone else who wants the same action waits.
#[derive(Debug)]
pub struct ActionLock(#[expect(dead_code, reason = "it is held, not read")] FileLock);

impl Store {
    /// Takes the lock of an action if nobody runs it.
    pub fn try_lock_action(&self, key: &ActionKey) -> Result<Option<ActionLock>, StoreError> {
        let path = self.path().join("locks").join(key.to_hex());
        Ok(FileLock::try_take(&path)?.map(ActionLock))
    }

    /// Waits until nobody runs an action. Nothing when `cancelled` says to give up. Blocks.
    pub fn lock_action(
        &self,
        key: &ActionKey,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<ActionLock>, StoreError> {
        let path = self.path().join("locks").join(key.to_hex());
        Ok(FileLock::wait_unless(&path, cancelled)?.map(ActionLock))
    }
}

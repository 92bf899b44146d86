//! A blob that is read while it is downloaded.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use stagewright_store::BlobWriter;

/// Writes a blob and tells who follows how far it is. Never waits for the follower.
#[derive(Debug)]
pub(crate) struct FollowedBlob {
    /// Taken when the blob is whole.
    writer: Option<BlobWriter>,
    shared: Arc<Shared>,
}

/// Reads what was written of a blob, and waits for the rest.
#[derive(Debug)]
pub(crate) struct Follower {
    file: File,
    position: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held only to look or to change; the follower waits on it for a change.
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    ended: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Whole,
    GivenUp,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Two numbers are whole whatever happened to who held them last.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        self.lock().ended.get_or_insert(end);
        self.changed.notify_all();
    }
}

/// Makes a blob that can be followed.
pub(crate) fn follow(writer: BlobWriter) -> io::Result<(FollowedBlob, Follower)> {
    let shared = Arc::new(Shared::default());
    let follower = Follower {
        file: writer.reader()?,
        position: 0,
        shared: Arc::clone(&shared),
    };
    let writer = Some(writer);
    Ok((FollowedBlob { writer, shared }, follower))
}

impl FollowedBlob {
    /// Says that all is written, and returns the blob.
    pub(crate) fn finish(mut self) -> BlobWriter {
        self.shared.end(End::Whole);
        self.writer
            .take()
            .expect("because only this takes the writer, and ends it")
    }
}

impl Write for FollowedBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(writer) = &mut self.writer else {
            return Err(io::Error::other("the blob is finished"));
        };
        let count = writer.write(bytes)?;
        self.shared.lock().bytes += count as u64;
        self.shared.changed.notify_all();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for FollowedBlob {
    fn drop(&mut self) {
        self.shared.end(End::GivenUp);
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut progress = self.shared.lock();
        // What is written may be read before it is counted.
        while progress.bytes <= self.position {
            match progress.ended {
                None => {
                    let waited = self.shared.changed.wait(progress);
                    progress = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Some(End::Whole) => return Ok(0),
                Some(End::GivenUp) => {
                    return Err(io::Error::other("the download was given up"));
                }
            }
        }
        drop(progress);
        let count = self.file.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_before_the_rest_comes() {
        let folder = tempfile::tempdir().unwrap();
        let store = stagewright_store::Store::open(stagewright_store::StoreOptions {
            path: folder.path().to_owned(),
        })
        .unwrap();
        let (mut blob, mut follower) = follow(store.blob_writer().unwrap()).unwrap();
        blob.write_all(b"first").unwrap();
        // As who reads sees it between a write and its count.
        blob.shared.lock().bytes = 3;
        let mut piece = [0; 5];
        follower.read_exact(&mut piece).unwrap();
        assert_eq!(piece, *b"first");
        let reading = std::thread::spawn(move || {
            let mut rest = Vec::new();
            follower.read_to_end(&mut rest).map(|_| rest)
        });
        blob.write_all(b" and last").unwrap();
        let (digest, bytes) = blob.finish().commit(None).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), b" and last");
        assert_eq!(bytes, 14);
        assert!(store.blob(&digest).unwrap().is_some());
        let (blob, mut follower) = follow(store.blob_writer().unwrap()).unwrap();
        drop(blob);
        assert!(follower.read(&mut piece).is_err());
    }
}

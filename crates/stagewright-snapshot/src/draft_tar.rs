//! The tar of a layer that is being written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use fs_err as fs;

use crate::sys;

/// The disk begins with so many bytes at a time.
const STRETCH_BYTES: u64 = 1 << 20;
/// After so many it is asked to empty its cache.
const CACHED_BYTES: u64 = 4 << 20;
/// The thread that asks calls one function.
const STACK_BYTES: usize = 64 * 1024;

/// A new file that the disk writes while it is filled, so that little is left to wait for at its end. A disk that has a cache is
/// asked to empty that too: it takes longer for it than for all else.
#[derive(Debug)]
pub(crate) struct DraftTar {
    file: fs::File,
    /// How much was written, and how much of it the disk was told of, and had to keep.
    written: u64,
    told: u64,
    kept: u64,
    /// A file of the same file system that nobody writes to. To make it durable does nothing but to empty the disk's cache,
    /// where making this one durable would write the file system's journal too.
    still: PathBuf,
    /// Asks the thread that waits for the disk, once there is one. It ends when this is dropped.
    disk: Option<SyncSender<()>>,
}

impl DraftTar {
    /// Makes the file, which must not be there. `still` is a file of the same file system that nobody writes to.
    pub(crate) fn create(path: &Path, still: PathBuf) -> io::Result<Self> {
        Ok(Self {
            file: fs::File::create_new(path)?,
            written: 0,
            told: 0,
            kept: 0,
            still,
            disk: None,
        })
    }

    /// Tells the disk of what was written since it was told last.
    fn tell(&mut self) {
        sys::begin_writing(self.file.file(), self.told, self.written - self.told);
        self.told = self.written;
        if self.told - self.kept >= CACHED_BYTES {
            self.kept = self.told;
            let disk = self.disk.take().or_else(|| start(&self.still));
            // It is a hint: nothing is asked twice, and what fails here fails where it is waited for.
            self.disk = disk.inspect(|disk| {
                let _ = disk.try_send(());
            });
        }
    }
}

/// Starts a thread that has the disk empty its cache whenever it is asked to. Nothing where none can be had.
fn start(still: &Path) -> Option<SyncSender<()>> {
    let still = fs::File::open(still).ok()?;
    let (ask, asked) = sync_channel(1);
    let work = move || {
        for () in asked {
            if still.sync_data().is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(work).ok()?;
    Some(ask)
}

impl Write for DraftTar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.told >= STRETCH_BYTES {
            self.tell();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tell();
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_written_is_in_the_file_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tar");
        let still = folder.path().join("still");
        fs::write(&still, "").unwrap();
        let mut tar = DraftTar::create(&path, still.clone()).unwrap();
        let mut all = Vec::new();
        for number in 0..40_u8 {
            let piece = vec![number; 300_000 + usize::from(number)];
            tar.write_all(&piece).unwrap();
            all.extend(piece);
        }
        tar.flush().unwrap();
        assert!(fs::read(&path).unwrap() == all);
        DraftTar::create(&path, still).unwrap_err();
    }
}

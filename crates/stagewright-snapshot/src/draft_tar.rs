//! The tar of a layer that is being written.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;

use crate::sys;

/// The disk is told of so many bytes at a time.
const STRETCH_BYTES: u64 = 4 << 20;

/// A new file that the disk writes while it is filled, so that little is left to wait for at its end.
#[derive(Debug)]
pub(crate) struct DraftTar {
    file: fs::File,
    /// How much was written, and how much of it the disk was told of.
    written: u64,
    told: u64,
}

impl DraftTar {
    /// Makes the file, which must not be there.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: fs::File::create_new(path)?,
            written: 0,
            told: 0,
        })
    }

    /// Tells the disk of what was written since it was told last.
    fn tell(&mut self) {
        sys::begin_writing(self.file.file(), self.told, self.written - self.told);
        self.told = self.written;
    }
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
        let mut tar = DraftTar::create(&path).unwrap();
        let mut all = Vec::new();
        for number in 0..40_u8 {
            let piece = vec![number; 300_000 + usize::from(number)];
            tar.write_all(&piece).unwrap();
            all.extend(piece);
        }
        tar.flush().unwrap();
        assert!(fs::read(&path).unwrap() == all);
        DraftTar::create(&path).unwrap_err();
    }
}

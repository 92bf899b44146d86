//! Fresh file systems: a disk that has seen many files made and deleted is slower than a new one, by factors.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::host;

/// The size that the file system has at most; its file is sparse.
const SIZE: &str = "24G";

/// An ext4 in a file, mounted; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    file: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes and mounts a file system of its own for `name` below a folder.
    pub(super) fn make(folder: &Path, name: &str) -> Result<Self> {
        let disk = Self {
            file: folder.join(format!("{name}.ext4")),
            mount: folder.join(name),
        };
        disk.remove();
        fs_err::create_dir_all(&disk.mount)?;
        host::output(Command::new("truncate").args(["-s", SIZE]).arg(&disk.file))?;
        // With the tables written now nothing works in the background while the clock runs.
        host::output(
            Command::new("mkfs.ext4")
                .args([
                    "-q",
                    "-F",
                    "-m",
                    "0",
                    "-E",
                    "lazy_itable_init=0,lazy_journal_init=0",
                ])
                .args(["-i", "16384"])
                .arg(&disk.file),
        )?;
        host::output(
            Command::new("mount")
                .args(["-o", "loop,noatime"])
                .arg(&disk.file)
                .arg(&disk.mount),
        )?;
        Ok(disk)
    }

    /// Returns the folder that it is mounted on.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Gives what was deleted on it back to the disk that its file lies on.
    pub(super) fn trim(&self) -> Result<()> {
        host::output(Command::new("fstrim").arg(&self.mount))?;
        Ok(())
    }

    fn remove(&self) {
        // Not there is what is wanted.
        let _ = host::output(Command::new("umount").arg("-R").arg(&self.mount));
        let _ = fs_err::remove_file(&self.file);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.remove();
    }
}

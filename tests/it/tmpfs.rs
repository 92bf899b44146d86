//! A disk that is soon full.

use std::path::Path;
use std::process::Command;

use stagewright_testkit::output;

/// A small file system of its own, gone when dropped.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts one of so many megabytes. Takes root.
    pub(crate) fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path());
        let _ = output(&mut mount).success();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn resize(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        let mut mount = Command::new("mount");
        let _ = output(mount.args(["-o", &options]).arg(self.0.path())).success();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A test that failed in the middle may have left it busy; the folder then stays.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

//! A folder in memory.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::output;

/// The first version of the kernel whose file systems in memory keep attributes of users.
const WITH_ATTRIBUTES: (u32, u32) = (6, 6);

/// A folder whose files lie in memory, so that nothing that is done in it waits for a disk: packages are installed several
/// times as fast. Needs root.
#[derive(Debug)]
pub struct Memory {
    folder: TempDir,
    mounted: bool,
}

impl Memory {
    /// Makes an empty one, which goes when this is dropped. Where the kernel's file systems in memory do not keep all that
    /// a layer may hold, it is a usual folder.
    ///
    /// # Panics
    ///
    /// When nothing can be mounted.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that mounts something surprises"
    )]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            // Programs that make sockets in it want short paths.
            .prefix("sw-")
            .tempdir()
            .unwrap();
        let mounted = version() >= WITH_ATTRIBUTES;
        if mounted {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "mode=755,size=80%", "stagewright"]);
            let _ = output(mount.arg(folder.path())).success();
        }
        Self { folder, mounted }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.mounted {
            // With what a builder that failed left mounted in it.
            let _ = Command::new("umount")
                .arg("--lazy")
                .arg(self.folder.path())
                .status();
        }
    }
}

/// Returns the version of the running kernel.
fn version() -> (u32, u32) {
    let text = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

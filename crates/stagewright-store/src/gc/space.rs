//! How much room there is on the disk, and how much of it the store may take.

use super::options::PruneOptions;
use crate::error::StoreError;
use crate::store::Store;

/// Room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the disk that the store lies on.
    Percent(u8),
}

/// The disk that a store lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// Its size.
    pub total_bytes: u64,
    /// What is free on it for who is not root, as `df` says.
    pub free_bytes: u64,
}

/// What the store may take of its disk. What is in use or has a name stays whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceBounds {
    /// The most that it may take; 0 is no limit.
    pub max_used_bytes: u64,
    /// What is to be free on the disk.
    pub min_free_bytes: u64,
    /// What it may take however little is free.
    pub reserved_bytes: u64,
}

impl From<u64> for DiskSpace {
    fn from(bytes: u64) -> Self {
        Self::Bytes(bytes)
    }
}

impl DiskSpace {
    /// Returns the bytes.
    pub fn bytes(self, disk: &DiskRoom) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // Of a disk of less than a hundred bytes nothing is asked.
            Self::Percent(percent) => (disk.total_bytes / 100).saturating_mul(percent.into()),
        }
    }
}

impl Store {
    /// Asks how large the disk is that the store lies on, and what is free on it.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        let disk = rustix::fs::statvfs(self.path()).map_err(std::io::Error::from)?;
        Ok(DiskRoom {
            total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        })
    }
}

impl PruneOptions {
    /// Says whether the collection ends before all is gone that may go.
    pub(super) fn has_end(&self) -> bool {
        [self.max_used, self.min_free, self.reserved]
            .iter()
            .any(|space| {
                !matches!(
                    space,
                    None | Some(DiskSpace::Bytes(0) | DiskSpace::Percent(0))
                )
            })
    }

    /// Returns what a store may keep that takes `used_bytes` now; nothing where no bound is asked for. As in BuildKit: at most
    /// what may be used, less what the disk lacks, and never less than what is reserved; 0 asks for nothing.
    pub(super) fn kept_bytes(&self, used_bytes: u64, disk: &DiskRoom) -> Option<u64> {
        let asked = |space: Option<DiskSpace>| {
            let bytes = space.map(|space| space.bytes(disk));
            bytes.filter(|bytes| *bytes > 0)
        };
        let free = asked(self.min_free).map(|bytes| {
            let lacking = bytes.saturating_sub(disk.free_bytes);
            used_bytes.saturating_sub(lacking)
        });
        let most = [asked(self.max_used), free].into_iter().flatten().min();
        [most, asked(self.reserved)].into_iter().flatten().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bounds: [u64; 3], expected: Option<u64>) {
        let disk = DiskRoom {
            total_bytes: 1000,
            free_bytes: 100,
        };
        let [max_used, min_free, reserved] = bounds.map(|bytes| Some(bytes.into()));
        let options = PruneOptions {
            max_used,
            min_free,
            reserved,
            ..PruneOptions::default()
        };
        assert_eq!(options.kept_bytes(500, &disk), expected, "{bounds:?}");
        assert_eq!(options.has_end(), expected.is_some(), "{bounds:?}");
    }

    #[test]
    fn bounds_are_as_in_buildkit() {
        check([0, 0, 0], None);
        check([300, 0, 0], Some(300));
        check([0, 0, 300], Some(300));
        check([300, 0, 400], Some(400));
        // Enough is free.
        check([0, 100, 0], Some(500));
        check([300, 100, 0], Some(300));
        check([700, 50, 0], Some(500));
        // 150 bytes are lacking.
        check([0, 250, 0], Some(350));
        check([400, 250, 0], Some(350));
        check([300, 250, 0], Some(300));
        check([0, 250, 450], Some(450));
        check([0, 900, 0], Some(0));
    }

    #[test]
    fn shares_are_those_of_the_disk() {
        let disk = DiskRoom {
            total_bytes: 2000,
            free_bytes: 1,
        };
        assert_eq!(DiskSpace::Percent(15).bytes(&disk), 300);
        let options = PruneOptions {
            max_used: Some(DiskSpace::Percent(50)),
            ..PruneOptions::default()
        };
        assert_eq!(options.kept_bytes(5000, &disk), Some(1000));
    }
}

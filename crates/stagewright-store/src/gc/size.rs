//! How large the store is, without measuring it at each build.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::options::{PruneOptions, Pruned};
use super::space::{DiskSpace, SpaceBounds};
use crate::audit::bytes_below;
use crate::disk;
use crate::error::StoreError;
use crate::files::{self, list};
use crate::lock::FileLock;
use crate::store::Store;

const GROWTH: &str = "gc/growth";
const OLD_GROWTH: &str = "gc/growth.old";
const SIZE: &str = "gc/size";
/// A file of growth that is longer than this is summed up.
const GROWTH_BYTES_MAX: usize = 1 << 16;

/// What was measured last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Measured {
    bytes: u64,
    /// Of these, cache mounts by their paths.
    mounts: BTreeMap<String, u64>,
    #[serde(flatten)]
    floor: Floor,
}

/// What the last collection could not get below; 0 where it got as far as it was to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Floor {
    #[serde(rename = "floor")]
    pub(super) bytes: u64,
    /// Of these, what would be left without what builds used then: they end, and it may go.
    #[serde(default, rename = "floor_idle")]
    pub(super) idle_bytes: u64,
}

impl Store {
    /// Collects garbage if the store takes more than it may, down to nine tenths of that, or if there is too little room on its
    /// disk, until there is a tenth more than that. Returns nothing when neither is so, which is found out by asking the kernel
    /// what is free and by reading two small files: what the store took when it was last measured, and what was added since.
    ///
    /// # Errors
    /// When the store cannot be measured, or something not removed.
    pub fn keep_within(&self, bounds: &SpaceBounds) -> Result<Option<Pruned>, StoreError> {
        self.keep(bounds, |floor| floor.bytes)
    }

    /// The same for who is about to need room: it is tried, too, when nothing was added since the last time, but builds have
    /// used what they may have given up meanwhile.
    ///
    /// # Errors
    /// As there.
    pub fn keep_within_before_use(
        &self,
        bounds: &SpaceBounds,
    ) -> Result<Option<Pruned>, StoreError> {
        self.keep(bounds, |floor| floor.idle_bytes)
    }

    fn keep(
        &self,
        bounds: &SpaceBounds,
        floor_of: fn(Floor) -> u64,
    ) -> Result<Option<Pruned>, StoreError> {
        let (limit, min_free) = (bounds.max_used_bytes, bounds.min_free_bytes);
        let lacking = match min_free {
            0 => 0,
            _ => min_free.saturating_sub(self.disk_room()?.free_bytes),
        };
        if limit == 0 && lacking == 0 {
            return Ok(None);
        }
        let (estimate, floor) = match self.measured()? {
            Some(measured) => self.estimate(measured)?,
            None => (self.measure()?, Floor::default()),
        };
        let floor = floor_of(floor);
        // Where all is needed, to look again at each build would find nothing more.
        let above = limit > 0 && estimate > limit.max(floor.saturating_add(limit / 20));
        let worth = floor.saturating_add(lacking.min(floor) / 20);
        let short = lacking > 0 && estimate > bounds.reserved_bytes.max(worth);
        if !above && !short {
            return Ok(None);
        }
        let options = PruneOptions {
            all: true,
            max_used: above.then(|| DiskSpace::Bytes((limit - limit / 10).max(1))),
            min_free: short.then(|| DiskSpace::Bytes(min_free.saturating_add(min_free / 10))),
            reserved: Some(DiskSpace::Bytes(bounds.reserved_bytes)),
            unless_running: true,
            ..PruneOptions::default()
        };
        Ok(Some(self.prune(&options)?))
    }

    /// Makes room for who found the disk full: half of what nobody needs goes, the least recently used first, or more if more
    /// than that lacks to `min_free_bytes`; the `last` time that it is tried all of it goes. Waits for a collection that runs.
    ///
    /// # Errors
    /// When the store cannot be measured, or something not removed.
    pub fn make_room(&self, min_free_bytes: u64, last: bool) -> Result<Pruned, StoreError> {
        let usage = self.usage()?;
        let lacking = min_free_bytes.saturating_sub(self.disk_room()?.free_bytes);
        let goes = match last {
            true => u64::MAX,
            false => lacking.max(usage.reclaimable_bytes() / 2),
        };
        self.prune(&PruneOptions {
            all: true,
            // Not 0, which is no bound: what is known of base images would go too.
            max_used: Some(DiskSpace::Bytes(usage.bytes().saturating_sub(goes).max(1))),
            ..PruneOptions::default()
        })
    }

    /// Returns about how large the store is, and what it could not be made smaller than.
    fn estimate(&self, mut measured: Measured) -> Result<(u64, Floor), StoreError> {
        let lines = files::read(&self.path().join(GROWTH))?.unwrap_or_default();
        let mut used = HashSet::new();
        for line in String::from_utf8_lossy(&lines).lines() {
            match line.parse::<u64>() {
                Ok(bytes) => measured.bytes = measured.bytes.saturating_add(bytes),
                Err(_) => drop(used.insert(line.to_owned())),
            }
        }
        // A step wrote to these: the build took longer than it takes to measure them.
        for name in used.iter().filter(|name| name.starts_with("mounts/")) {
            let bytes = bytes_below(&self.path().join(name), &mut HashSet::new())?;
            let before = measured.mounts.insert(name.clone(), bytes).unwrap_or(0);
            measured.bytes = (measured.bytes + bytes).saturating_sub(before);
        }
        let sum = (measured.bytes, measured.floor);
        if (!used.is_empty() || lines.len() > GROWTH_BYTES_MAX)
            && let Some(_lock) = FileLock::try_take(&self.path().join("gc/lock"))?
        {
            // What is added between the two is not counted until the store is measured.
            disk::remove_file(&self.path().join(GROWTH))?;
            self.write_measured(&measured)?;
        }
        Ok(sum)
    }

    fn measure(&self) -> Result<u64, StoreError> {
        let growth = self.begin_measure()?;
        let bytes = self.usage()?.bytes();
        self.end_measure(growth, bytes, Floor::default())?;
        Ok(bytes)
    }

    fn measured(&self) -> Result<Option<Measured>, StoreError> {
        let bytes = self.read_checked(&self.path().join(SIZE))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn write_measured(&self, measured: &Measured) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(measured).map_err(std::io::Error::from)?;
        Ok(self.publish_checked(&self.path().join(SIZE), &bytes)?)
    }

    /// Sets aside what was added until now: it is about to be measured.
    pub(super) fn begin_measure(&self) -> Result<Growth, StoreError> {
        let path = self.path().join(GROWTH);
        if path.exists() {
            match disk::rename(&path, &self.path().join(OLD_GROWTH)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(Growth(()))
    }

    /// Writes down what was measured, and what the store could not be made smaller than.
    pub(super) fn end_measure(
        &self,
        _begun: Growth,
        bytes: u64,
        floor: Floor,
    ) -> Result<(), StoreError> {
        let mut mounts = BTreeMap::new();
        for folder in list(&self.path().join("mounts"))? {
            for path in list(&folder)? {
                if path.is_dir()
                    && let Ok(name) = path.strip_prefix(self.path())
                {
                    let bytes = bytes_below(&path, &mut HashSet::new())?;
                    mounts.insert(name.display().to_string(), bytes);
                }
            }
        }
        let measured = Measured {
            bytes,
            mounts,
            floor,
        };
        match self.write_measured(&measured) {
            // Room was made as far as it goes; the next build measures.
            Err(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
                disk::remove_file(&self.path().join(SIZE))?;
            }
            result => result?,
        }
        disk::remove_file(&self.path().join(OLD_GROWTH))?;
        Ok(())
    }

    /// Notes that bytes were added. An estimate: losing it costs nothing but a collection that comes
    /// late.
    pub(crate) fn note_growth(&self, bytes: u64) {
        self.append_growth(&format!("{bytes}\n"));
    }

    /// Notes that a step used a cache mount: it may have grown.
    pub(crate) fn note_mount(&self, path: &Path) {
        if let Ok(name) = path.strip_prefix(self.path()) {
            self.append_growth(&format!("{}\n", name.display()));
        }
    }

    fn append_growth(&self, line: &str) {
        let path = self.path().join(GROWTH);
        let append = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)?;
            std::io::Write::write_all(&mut file, line.as_bytes())
        };
        let result = match append() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                disk::create_dir_all(&self.path().join("gc")).and_then(|()| append())
            }
            result => result,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the growth of the store is not noted");
        }
    }
}

/// Says that what was added before is set aside.
#[must_use]
pub(super) struct Growth(());

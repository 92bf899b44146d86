//! Hashing a context's files on several threads, reading only what the stat cache doesn't know.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::io::Errno;
use stagewright_digest::{ContentDigest, ContentHasher};

use crate::entry::{FileStamp, Xattrs};
use crate::resolve;
use crate::stat_cache::{Record, StatCache};
use crate::{Context, ContextError, Entry};

/// How often a file that changes while it is read is read again.
const ATTEMPTS_MAX: usize = 3;
const READ_BYTES: usize = 128 * 1024;
/// Files that one thread takes at a time.
const BATCH: usize = 16;
/// As many files as one thread hashes faster than another one starts.
const ALONE_MAX: usize = 4;

impl Context {
    /// Fills in the content digests and extended attributes of all files among the entries of a
    /// walk, in the order in which the walk listed them.
    ///
    /// Files that the cache knows cost nothing; others are read, and taken into the cache. A file
    /// that was changed since it was listed gets its entry's size, times and mode renewed.
    ///
    /// Returns whether the cache knows all of them now, by the stamps that they were listed with: as long as a walk lists
    /// the same stamps, their content is the same.
    pub fn digest(
        &self,
        entries: &mut [Entry],
        cache: &mut StatCache,
    ) -> Result<bool, ContextError> {
        let now_ns = file_clock_ns();
        let mut lookups = cache.lookups();
        let mut missed: Vec<&mut Entry> = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.is_file()) {
            match lookups.find(entry) {
                Some(record) => {
                    entry.content = Some(record.content);
                    entry.xattrs.clone_from(&record.xattrs);
                }
                None => missed.push(entry),
            }
        }
        let listed: Vec<FileStamp> = missed.iter().map(|entry| entry.stamp).collect();
        self.read_all(&mut missed)?;
        let learned: Vec<Record> = missed
            .iter()
            .filter(|entry| is_settled(&entry.stamp, now_ns))
            .filter_map(|entry| {
                Some(Record {
                    path: entry.path.clone(),
                    stamp: entry.stamp,
                    content: entry.content?,
                    xattrs: entry.xattrs.clone(),
                })
            })
            .collect();
        let unchanged = missed.iter().zip(&listed);
        let known = learned.len() == missed.len()
            && unchanged
                .into_iter()
                .all(|(entry, stamp)| entry.stamp == *stamp);
        cache.merge(learned);
        Ok(known)
    }

    fn read_all(&self, missed: &mut [&mut Entry]) -> Result<(), ContextError> {
        let threads = if missed.len() <= ALONE_MAX {
            1
        } else {
            self.threads
        };
        if threads == 1 {
            let mut buffer = vec![0; READ_BYTES];
            return missed
                .iter_mut()
                .try_for_each(|entry| self.read_entry(entry, &mut buffer));
        }
        let batches: Vec<Mutex<&mut [&mut Entry]>> =
            missed.chunks_mut(BATCH).map(Mutex::new).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut buffer = vec![0; READ_BYTES];
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Each batch is taken by one thread only; the lock is how it gets it out of the list.
                let mut batch = batch.lock().unwrap_or_else(PoisonError::into_inner);
                for entry in batch.iter_mut() {
                    if let Err(error) = self.read_entry(entry, &mut buffer) {
                        next.store(batches.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                let theirs = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(theirs);
            }
            result
        })
    }

    fn read_entry(&self, entry: &mut Entry, buffer: &mut [u8]) -> Result<(), ContextError> {
        let failed = |source: std::io::Error| ContextError::read(&entry.path, source);
        for _ in 0..ATTEMPTS_MAX {
            let file = self.open_regular(entry)?;
            let before = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
            let xattrs = xattrs(&file).map_err(|errno| failed(errno.into()))?;
            let (content, bytes) = hash(&file, buffer).map_err(failed)?;
            let after = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
            let stamp = FileStamp::of(&after);
            if FileStamp::of(&before) != stamp || bytes != stamp.bytes {
                continue;
            }
            if stamp != entry.stamp {
                let renewed = Entry::new(entry.path.clone(), &after, None);
                match renewed.filter(Entry::is_file) {
                    Some(renewed) => *entry = renewed,
                    None => break,
                }
            }
            entry.content = Some(content);
            entry.xattrs = xattrs;
            return Ok(());
        }
        Err(ContextError::Changed {
            path: entry.path.clone(),
        })
    }

    /// Opens a file of the context, and nothing but a regular one: a pipe that took its place
    /// would keep us waiting.
    pub(crate) fn open_regular(&self, entry: &Entry) -> Result<File, ContextError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        resolve::open(self.root_fd(), &entry.path, flags)
            .map(File::from)
            .map_err(|errno| ContextError::read(&entry.path, errno))
    }
}

fn hash(mut file: &File, buffer: &mut [u8]) -> std::io::Result<(ContentDigest, u64)> {
    let mut hasher = ContentHasher::new();
    let mut bytes = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((hasher.finish(), bytes)),
            Ok(len) => {
                hasher.update(&buffer[..len]);
                bytes += len as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads the extended attributes that belong into an image.
pub(crate) fn xattrs(file: impl AsFd) -> Result<Xattrs, Errno> {
    let file = file.as_fd();
    let names = match grow(|buffer| rustix::fs::flistxattr(file, buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| belongs_into_image(name))
    {
        match grow(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
            Ok(value) => found.push((name.to_vec(), value)),
            // Gone meanwhile, or not ours to read.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Calls with a buffer that suits nearly always, and a larger one if it doesn't.
fn grow(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 256];
    match call(&mut small) {
        Ok(len) => return Ok(small[..len].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    // The kernel's limit for a value and for a list of names.
    let mut large = vec![0; 64 * 1024];
    let len = call(&mut large)?;
    large.truncate(len);
    Ok(large)
}

/// Tells which attributes are a file's own. Labels, access lists and what a file system keeps
/// for itself are this machine's.
fn belongs_into_image(name: &[u8]) -> bool {
    const FOREIGN: [&[u8]; 5] = [
        b"system.",
        b"security.",
        b"com.apple.",
        b"trusted.overlay.",
        b"user.overlay.",
    ];
    !name.is_empty()
        && (name == b"security.capability"
            || !FOREIGN.iter().any(|prefix| name.starts_with(prefix)))
}

/// Returns the time that file systems stamp files with, or a little before: their clock ticks with the kernel's timer,
/// a hundred times a second or more often, and lags the exact one by up to a tick.
fn file_clock_ns() -> i128 {
    const TICKS: Duration = Duration::from_millis(20);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.saturating_sub(TICKS).as_nanos().cast_signed())
}

/// Tells whether a file that is written to from now on is sure to get another stamp.
///
/// The time is taken before the file is read. A file system that keeps whole seconds shows it by
/// stamps without a rest, and is believed a second later.
fn is_settled(stamp: &FileStamp, now_ns: i128) -> bool {
    const SECOND: i128 = 1_000_000_000;
    let whole_seconds = stamp.mtime_ns % SECOND == 0 && stamp.ctime_ns % SECOND == 0;
    let unit = if whole_seconds { SECOND } else { 1 };
    stamp.mtime_ns.max(stamp.ctime_ns).div_euclid(unit) < now_ns.div_euclid(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_changed_this_moment_are_not_settled() {
        let stamp = |mtime_ns, ctime_ns| FileStamp {
            dev: 1,
            ino: 1,
            bytes: 1,
            mtime_ns,
            ctime_ns,
        };
        const S: i128 = 1_000_000_000;
        for (mtime, ctime, now, expected) in [
            (5, 7, 8, true),
            (5, 8, 8, false),
            (9, 5, 8, false),
            (5 * S, 7 * S, 7 * S + 999, false),
            (5 * S, 7 * S, 8 * S, true),
            (5 * S, 7 * S + 1, 7 * S + 2, true),
        ] {
            assert_eq!(
                is_settled(&stamp(mtime, ctime), now),
                expected,
                "{mtime} {ctime} {now}"
            );
        }
    }

    #[test]
    fn only_a_files_own_attributes_are_kept() {
        for (name, expected) in [
            (&b"user.note"[..], true),
            (b"security.capability", true),
            (b"security.selinux", false),
            (b"system.posix_acl_access", false),
            (b"trusted.overlay.opaque", false),
            (b"trusted.x", true),
            (b"", false),
        ] {
            assert_eq!(
                belongs_into_image(name),
                expected,
                "{}",
                name.escape_ascii()
            );
        }
    }
}

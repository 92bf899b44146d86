//! Listing a context's files in a fixed order, on several threads.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, OFlags, RawDir};
use rustix::io::Errno;

use crate::entry::Xattrs;
use crate::resolve;
use crate::{Context, ContextError, Entry, MatchState};

/// As many entries as one thread lists before others are started to help: starting one takes as
/// long as looking at some dozens of files.
const ALONE_MAX: usize = 256;
/// What one call reads of a folder.
const LISTING_BYTES: usize = 32 * 1024;

/// What a walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Files, folders and links: a folder before its entries, entries by name.
    pub entries: Vec<Entry>,
    /// What has no place in an image and was passed over.
    pub skipped: Vec<Skipped>,
}

/// Something that a walk passed over though no rule excludes it: a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Where it is, relative to the context's root.
    pub path: PathBuf,
}

impl Context {
    /// Lists an entry and everything below it that the ignore rules leave, following no link.
    ///
    /// A folder that is excluded itself is listed if something below it is not. The cost is one
    /// system call an entry, spread over the context's threads.
    pub fn walk(&self, path: &Path) -> Result<Walk, ContextError> {
        let Some(entry) = self.lookup_unfiltered(path)? else {
            return Ok(Walk::default());
        };
        let excluded = self.excludes(path);
        if !entry.is_directory() {
            let entries = if excluded { Vec::new() } else { vec![entry] };
            return Ok(Walk {
                entries,
                skipped: Vec::new(),
            });
        }
        if excluded && !self.ignore.may_reinclude_below(path.as_os_str().as_bytes()) {
            return Ok(Walk::default());
        }
        let mut walk = self.walk_from(entry)?;
        if excluded && walk.entries.len() == 1 {
            walk.entries.clear();
        }
        Ok(walk)
    }

    /// Lists a folder and what is below it.
    fn walk_from(&self, folder: Entry) -> Result<Walk, ContextError> {
        let (excluded, state) = self.state_of(&folder.path);
        let crew = Crew::default();
        crew.lock().add(Job {
            slot: 0,
            path: folder.path.clone(),
            excluded,
            state,
        });
        while crew.lock().listed < ALONE_MAX {
            let Some(job) = crew.take() else { break };
            crew.finish(self.list(&job));
        }
        let left = crew.lock().jobs.len();
        if left > 0 {
            std::thread::scope(|scope| {
                for _ in 1..self.threads.min(left) {
                    scope.spawn(|| self.work(&crew));
                }
                self.work(&crew);
            });
        }
        let queue = crew
            .queue
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = queue.error {
            return Err(error);
        }
        Ok(assemble(folder, queue.listings))
    }

    fn work(&self, crew: &Crew) {
        while let Some(job) = crew.take() {
            crew.finish(self.list(&job));
        }
    }

    /// Lists one folder.
    fn list(&self, job: &Job) -> Result<(usize, Listing, Vec<Job>), ContextError> {
        let mut listing = Listing::default();
        let mut folders = Vec::new();
        let failed = |errno| ContextError::read(&job.path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match resolve::open(self.root_fd(), &job.path, flags) {
            Ok(folder) => folder,
            // Gone meanwhile: then it holds nothing. Closed to us, but excluded: nobody asked.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok((job.slot, listing, folders)),
            Err(Errno::ACCESS) if job.excluded => return Ok((job.slot, listing, folders)),
            Err(errno) => return Err(failed(errno)),
        };
        listing.xattrs = crate::digest::xattrs(&folder).map_err(failed)?;
        let names = Names::of(&folder).map_err(failed)?;
        listing.entries.reserve_exact(names.sorted.len());
        for (name, kind) in names.iter() {
            let path = below(&job.path, name);
            let (excluded, state) = match self.ignore.is_empty() {
                true => (false, MatchState::default()),
                false => self
                    .ignore
                    .matches_below(&job.state, path.as_os_str().as_bytes()),
            };
            if excluded && !self.may_show(kind, &path) {
                continue;
            }
            let Some(stat) =
                stat(&folder, name).map_err(|errno| ContextError::read(&path, errno))?
            else {
                continue;
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let link = match kind {
                FileType::Symlink => match resolve::read_link(&folder, name) {
                    Ok(target) => Some(target),
                    Err(Errno::NOENT | Errno::INVAL) => continue,
                    Err(errno) => return Err(ContextError::read(&path, errno)),
                },
                _ => None,
            };
            if excluded && kind != FileType::Directory {
                continue;
            }
            let Some(entry) = Entry::new(path, &stat, link) else {
                listing.skipped.push(Skipped {
                    path: below(&job.path, name),
                });
                continue;
            };
            let below = (kind == FileType::Directory).then_some(folders.len());
            if below.is_some() {
                let path = entry.path.clone();
                folders.push(Job {
                    slot: 0,
                    path,
                    excluded,
                    state,
                });
            }
            listing.entries.push(Listed {
                entry,
                excluded,
                below,
            });
        }
        Ok((job.slot, listing, folders))
    }

    /// Tells whether an excluded entry must be looked at nevertheless.
    fn may_show(&self, kind: FileType, path: &Path) -> bool {
        resolve::is_directory(kind) != Some(false)
            && self.ignore.may_reinclude_below(path.as_os_str().as_bytes())
    }
}

fn stat(folder: &OwnedFd, name: &[u8]) -> Result<Option<rustix::fs::Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names in a folder, in order: names are small, and what is found of each is not to be moved.
struct Names {
    bytes: Vec<u8>,
    /// Where each name is in the bytes, and what it is, where the folder tells.
    sorted: Vec<(Range<usize>, FileType)>,
}

impl Names {
    fn of(folder: &OwnedFd) -> Result<Self, Errno> {
        let mut names = Self {
            bytes: Vec::new(),
            sorted: Vec::new(),
        };
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; LISTING_BYTES];
        let mut listed = RawDir::new(folder, &mut buffer);
        while let Some(found) = listed.next() {
            let found = found?;
            let name = found.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let start = names.bytes.len();
            names.bytes.extend_from_slice(name);
            let place = start..names.bytes.len();
            names.sorted.push((place, found.file_type()));
        }
        let Self { bytes, sorted } = &mut names;
        sorted.sort_unstable_by(|(a, _), (b, _)| bytes[a.clone()].cmp(&bytes[b.clone()]));
        Ok(names)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], FileType)> {
        let sorted = self.sorted.iter();
        sorted.map(|(place, kind)| (&self.bytes[place.clone()], *kind))
    }
}

/// Returns the path of a name in a folder.
fn below(folder: &Path, name: &[u8]) -> PathBuf {
    let folder = folder.as_os_str().as_bytes();
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !folder.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    PathBuf::from(OsString::from_vec(path))
}

/// A folder to be listed.
struct Job {
    slot: usize,
    path: PathBuf,
    excluded: bool,
    state: MatchState,
}

/// A folder's entries, by name.
#[derive(Default)]
struct Listing {
    /// The folder's own attributes: it is open when it is listed.
    xattrs: Xattrs,
    entries: Vec<Listed>,
    skipped: Vec<Skipped>,
}

struct Listed {
    entry: Entry,
    excluded: bool,
    /// The slot of the folder's own listing.
    below: Option<usize>,
}

/// The threads of one walk and what they share.
#[derive(Default)]
struct Crew {
    /// Held for a few instructions a folder only, hence not split up.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Jobs that were added and are not finished.
    open: usize,
    listings: Vec<Listing>,
    listed: usize,
    error: Option<ContextError>,
}

impl Queue {
    fn add(&mut self, job: Job) {
        let slot = self.listings.len();
        self.listings.push(Listing::default());
        self.open += 1;
        self.jobs.push(Job { slot, ..job });
    }
}

impl Crew {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job, waiting for one as long as a folder is still being listed.
    fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.error.is_some() || queue.open == 0 {
                return None;
            }
            if let Some(job) = queue.jobs.pop() {
                return Some(job);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, result: Result<(usize, Listing, Vec<Job>), ContextError>) {
        let mut queue = self.lock();
        match result {
            Ok((slot, mut listing, folders)) => {
                let first = queue.listings.len();
                for listed in &mut listing.entries {
                    listed.below = listed.below.map(|index| first + index);
                }
                for folder in folders {
                    queue.add(folder);
                }
                queue.listed += listing.entries.len();
                queue.listings[slot] = listing;
            }
            Err(error) => queue.error = Some(error),
        }
        queue.open -= 1;
        drop(queue);
        self.changed.notify_all();
    }
}

fn assemble(folder: Entry, mut listings: Vec<Listing>) -> Walk {
    let listed: usize = listings.iter().map(|listing| listing.entries.len()).sum();
    let mut walk = Walk {
        entries: Vec::with_capacity(listed + 1),
        skipped: Vec::new(),
    };
    for listing in &mut listings {
        walk.skipped.append(&mut listing.skipped);
    }
    walk.skipped.sort_unstable();
    walk.entries.push(folder);
    append(&mut listings, 0, &mut walk.entries);
    walk
}

/// Appends a folder's listing to the folder.
fn append(listings: &mut [Listing], slot: usize, entries: &mut Vec<Entry>) {
    if let Some(folder) = entries.last_mut() {
        folder.xattrs = std::mem::take(&mut listings[slot].xattrs);
    }
    for listed in std::mem::take(&mut listings[slot].entries) {
        entries.push(listed.entry);
        let Some(below) = listed.below else { continue };
        let len = entries.len();
        append(listings, below, entries);
        if listed.excluded && entries.len() == len {
            entries.pop();
        }
    }
}

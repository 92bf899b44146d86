//! The folder that a context is.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::ContextError;
use crate::resolve;
use crate::{Entry, MatchState, Patterns};

/// More threads than this wait for each other in the kernel.
const THREADS_MAX: usize = 8;

/// A folder on this machine, seen through ignore rules.
///
/// The folder is opened once and stays the context even if its path is renamed.
#[derive(Debug)]
pub struct Context {
    pub(crate) root: OwnedFd,
    path: PathBuf,
    pub(crate) ignore: Patterns,
    pub(crate) threads: usize,
}

impl Context {
    /// Opens a folder as a context. Links in the given path are followed.
    pub fn open(path: &Path, ignore: Patterns) -> Result<Self, ContextError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            ContextError::Open {
                path: path.to_owned(),
                source: errno.into(),
            }
        })?;
        Ok(Self {
            root,
            path: path.to_owned(),
            ignore,
            threads: std::thread::available_parallelism()
                .map_or(2, |n| n.get().clamp(2, THREADS_MAX)),
        })
    }

    /// Returns the same folder, walked and hashed by so many threads; by default as many as there
    /// are processors, up to eight.
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            ..self
        }
    }

    /// Returns the folder's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the ignore rules.
    pub fn ignore(&self) -> &Patterns {
        &self.ignore
    }

    /// Returns the same folder seen through other rules.
    pub fn with_ignore(self, ignore: Patterns) -> Self {
        Self { ignore, ..self }
    }

    /// Returns the entry at a clean relative path, following no link; `None` when there is none or
    /// the ignore rules exclude it.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>, ContextError> {
        let Some(entry) = self.lookup_unfiltered(path)? else {
            return Ok(None);
        };
        let visible = !self.excludes(path) || (entry.is_directory() && self.shows_below(path)?);
        Ok(visible.then_some(entry))
    }

    /// Reads a whole file, links in its path resolved inside the context, ignore rules not asked:
    /// this is how a Dockerfile and the ignore file themselves are read. `None` when there is none.
    pub fn read_unfiltered(&self, path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
        let view = resolve::View::unfiltered(self);
        let Some(resolved) = resolve::follow(&view, path)? else {
            return Ok(None);
        };
        let file = match resolve::open(self.root_fd(), &resolved, OFlags::RDONLY) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(ContextError::read(path, errno)),
        };
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)
            .map_err(|source| ContextError::read(path, source))?;
        Ok(Some(bytes))
    }

    pub(crate) fn root_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.root)
    }

    pub(crate) fn lookup_unfiltered(&self, path: &Path) -> Result<Option<Entry>, ContextError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name();
        let missing = |errno: Errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Ok(None),
            errno => Err(ContextError::read(path, errno)),
        };
        let folder = match resolve::open(self.root_fd(), parent, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(folder) => folder,
            Err(errno) => return missing(errno),
        };
        let (name, flags) = match name {
            Some(name) => (name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW),
            None => (&b""[..], AtFlags::EMPTY_PATH),
        };
        let stat = match rustix::fs::statat(&folder, name, flags) {
            Ok(stat) => stat,
            Err(errno) => return missing(errno),
        };
        let link = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Some(
                resolve::read_link(&folder, name)
                    .map_err(|errno| ContextError::read(path, errno))?,
            ),
            _ => None,
        };
        Ok(Entry::new(path.to_owned(), &stat, link))
    }

    /// Returns what the ignore rules found for a folder on the way down to it.
    pub(crate) fn state_of(&self, path: &Path) -> (bool, MatchState) {
        let bytes = path.as_os_str().as_bytes();
        let mut found = (false, MatchState::default());
        if bytes.is_empty() || self.ignore.is_empty() {
            return found;
        }
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            found = self.ignore.matches_below(&found.1, &bytes[..at]);
        }
        self.ignore.matches_below(&found.1, bytes)
    }

    /// Tells whether the ignore rules exclude a path as a walk would.
    pub(crate) fn excludes(&self, path: &Path) -> bool {
        self.state_of(path).0
    }

    /// Tells whether an excluded folder is there all the same, because it holds something that is
    /// not excluded.
    pub(crate) fn shows_below(&self, folder: &Path) -> Result<bool, ContextError> {
        if !self
            .ignore
            .may_reinclude_below(folder.as_os_str().as_bytes())
        {
            return Ok(false);
        }
        Ok(!self.walk(folder)?.entries.is_empty())
    }
}

//! Every operation of the store that changes files, one function each.
//!
//! Each announces itself to [`crate::fault`] before it is done, so that tests can end the process
//! or fail the operation between any two of them.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps, renameat_with};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::fault;
use crate::lock;

/// The end of the names of temporary files: whoever writes one holds its lock.
pub(crate) const TEMP_SUFFIX: &str = ".new";

/// Makes a directory and those above it, durably.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // The parent of a name alone is the working directory, written as nothing.
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir());
    if let Some(parent) = parent {
        create_dir_all(parent)?;
    }
    fault::point("create directory", path)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_parent(path)
}

/// Makes a directory and those above it. Their names are not durable.
pub(crate) fn create_dir_all_soon(path: &Path) -> io::Result<()> {
    fault::point("create directory", path)?;
    fs::create_dir_all(path)
}

/// Makes a directory in one that is there, if it is not there itself. Its name is not durable.
pub(crate) fn create_dir_within(path: &Path) -> io::Result<()> {
    match create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes one new directory. It is not durable.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    fault::point("create directory", path)?;
    fs::create_dir(path)
}

/// Opens a file for reading and writing, made if it is not there.
pub(crate) fn open_or_create(path: &Path) -> io::Result<fs::File> {
    fault::point("open", path)?;
    fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Opens a file for appending, made if it is not there.
pub(crate) fn append(path: &Path) -> io::Result<fs::File> {
    fault::point("open", path)?;
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Makes a file of no name that matters, locked for as long as it is open.
pub(crate) fn temp_file(folder: &Path) -> io::Result<NamedTempFile> {
    locked_file(folder, TEMP_SUFFIX)
}

/// Makes a file whose name ends in `suffix`, locked for as long as it is open.
pub(crate) fn locked_file(folder: &Path, suffix: &str) -> io::Result<NamedTempFile> {
    loop {
        fault::point("create", folder)?;
        let temp = tempfile::Builder::new()
            .prefix("")
            .suffix(suffix)
            .tempfile_in(folder)?;
        // A cleaner may have come between: then the file has no name any more.
        if lock::take_new(temp.as_file())? {
            return Ok(temp);
        }
    }
}

/// Gives a temporary file its final name. Its bytes must be durable; the name is, afterwards.
pub(crate) fn persist(temp: NamedTempFile, path: &Path) -> io::Result<()> {
    name(temp, path)?;
    sync_parent(path)
}

/// Gives a temporary file its final name. Nothing is made durable.
pub(crate) fn name(temp: NamedTempFile, path: &Path) -> io::Result<()> {
    fault::point("rename", path)?;
    temp.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes bytes.
pub(crate) fn write_all(file: &mut impl Write, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fault::point("write", path)?;
    if fault::tears() {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        fault::point("write the rest", path)?;
        return file.write_all(rest);
    }
    file.write_all(bytes)
}

/// Cuts a file.
pub(crate) fn set_len(file: &fs::File, bytes: u64) -> io::Result<()> {
    fault::point("cut", file.path())?;
    file.set_len(bytes)
}

/// Sets the times of a file to now.
pub(crate) fn touch(file: &fs::File) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_data(file: &std::fs::File, path: &Path) -> io::Result<()> {
    fault::point("sync", path)?;
    file.sync_data()
}

/// Makes everything on the file system of a directory durable.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    fault::point("sync file system", path)?;
    let directory = fs::File::open(path)?;
    Ok(rustix::fs::syncfs(&directory)?)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    fault::point("sync directory", path)?;
    fs::File::open(path)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Renames a file or directory.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::point("rename", to)?;
    fs::rename(from, to)
}

/// Renames a directory to a name that must be free; says whether it was.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    fault::point("rename", to)?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a file; says whether it was there.
pub(crate) fn remove_file(path: &Path) -> io::Result<bool> {
    fault::point("remove", path)?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what this process may not: trees of files that belong to ids which its user does not have.
#[derive(Clone)]
pub struct Remover {
    remove: RemoveTree,
    vacate: fn(&Path),
}

type RemoveTree = std::sync::Arc<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

impl Remover {
    /// Wraps what removes a directory and all in it; one that is not there is no error.
    pub fn new(remove: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            remove: std::sync::Arc::new(remove),
            vacate: |_| {},
        }
    }

    /// Returns one that removes nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| Err(io::ErrorKind::PermissionDenied.into()))
    }

    /// Returns the same, with a function that is called before the folder of a dead process is
    /// removed, to end what may still run in it.
    #[must_use]
    pub fn vacating(self, vacate: fn(&Path)) -> Self {
        Self { vacate, ..self }
    }

    pub(crate) fn vacate(&self, path: &Path) {
        (self.vacate)(path);
    }
}

impl std::fmt::Debug for Remover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remover")
    }
}

/// Removes a file, or a directory and all in it; what is not there is what is wanted.
pub(crate) fn remove_any(path: &Path, remover: Option<&Remover>) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_owned_tree(path, remover),
        Ok(_) => remove_file(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// How often a directory is removed into which something is put meanwhile: what a killed build had begun is put in order
/// by a process that outlives it for a moment.
const REMOVALS_MAX: usize = 16;

/// Removes a directory and all in it, whatever the modes of the directories in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    fault::point("remove tree", path)?;
    let mut removals = 0;
    loop {
        removals += 1;
        return match fs::remove_dir_all(path) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty && removals < REMOVALS_MAX =>
            {
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_directories(path)?;
                fs::remove_dir_all(path)
            }
            removed => removed,
        };
    }
}

/// As [`remove_tree`], but that `remover` is asked to remove what this process may not.
pub(crate) fn remove_owned_tree(path: &Path, remover: Option<&Remover>) -> io::Result<()> {
    match (remove_tree(path), remover) {
        (Err(error), Some(remover)) if error.kind() == io::ErrorKind::PermissionDenied => {
            (remover.remove)(path)
        }
        (result, _) => result,
    }
}

fn open_directories(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

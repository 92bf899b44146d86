//! Files that are either whole or not there.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use fs_err as fs;
use stagewright_digest::ContentDigest;

/// The bytes of a checksum at the start of a checked file.
const CHECKSUM_BYTES: usize = 32;

/// Publishes a file: written beside its final place, made durable, renamed.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut temp = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(directory)?;
    temp.write_all(bytes)?;
    temp.as_file().sync_data()?;
    temp.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Publishes a file with a checksum in front.
pub(crate) fn publish_checked(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let checksum = ContentDigest::of(bytes);
    publish(path, &[checksum.as_bytes().as_slice(), bytes].concat())
}

/// Reads what [`publish_checked`] wrote. Nothing if it is not there or damaged: what such files
/// hold can always be made again.
pub(crate) fn read_checked(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(mut bytes) = read(path)? else {
        return Ok(None);
    };
    if bytes.len() < CHECKSUM_BYTES {
        return Ok(None);
    }
    let content = bytes.split_off(CHECKSUM_BYTES);
    if ContentDigest::of(&content).as_bytes().as_slice() != bytes {
        tracing::warn!(path = %path.display(), "a file of the store is damaged and is not used");
        return Ok(None);
    }
    Ok(Some(content))
}

/// Reads a file if it is there.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(bytes))
}

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Removes a directory and all in it, whatever the modes of the directories in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) => Err(error),
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

//! Contexts that come as a tar archive, such as on standard input.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tar::{Archive, EntryType};

use crate::ContextError;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// Compressions that are recognised, so that the message can name them.
const UNSUPPORTED: [(&[u8], &str); 3] = [
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
];

/// Unpacks a tar archive, plain or compressed with gzip, into an empty folder, which then can be
/// opened as a context.
///
/// Modes, times and extended attributes are kept, owners are not: a build makes everything that
/// comes from a context root's. An entry that leads out of the folder, by its name or through a
/// link, is an error, and so is a device.
pub fn unpack_tar(reader: impl Read, into: &Path) -> Result<(), ContextError> {
    let mut reader = BufReader::new(reader);
    let failed = |source| failed(Path::new("its start"), source);
    let start = reader.fill_buf().map_err(failed)?;
    if let Some((_, name)) = UNSUPPORTED
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
    {
        let text = format!("{name} compression is not supported here yet; use gzip or none");
        return Err(failed(io::Error::new(io::ErrorKind::Unsupported, text)));
    }
    if start.starts_with(GZIP) {
        unpack(MultiGzDecoder::new(reader), into)
    } else {
        unpack(reader, into)
    }
}

fn unpack(reader: impl Read, into: &Path) -> Result<(), ContextError> {
    let mut archive = Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    let mut last = PathBuf::from("its start");
    let mut folders: Vec<(PathBuf, u64)> = Vec::new();
    for entry in archive.entries().map_err(|source| failed(&last, source))? {
        let mut entry = entry.map_err(|source| failed(&last, source))?;
        last = entry
            .path()
            .map_err(|source| failed(&last, source))?
            .into_owned();
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => continue,
            EntryType::Regular
            | EntryType::Continuous
            | EntryType::GNUSparse
            | EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link => {}
            kind => {
                let text = format!("an entry of type {kind:?} can't be part of a build context");
                return Err(failed(
                    &last,
                    io::Error::new(io::ErrorKind::Unsupported, text),
                ));
            }
        }
        let inside = entry
            .unpack_in(into)
            .map_err(|source| failed(&last, source))?;
        if !inside {
            return Err(ContextError::ArchiveEscape { entry: last });
        }
        if entry.header().entry_type() == EntryType::Directory {
            let mtime = entry
                .header()
                .mtime()
                .map_err(|source| failed(&last, source))?;
            folders.push((last.clone(), mtime));
        }
    }
    // A folder's time changes with each of its entries, so it is set at the end.
    for (folder, mtime) in folders.into_iter().rev() {
        set_mtime(
            &into.join(folder.strip_prefix("/").unwrap_or(&folder)),
            mtime,
        )
        .map_err(|source| failed(&folder, source))?;
    }
    Ok(())
}

fn set_mtime(path: &Path, seconds: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn failed(entry: &Path, source: io::Error) -> ContextError {
    ContextError::Archive {
        entry: entry.to_owned(),
        source,
    }
}

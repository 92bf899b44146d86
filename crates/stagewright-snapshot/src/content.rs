//! Where the bytes of a file that is to be made come from.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;
use stagewright_digest::ContentDigest;
use stagewright_layer::{Entry, EntryKind, EntryPath, FileData, Metadata};

use crate::file::{FileReader, InTar, LayerFiles, PackedFile};

/// Where the bytes of a new file come from. Nothing is read before the layer is made.
#[derive(Clone)]
pub struct Content(Source);

#[derive(Clone)]
enum Source {
    Bytes(Arc<[u8]>),
    File(PathBuf),
    Layer {
        files: Arc<LayerFiles>,
        record: usize,
    },
    Archive {
        file: Arc<File>,
        data: FileData,
        bytes: u64,
    },
    Draft {
        file: Arc<File>,
        data: FileData,
        bytes: u64,
        content: ContentDigest,
    },
}

impl Content {
    /// Bytes that are in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(Source::Bytes(bytes.into()))
    }

    /// A regular file of the host. Its last component must not be a symbolic link.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    pub(crate) fn layer(files: Arc<LayerFiles>, record: usize) -> Self {
        Self(Source::Layer { files, record })
    }

    pub(crate) fn archive(file: Arc<File>, data: FileData, bytes: u64) -> Self {
        Self(Source::Archive { file, data, bytes })
    }

    /// A file in the tar of a layer that is being made, which has a name.
    pub(crate) fn draft(
        file: Arc<File>,
        data: FileData,
        bytes: u64,
        content: ContentDigest,
    ) -> Self {
        Self(Source::Draft {
            file,
            data,
            bytes,
            content,
        })
    }

    /// Returns the name of the bytes, where reading them to their end finds out if they are others.
    pub(crate) fn checked_name(&self) -> Option<ContentDigest> {
        match &self.0 {
            Source::Layer { files, record } => match files.index().records()[*record].entry.kind {
                EntryKind::File { content, .. } => Some(content),
                _ => None,
            },
            Source::Draft { content, .. } => Some(*content),
            Source::Bytes(_) | Source::File(_) | Source::Archive { .. } => None,
        }
    }

    /// Returns how long it is, where that is known without opening it.
    pub(crate) fn known_bytes(&self) -> Option<u64> {
        match &self.0 {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::File(_) => None,
            Source::Layer { files, record } => match files.index().records()[*record].entry.kind {
                EntryKind::File { bytes, .. } => Some(bytes),
                _ => None,
            },
            Source::Archive { bytes, .. } | Source::Draft { bytes, .. } => Some(*bytes),
        }
    }

    /// Returns whether reading it to its end finds out if it is not what it was when it was named.
    pub fn is_checked(&self) -> bool {
        self.checked_name().is_some()
    }

    /// Returns where it is in the tar of a layer, if it is in one piece there and not longer than `bytes_max`.
    pub(crate) fn in_tar(&self, bytes_max: u64) -> io::Result<Option<InTar<'_>>> {
        match &self.0 {
            Source::Layer { files, record } => files.in_tar(*record, bytes_max),
            Source::Bytes(_) | Source::File(_) | Source::Archive { .. } | Source::Draft { .. } => {
                Ok(None)
            }
        }
    }

    /// Opens it, and says how long it is.
    pub fn open(&self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        match &self.0 {
            Source::Bytes(bytes) => {
                let reader = io::Cursor::new(Arc::clone(bytes));
                Ok((bytes.len() as u64, Box::new(reader)))
            }
            Source::File(path) => {
                let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
                let mut options = fs_err::OpenOptions::new();
                let file = options
                    .read(true)
                    .custom_flags(i32::try_from(flags).map_err(io::Error::other)?)
                    .open(path)?;
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    let message = format!("{} is not a regular file", path.display());
                    return Err(io::Error::other(message));
                }
                Ok((metadata.len(), Box::new(file)))
            }
            Source::Layer { files, record } => {
                let EntryKind::File { bytes, .. } = files.index().records()[*record].entry.kind
                else {
                    return Err(io::Error::other("it is not a file"));
                };
                Ok((bytes, Box::new(files.open(*record)?)))
            }
            Source::Archive { file, data, bytes } => Ok((
                *bytes,
                Box::new(PackedFile::new(Arc::clone(file), data, *bytes)),
            )),
            Source::Draft {
                file,
                data,
                bytes,
                content,
            } => {
                let packed = PackedFile::new(Arc::clone(file), data, *bytes);
                Ok((
                    *bytes,
                    Box::new(FileReader::packed(packed, *bytes, *content)),
                ))
            }
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Source::File(path) => path.fmt(f),
            Source::Layer { .. } => f.write_str("a file of a layer"),
            Source::Archive { .. } => f.write_str("a file of an archive"),
            Source::Draft { .. } => f.write_str("a file of a layer that is being made"),
        }
    }
}

/// An entry of a layer that is to be made.
#[derive(Debug, Clone)]
pub enum NewEntry {
    /// A file.
    File {
        /// Where it is to be.
        path: EntryPath,
        /// Its attributes.
        metadata: Metadata,
        /// Its bytes.
        content: Content,
    },
    /// Anything else. A hard link's target must be an earlier path.
    Other(Entry),
}

impl NewEntry {
    /// Returns where it is to be.
    pub fn path(&self) -> &EntryPath {
        match self {
            Self::File { path, .. } => path,
            Self::Other(entry) => &entry.path,
        }
    }

    /// Returns its attributes.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::File { metadata, .. } => metadata,
            Self::Other(entry) => &entry.metadata,
        }
    }
}

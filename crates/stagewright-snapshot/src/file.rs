//! Reading files out of a layer, whichever form it has.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err::File;
use rustix::fs::{Mode, OFlags};
use stagewright_digest::{ContentDigest, ContentHasher};
use stagewright_layer::{EntryKind, EntryPath, Extent, FileData, LayerIndex, Record};
use stagewright_store::LayerPart;

use crate::damage::Keeper;
use crate::sys;
use crate::tree::TreeLayer;

/// A layer with its forms, each opened when first needed.
#[derive(Debug)]
pub(crate) struct LayerFiles {
    layer: TreeLayer,
    /// Guards the slots only; what is opened is shared.
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    packed: Option<Arc<File>>,
    unpacked: Option<Arc<OwnedFd>>,
}

impl Opened {
    fn packed(&mut self, path: &Path) -> io::Result<Arc<File>> {
        Ok(match &self.packed {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.packed.insert(Arc::new(File::open(path)?))),
        })
    }
}

/// Where a file is in the packed form of its layer, in one piece.
#[derive(Debug)]
pub(crate) struct InTar<'a> {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The name of its bytes.
    pub(crate) content: ContentDigest,
    keeper: Option<&'a Keeper>,
}

impl InTar<'_> {
    /// Checks what was read.
    pub(crate) fn check(&self, read: &[u8]) -> io::Result<()> {
        if ContentDigest::of(read) == self.content && read.len() as u64 == self.bytes {
            return Ok(());
        }
        Err(damaged(LayerPart::Packed, self.keeper))
    }
}

impl LayerFiles {
    pub(crate) fn new(layer: TreeLayer) -> Self {
        Self {
            layer,
            opened: Mutex::default(),
        }
    }

    pub(crate) fn index(&self) -> &LayerIndex {
        &self.layer.index
    }

    /// Opens the file of a record that is not a hard link.
    pub(crate) fn open(&self, record: usize) -> io::Result<FileReader> {
        let record = &self.layer.index.records()[record];
        let EntryKind::File { bytes, content } = record.entry.kind else {
            return Err(io::Error::other("it is not a file"));
        };
        let source = self.source(record, bytes)?;
        Ok(FileReader::new(
            source,
            bytes,
            content,
            self.layer.keeper.clone(),
        ))
    }

    /// Returns where a file is in the packed form, if it is in one piece there and not longer than `bytes_max`.
    pub(crate) fn in_tar(&self, record: usize, bytes_max: u64) -> io::Result<Option<InTar<'_>>> {
        let record = &self.layer.index.records()[record];
        let EntryKind::File { bytes, content } = record.entry.kind else {
            return Ok(None);
        };
        let (Some(packed), Some(FileData::Whole { offset })) = (&self.layer.packed, &record.data)
        else {
            return Ok(None);
        };
        if bytes > bytes_max {
            return Ok(None);
        }
        Ok(Some(InTar {
            file: self.opened().packed(packed)?,
            offset: *offset,
            bytes,
            content,
            keeper: self.layer.keeper.as_ref(),
        }))
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, record: &Record, bytes: u64) -> io::Result<Source> {
        let mut opened = self.opened();
        if let (Some(packed), Some(data)) = (&self.layer.packed, &record.data) {
            let file = opened.packed(packed)?;
            return Ok(Source::Packed(PackedFile::new(file, data, bytes)));
        }
        let Some(unpacked) = &self.layer.unpacked else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "its layer is neither packed nor unpacked in the store",
            ));
        };
        let root = match &opened.unpacked {
            Some(root) => Arc::clone(root),
            None => Arc::clone(
                opened
                    .unpacked
                    .insert(Arc::new(sys::open_directory(unpacked)?)),
            ),
        };
        drop(opened);
        let path = &record.entry.path;
        match (open_below(&root, path, unpacked), &self.layer.namespace) {
            // It belongs to another id of the namespace, or is in a directory that does.
            (Err(error), Some(namespace)) if error.kind() == io::ErrorKind::PermissionDenied => {
                let file = namespace.open_file(unpacked, path.as_path())?;
                let file = File::from_parts(file.into(), path.below(unpacked));
                Ok(Source::Unpacked(file))
            }
            (opened, _) => opened.map(Source::Unpacked),
        }
    }
}

/// Opens a file of an unpacked layer. No symbolic link is followed: what a layer holds never leads
/// out of it.
pub(crate) fn open_below(root: &OwnedFd, path: &EntryPath, shown: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let descriptor = sys::open_below(root, path, flags, Mode::empty())?;
    Ok(File::from_parts(descriptor.into(), path.below(shown)))
}

/// A file in the packed form of its layer.
#[derive(Debug)]
pub(crate) struct PackedFile {
    file: Arc<File>,
    extents: Vec<Extent>,
    next: usize,
    bytes: u64,
    position: u64,
}

impl PackedFile {
    pub(crate) fn new(file: Arc<File>, data: &FileData, bytes: u64) -> Self {
        let extents = match data {
            FileData::Whole { offset } => {
                vec![Extent {
                    file_offset: 0,
                    tar_offset: *offset,
                    bytes,
                }]
            }
            FileData::Sparse { extents } => extents.clone(),
        };
        Self {
            file,
            extents,
            next: 0,
            bytes,
            position: 0,
        }
    }
}

impl Read for PackedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let extent = loop {
            match self.extents.get(self.next) {
                Some(extent) if extent.file_offset + extent.bytes <= self.position => {
                    self.next += 1
                }
                extent => break extent.copied(),
            }
        };
        let hole_end = extent.map_or(self.bytes, |extent| extent.file_offset);
        let count = if self.position < hole_end {
            let count = clamp(buffer.len(), hole_end - self.position);
            buffer[..count].fill(0);
            count
        } else if let Some(extent) = extent {
            let done = self.position - extent.file_offset;
            let count = clamp(buffer.len(), extent.bytes - done);
            self.file
                .file()
                .read_at(&mut buffer[..count], extent.tar_offset + done)?
        } else {
            0
        };
        self.position += count as u64;
        Ok(count)
    }
}

fn clamp(length: usize, bytes: u64) -> usize {
    usize::try_from(bytes).map_or(length, |bytes| bytes.min(length))
}

#[derive(Debug)]
enum Source {
    Packed(PackedFile),
    Unpacked(File),
}

/// Reads one file of a layer, and checks it against its name: reading its end fails when the bytes
/// were others than when the layer was made.
#[derive(Debug)]
pub struct FileReader {
    source: Source,
    /// Absent while nothing was read: what is read at once needs none.
    hasher: Option<Box<ContentHasher>>,
    expected: ContentDigest,
    rest: u64,
    checked: bool,
    keeper: Option<Keeper>,
}

impl FileReader {
    fn new(source: Source, bytes: u64, expected: ContentDigest, keeper: Option<Keeper>) -> Self {
        Self {
            source,
            hasher: None,
            expected,
            rest: bytes,
            checked: false,
            keeper,
        }
    }

    /// Reads a file out of a tar that is in no store yet.
    pub(crate) fn packed(file: PackedFile, bytes: u64, expected: ContentDigest) -> Self {
        Self::new(Source::Packed(file), bytes, expected, None)
    }

    fn damaged(&self) -> io::Error {
        let part = match self.source {
            Source::Packed(_) => LayerPart::Packed,
            Source::Unpacked(_) => LayerPart::Unpacked,
        };
        damaged(part, self.keeper.as_ref())
    }
}

/// Tells the keeper of a layer that a file in it is damaged.
fn damaged(part: LayerPart, keeper: Option<&Keeper>) -> io::Error {
    if let Some(keeper) = keeper {
        keeper.set_aside(
            part,
            "the bytes of a file in it are not those that were stored",
        );
    }
    io::Error::new(
        io::ErrorKind::InvalidData,
        "its bytes in the store were damaged and are set aside: build again",
    )
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let limit = clamp(buffer.len(), self.rest.max(1));
        let count = match &mut self.source {
            Source::Packed(file) => file.read(&mut buffer[..limit])?,
            Source::Unpacked(file) => file.read(&mut buffer[..limit])?,
        };
        if count as u64 > self.rest || count == 0 && self.rest > 0 {
            return Err(self.damaged());
        }
        self.rest -= count as u64;
        let read = &buffer[..count];
        if self.rest > 0 {
            self.hasher.get_or_insert_default().update(read);
            return Ok(count);
        }
        // The check comes with the last bytes, for callers who know how many to expect.
        if !self.checked {
            let content = match &mut self.hasher {
                None => ContentDigest::of(read),
                Some(hasher) => {
                    hasher.update(read);
                    hasher.finish()
                }
            };
            if content != self.expected {
                return Err(self.damaged());
            }
            self.checked = true;
        }
        Ok(count)
    }
}

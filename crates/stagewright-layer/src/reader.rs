//! Reading the tar of any builder.

use std::collections::BTreeMap;
use std::io::{self, Read};

use stagewright_digest::{ContentDigest, ContentHasher, DiffId, Digest, DigestWriter};
use tar::Header;
use thiserror::Error;

use crate::entry::{Entry, EntryKind, Metadata, xattr_belongs};
use crate::header::Fields;
use crate::index::{Extent, FileData};
use crate::path::{EntryPath, InvalidPath};
use crate::pax::PaxRecords;
use crate::sparse::{self, ContentMap, PaxSparse, Piece, SparseMap};
use crate::whiteout::{self, Meaning};

/// Tars consist of blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// The longest extended header or long name that is read, as in Docker's tar library.
const EXTENDED_BYTES_MAX: u64 = 1 << 20;

/// A layer's tar can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("can't read the layer")]
    Read(#[from] io::Error),
    /// The tar ends in the middle.
    #[error("the layer's tar ends too early, at byte {offset}")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// A header is not one.
    #[error("the layer's tar has a malformed header at byte {offset}")]
    Header {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// An extended header is malformed or too long.
    #[error("the layer's tar has a malformed extended header before byte {offset}")]
    Extended {
        /// Where the header that it extends begins.
        offset: u64,
    },
    /// A path can't be used.
    #[error("the layer's tar has an entry at byte {offset} that would lie outside of the image")]
    Path {
        /// Where its header begins.
        offset: u64,
        /// The path.
        #[source]
        source: InvalidPath,
    },
    /// An owner is not one that Linux knows.
    #[error("the layer's tar gives {path} an owner above 4294967295")]
    Owner {
        /// The entry.
        path: EntryPath,
    },
    /// The map of a sparse file is malformed, or the file is too large.
    #[error("the layer's tar has a sparse file with a malformed or too large map: {path}")]
    Sparse {
        /// The file.
        path: EntryPath,
    },
    /// An entry of a kind that layers can't have.
    #[error("the layer's tar has an entry of type {:?}, which images can't hold: {path}", char::from(*.kind))]
    Unsupported {
        /// The entry.
        path: EntryPath,
        /// Its type flag.
        kind: u8,
    },
}

/// What a layer's tar says next.
#[derive(Debug)]
pub enum LayerItem<'a, R: Read> {
    /// A file, whose content is to be read.
    File(FileItem<'a, R>),
    /// Anything else, whiteouts included. A hard link's target is as written, with the link's own
    /// attributes.
    Other(Entry),
    /// The directory at this path hides what lower layers hold in it.
    Opaque(EntryPath),
}

/// Reads the entries of a layer's tar in their order, and hashes the whole tar on the way.
///
/// The formats of all tars that image builders are known to write are understood: v7, ustar, PAX,
/// GNU, and the sparse files of the last two. Paths are taken as seen from the root of the image,
/// as Docker does, so that leading slashes and `./` mean nothing; a path with `..` is an error.
/// Global PAX headers are ignored, as Docker does. aufs' own bookkeeping is left out.
#[derive(Debug)]
pub struct LayerReader<R: Read> {
    input: Input<R>,
    /// Content and padding of the current entry that were not read yet.
    pending: u64,
    padding: u64,
    ended: bool,
    /// Whether names mean nothing but themselves.
    plain: bool,
    /// Of the current file; kept here because it is large.
    hasher: ContentHasher,
}

#[derive(Debug)]
struct Input<R> {
    reader: R,
    hash: DigestWriter<io::Sink>,
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        io::Write::write_all(&mut self.hash, &buffer[..count])?;
        Ok(count)
    }
}

/// What extended headers say about the entry that follows them.
#[derive(Debug, Default)]
struct Extended {
    pax: PaxRecords,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> LayerReader<R> {
    /// Reads an uncompressed tar. `reader` should be buffered.
    pub fn new(reader: R) -> Self {
        let hash = DigestWriter::new(io::sink());
        Self {
            input: Input { reader, hash },
            pending: 0,
            padding: 0,
            ended: false,
            plain: false,
            hasher: ContentHasher::new(),
        }
    }

    /// Reads an uncompressed tar that is not a layer: names that would mark deletions in one are
    /// names like others.
    pub fn archive(reader: R) -> Self {
        let mut reader = Self::new(reader);
        reader.plain = true;
        reader
    }

    /// Returns the next item; nothing at the end of the archive. What was not read of the last
    /// file is skipped.
    ///
    /// # Errors
    /// When the tar can't be read, is malformed, or holds what an image can't.
    #[expect(clippy::should_implement_trait, reason = "an item borrows the reader")]
    pub fn next(&mut self) -> Result<Option<LayerItem<'_, R>>, ReadError> {
        loop {
            self.skip_pending()?;
            let mut extended = Extended::default();
            let Some((offset, fields, block)) = self.read_headers(&mut extended)? else {
                return Ok(None);
            };
            let Some(found) = self.interpret(offset, fields, &block, &extended)? else {
                continue;
            };
            return Ok(Some(match found {
                Found::Other(entry) => LayerItem::Other(entry),
                Found::Opaque(path) => LayerItem::Opaque(path),
                Found::File {
                    path,
                    metadata,
                    map,
                } => {
                    let tar_offset = self.offset();
                    LayerItem::File(FileItem::new(self, path, metadata, map, tar_offset))
                }
            }));
        }
    }

    /// Reads to the end of the stream, and returns the reader, the name of the whole tar and its
    /// length.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn finish(mut self) -> Result<(R, DiffId, u64), ReadError> {
        io::copy(&mut self.input, &mut io::sink())?;
        let (_, digest, bytes): (_, Digest, u64) = self.input.hash.finish();
        Ok((
            self.input.reader,
            DiffId::from_bytes(*digest.as_bytes()),
            bytes,
        ))
    }

    fn offset(&self) -> u64 {
        self.input.hash.bytes()
    }

    fn skip_pending(&mut self) -> Result<(), ReadError> {
        let rest = self.pending + self.padding;
        (self.pending, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.input).take(rest), &mut io::sink())?;
        if skipped < rest {
            Err(self.truncated())
        } else {
            Ok(())
        }
    }

    fn truncated(&self) -> ReadError {
        ReadError::Truncated {
            offset: self.offset(),
        }
    }

    /// Reads a block; nothing at the end of the stream.
    fn read_block(&mut self) -> Result<Option<[u8; 512]>, ReadError> {
        let mut block = [0; BLOCK_BYTES as usize];
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block))
    }

    /// Reads the next header with the extended headers before it; nothing at the end of the
    /// archive, which is a block of zeros or the end of the stream.
    fn read_headers(
        &mut self,
        extended: &mut Extended,
    ) -> Result<Option<(u64, Fields, [u8; 512])>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let offset = self.offset();
            let block = match self.read_block()? {
                Some(block) if block.iter().any(|&byte| byte != 0) => block,
                _ => {
                    self.ended = true;
                    return Ok(None);
                }
            };
            let fields =
                Fields::read(&block).map_err(|source| ReadError::Header { offset, source })?;
            let malformed = || ReadError::Extended { offset };
            match fields.kind {
                b'x' | b'X' => {
                    let body = self.read_extended(fields.size, offset)?;
                    extended.pax = PaxRecords::parse(&body).ok_or_else(malformed)?;
                }
                b'L' => extended.long_name = Some(self.read_text(fields.size, offset)?),
                b'K' => extended.long_link = Some(self.read_text(fields.size, offset)?),
                // Global headers and volume labels.
                b'g' | b'V' => {
                    self.begin_content(fields.size);
                    self.skip_pending()?;
                }
                _ => return Ok(Some((offset, fields, block))),
            }
        }
    }

    fn read_extended(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, ReadError> {
        if size > EXTENDED_BYTES_MAX {
            return Err(ReadError::Extended { offset });
        }
        let mut body = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut body)?;
        if (body.len() as u64) < size {
            return Err(self.truncated());
        }
        self.begin_content(size);
        self.pending = 0;
        self.skip_pending()?;
        Ok(body)
    }

    fn read_text(&mut self, size: u64, offset: u64) -> Result<Vec<u8>, ReadError> {
        let mut text = self.read_extended(size, offset)?;
        let end = text
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(text.len());
        text.truncate(end);
        Ok(text)
    }

    fn begin_content(&mut self, size: u64) {
        self.pending = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES;
    }

    /// Says what a header means; nothing when it concerns no image.
    fn interpret(
        &mut self,
        offset: u64,
        mut fields: Fields,
        block: &[u8; 512],
        extended: &Extended,
    ) -> Result<Option<Found>, ReadError> {
        apply(&mut fields, extended).ok_or(ReadError::Extended { offset })?;
        let outside = |source| ReadError::Path { offset, source };
        let path = EntryPath::clean(&fields.name).map_err(outside)?;
        let is_file = matches!(fields.kind, b'0' | b'\0' | b'7' | b'S');
        let is_directory = matches!(fields.kind, b'5' | b'D')
            || is_file && (fields.name.ends_with(b"/") || path.is_root());
        if is_file || fields.kind == b'D' {
            self.begin_content(fields.size);
        }
        let meaning = if self.plain {
            Meaning::Entry
        } else {
            whiteout::meaning(&path)
        };
        match meaning {
            Meaning::Entry => {}
            Meaning::Whiteout(gone) => return Ok(Some(Found::Other(Entry::whiteout(gone)))),
            Meaning::Opaque(directory) => return Ok(Some(Found::Opaque(directory))),
            Meaning::Bookkeeping => return Ok(None),
        }
        let metadata = metadata(&path, &fields, &extended.pax)?;
        if is_file && !is_directory {
            let map = self.sparse_map(&path, &fields, block, extended)?;
            return Ok(Some(Found::File {
                path,
                metadata,
                map,
            }));
        }
        let kind = match fields.kind {
            _ if is_directory => EntryKind::Directory { opaque: false },
            b'1' => EntryKind::Hardlink {
                target: EntryPath::clean(&fields.link).map_err(outside)?,
            },
            b'2' => EntryKind::Symlink {
                target: fields.link,
            },
            b'3' => EntryKind::CharDevice {
                major: fields.major,
                minor: fields.minor,
            },
            b'4' => EntryKind::BlockDevice {
                major: fields.major,
                minor: fields.minor,
            },
            b'6' => EntryKind::Fifo,
            kind => return Err(ReadError::Unsupported { path, kind }),
        };
        Ok(Some(Found::Other(Entry {
            path,
            kind,
            metadata,
        })))
    }

    /// Finds where the bytes of a file are.
    fn sparse_map(
        &mut self,
        path: &EntryPath,
        fields: &Fields,
        block: &[u8; 512],
        extended: &Extended,
    ) -> Result<SparseMap, ReadError> {
        let malformed = || ReadError::Sparse { path: path.clone() };
        let (bytes, pieces) = if fields.kind == b'S' {
            self.gnu_pieces(block)?.ok_or_else(malformed)?
        } else {
            match sparse::of_pax(&extended.pax).ok_or_else(malformed)? {
                PaxSparse::No => {
                    let whole = Piece {
                        offset: 0,
                        bytes: fields.size,
                    };
                    let pieces = if fields.size == 0 {
                        vec![]
                    } else {
                        vec![whole]
                    };
                    return Ok(SparseMap {
                        bytes: fields.size,
                        pieces,
                    });
                }
                PaxSparse::Header { bytes, pieces } => (bytes, pieces),
                PaxSparse::Content { bytes } => {
                    (bytes, self.content_pieces()?.ok_or_else(malformed)?)
                }
            }
        };
        SparseMap::new(bytes, pieces, self.pending).ok_or_else(malformed)
    }

    /// Reads the map of an old GNU sparse file, with the blocks that continue it.
    fn gnu_pieces(&mut self, block: &[u8; 512]) -> Result<Option<(u64, Vec<Piece>)>, ReadError> {
        let Some(gnu) = Header::from_byte_slice(block).as_gnu() else {
            return Ok(None);
        };
        let mut pieces = Vec::new();
        let (Ok(bytes), Some(())) = (gnu.real_size(), sparse::add_gnu(&mut pieces, &gnu.sparse))
        else {
            return Ok(None);
        };
        let mut more = gnu.is_extended();
        while more {
            let block = self.read_block()?.ok_or_else(|| self.truncated())?;
            match sparse::add_gnu_block(&mut pieces, &block) {
                Some(extended) => more = extended,
                None => return Ok(None),
            }
        }
        Ok(Some((bytes, pieces)))
    }

    /// Reads the map before the content of a PAX 1.0 sparse file.
    fn content_pieces(&mut self) -> Result<Option<Vec<Piece>>, ReadError> {
        let mut map = ContentMap::default();
        loop {
            if self.pending < BLOCK_BYTES {
                return Ok(None);
            }
            let block = self.read_block()?.ok_or_else(|| self.truncated())?;
            self.pending -= BLOCK_BYTES;
            match map.push(&block) {
                Ok(Some(pieces)) => return Ok(Some(pieces)),
                Ok(None) => {}
                Err(()) => return Ok(None),
            }
        }
    }
}

/// What a header means.
enum Found {
    File {
        path: EntryPath,
        metadata: Metadata,
        map: SparseMap,
    },
    Other(Entry),
    Opaque(EntryPath),
}

/// Applies extended headers; nothing when they are malformed.
fn apply(fields: &mut Fields, extended: &Extended) -> Option<()> {
    let pax = &extended.pax;
    let text = |key| pax.get(key).map(<[u8]>::to_vec);
    let name = text("GNU.sparse.name").or_else(|| text("path"));
    if let Some(name) = name.or_else(|| extended.long_name.clone()) {
        fields.name = name;
    }
    if let Some(link) = text("linkpath").or_else(|| extended.long_link.clone()) {
        fields.link = link;
    }
    fields.size = pax.number("size").ok()?.unwrap_or(fields.size);
    // The length of a file in the stream is also a position in it.
    i64::try_from(fields.size).ok()?;
    fields.uid = pax.number("uid").ok()?.unwrap_or(fields.uid);
    fields.gid = pax.number("gid").ok()?.unwrap_or(fields.gid);
    fields.mtime = pax.time("mtime").ok()?.unwrap_or(fields.mtime);
    Some(())
}

fn metadata(path: &EntryPath, fields: &Fields, pax: &PaxRecords) -> Result<Metadata, ReadError> {
    let owner = |id: u64| u32::try_from(id).map_err(|_| ReadError::Owner { path: path.clone() });
    let mut xattrs = BTreeMap::new();
    xattrs.extend(pax.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(b"SCHILY.xattr.")?;
        (xattr_belongs(name) && !name.is_empty()).then(|| (name.to_vec(), value.to_vec()))
    }));
    Ok(Metadata {
        mode: if fields.kind == b'2' {
            0o777
        } else {
            fields.mode
        },
        uid: owner(fields.uid)?,
        gid: owner(fields.gid)?,
        mtime: fields.mtime,
        xattrs,
    })
}

/// A file of a layer's tar. Reading gives its content, holes included.
#[derive(Debug)]
pub struct FileItem<'a, R: Read> {
    reader: &'a mut LayerReader<R>,
    path: EntryPath,
    metadata: Metadata,
    map: SparseMap,
    tar_offset: u64,
    /// The piece that is being read or comes next.
    piece: usize,
    position: u64,
}

impl<'a, R: Read> FileItem<'a, R> {
    fn new(
        reader: &'a mut LayerReader<R>,
        path: EntryPath,
        metadata: Metadata,
        map: SparseMap,
        tar_offset: u64,
    ) -> Self {
        reader.hasher = ContentHasher::new();
        Self {
            reader,
            path,
            metadata,
            map,
            tar_offset,
            piece: 0,
            position: 0,
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &EntryPath {
        &self.path
    }

    /// Returns its attributes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns its length, holes included.
    pub fn content_bytes(&self) -> u64 {
        self.map.bytes
    }

    /// Returns whether its bytes lie in the tar as they are, with no holes left out.
    pub(crate) fn is_whole(&self) -> bool {
        match self.map.pieces.as_slice() {
            [] => self.map.bytes == 0,
            [piece] => piece.bytes == self.map.bytes,
            _ => false,
        }
    }

    /// Reads what was not read yet, and returns the file with the name of its content, and where
    /// its bytes are in the tar.
    ///
    /// # Errors
    /// When the content can't be read to its end.
    pub fn finish(mut self) -> Result<(Entry, FileData), ReadError> {
        io::copy(&mut self, &mut io::sink())?;
        let content: ContentDigest = self.reader.hasher.finish();
        let kind = EntryKind::File {
            bytes: self.map.bytes,
            content,
        };
        let data = self.data();
        Ok((
            Entry {
                path: self.path,
                kind,
                metadata: self.metadata,
            },
            data,
        ))
    }

    fn data(&self) -> FileData {
        if self.is_whole() {
            return FileData::Whole {
                offset: self.tar_offset,
            };
        }
        let mut tar_offset = self.tar_offset;
        let extents = self.map.pieces.iter().map(|piece| {
            let extent = Extent {
                file_offset: piece.offset,
                tar_offset,
                bytes: piece.bytes,
            };
            tar_offset += piece.bytes;
            extent
        });
        FileData::Sparse {
            extents: extents.collect(),
        }
    }
}

impl<R: Read> Read for FileItem<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.map.pieces.get(self.piece).copied();
        let hole_end = next.map_or(self.map.bytes, |piece| piece.offset);
        let count = if self.position < hole_end {
            let count = clamp(buffer.len(), hole_end - self.position);
            buffer[..count].fill(0);
            count
        } else if let Some(piece) = next {
            let end = piece.offset + piece.bytes;
            let wanted = clamp(buffer.len(), end - self.position);
            let count = self.reader.input.read(&mut buffer[..wanted])?;
            if count == 0 && wanted > 0 {
                let message = format!("the layer's tar ends in the middle of {}", self.path);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            self.reader.pending -= count as u64;
            if self.position + count as u64 == end {
                self.piece += 1;
            }
            count
        } else {
            0
        };
        self.position += count as u64;
        self.reader.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn clamp(length: usize, bytes: u64) -> usize {
    usize::try_from(bytes).map_or(length, |bytes| bytes.min(length))
}

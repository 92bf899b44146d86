//! eStargz: gzip layers of which single files can be read without the rest.
//!
//! Each file's bytes begin a gzip member of their own, a table of contents at the end says where, and
//! a footer says where the table begins. As BuildKit writes it, the tar of the layer is kept as it is
//! and the table comes after its end, so that the layer holds no other files for those who do not know
//! of the table; the landmark file for prefetching is left out for the same reason.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;

use stagewright_digest::{DiffId, Digest, DigestWriter};
use tar::{EntryType, Header};
use thiserror::Error;

use crate::compress::{CompressError, gzip_level};
use crate::estargz_toc::{Chunk, Toc, TocEntry};
use crate::gzip_members::{GzipMembers, MEMBER_BYTES, member};
use crate::path::EntryPath;
use crate::reader::{LayerItem, LayerReader, ReadError};

/// The name of the table of contents in the tar.
const TOC_NAME: &str = "stargz.index.json";
/// The annotation of the layer's descriptor that names its table of contents.
pub const ESTARGZ_TOC_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";
/// The annotation that says how long the layer is when it is uncompressed.
pub const ESTARGZ_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";
/// Tars consist of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// A layer can't be written as eStargz.
#[derive(Debug, Error)]
pub enum EstargzError {
    /// Its tar can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It can't be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// Writing failed.
    #[error("can't write the layer")]
    Write(#[from] io::Error),
    /// A file whose holes the tar leaves out, of which eStargz knows nothing.
    #[error(
        "{path} is a sparse file in the layer's tar, which eStargz has no form for: use gzip or zstd"
    )]
    Sparse {
        /// The file.
        path: EntryPath,
    },
}

/// What was written.
#[derive(Debug)]
pub struct WrittenEstargz<W> {
    /// The writer.
    pub writer: W,
    /// The name of the tar that went in.
    pub tar: DiffId,
    /// The name of what comes out when all is decompressed: the tar and the table of contents. It is
    /// the layer's diffID in this form.
    pub diff_id: DiffId,
    /// How long that is.
    pub bytes: u64,
    /// The name of the table of contents.
    pub toc: Digest,
}

/// Compresses a tar as eStargz. The same tar and level give the same bytes, whatever the number of
/// threads.
///
/// # Errors
/// When the tar can't be read, holds a sparse file, or the output can't be written.
pub fn write_estargz<W: Write>(
    tar: impl Read,
    writer: W,
    level: u32,
    threads: NonZeroUsize,
) -> Result<WrittenEstargz<W>, EstargzError> {
    let level = gzip_level(level)?;
    let members = Rc::new(RefCell::new(Plain {
        members: GzipMembers::new(writer, level, threads)?,
        hash: DigestWriter::new(io::sink()),
    }));
    let mut reader = LayerReader::new(Recorder {
        reader: tar,
        seen: Rc::clone(&members),
    });
    let (mut toc, places) = read_entries(&mut reader, &members)?;
    let (recorder, tar, _) = reader.finish()?;
    drop(recorder);
    let plain = Rc::into_inner(members)
        .ok_or_else(|| io::Error::other("the reader of the tar is still there"))?;
    let Plain {
        mut members,
        mut hash,
    } = plain.into_inner();
    let (starts, toc_offset) = members.drain()?;
    for (entry, number) in places {
        toc.entries[entry].offset = starts[number];
    }
    let json = serde_json::to_vec(&toc).map_err(io::Error::from)?;
    let toc_tar = toc_tar(&json);
    hash.write_all(&toc_tar)?;
    let (_, diff_id, bytes) = hash.finish();
    let mut writer = members.finish()?;
    // The table of contents is one member, whatever its length.
    writer.write_all(&member(&mut libdeflater::Compressor::new(level), &toc_tar)?)?;
    writer.write_all(&footer(toc_offset))?;
    Ok(WrittenEstargz {
        writer,
        tar,
        diff_id: DiffId::from_bytes(*diff_id.as_bytes()),
        bytes,
        toc: Digest::of(&json),
    })
}

/// Takes what is read of the tar.
struct Plain<W> {
    members: GzipMembers<W>,
    hash: DigestWriter<io::Sink>,
}

/// Shows what is read to the compressor. The reader of layers never reads ahead, so that what it
/// has read when it comes to a file are the headers before the file's bytes.
struct Recorder<R, W> {
    reader: R,
    seen: Rc<RefCell<Plain<W>>>,
}

impl<R: Read, W: Write> Read for Recorder<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let mut seen = self.seen.borrow_mut();
        seen.members.write_all(&buffer[..count])?;
        seen.hash.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Entries, and the members in which the bytes of some of them begin.
type Entries = (Toc, Vec<(usize, usize)>);

fn read_entries<R: Read, W: Write>(
    reader: &mut LayerReader<Recorder<R, W>>,
    seen: &RefCell<Plain<W>>,
) -> Result<Entries, EstargzError> {
    let mut toc = Toc::new();
    let mut places = Vec::new();
    let mut piece = vec![0; MEMBER_BYTES];
    while let Some(item) = reader.next()? {
        let mut file = match item {
            LayerItem::File(file) => file,
            LayerItem::Other(entry) => {
                toc.entries.push(TocEntry::other(&entry));
                continue;
            }
            LayerItem::Opaque(directory) => {
                toc.entries.push(TocEntry::opaque(&directory));
                continue;
            }
        };
        // A layer that was eStargz before: its table is of no use any more.
        if file.path().as_bytes() == TOC_NAME.as_bytes() {
            continue;
        }
        if !file.is_whole() {
            let path = file.path().clone();
            return Err(EstargzError::Sparse { path });
        }
        let size = file.content_bytes();
        let first = toc.entries.len();
        toc.entries
            .push(TocEntry::file(file.path(), file.metadata(), size));
        let mut whole = DigestWriter::new(io::sink());
        let mut offset = 0;
        while offset < size {
            let number = seen.borrow_mut().members.cut()?;
            let wanted = piece
                .len()
                .min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            let bytes = &mut piece[..wanted];
            file.read_exact(bytes)?;
            whole.write_all(bytes)?;
            let chunk = Chunk {
                offset,
                bytes: wanted as u64,
                digest: Digest::of(bytes),
            };
            let entry = if offset == 0 {
                toc.entries.pop().unwrap_or_default()
            } else {
                TocEntry::chunk(toc.entries[first].name())
            };
            places.push((toc.entries.len(), number));
            toc.entries.push(entry.with_bytes(chunk, size));
            offset += wanted as u64;
        }
        let (_, digest, _) = whole.finish();
        toc.entries[first].digest = Some(digest);
    }
    Ok((toc, places))
}

/// Returns a tar that holds the table of contents alone.
fn toc_tar(json: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    let name = &mut header.as_old_mut().name;
    name[..TOC_NAME.len()].copy_from_slice(TOC_NAME.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_size(json.len() as u64);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let padding = json.len().next_multiple_of(BLOCK_BYTES) - json.len();
    [
        header.as_bytes(),
        json,
        &vec![0; padding],
        &[0; 2 * BLOCK_BYTES],
    ]
    .concat()
}

/// Returns the footer: an empty gzip member that says where the table of contents begins (eStargz
/// specification, "Footer"; RFC 1952, section 2.3.1.1).
fn footer(toc_offset: u64) -> Vec<u8> {
    let subfield = format!("{toc_offset:016x}STARGZ");
    [
        // Magic, deflate, with an extra field, no time, no flags, an unknown system.
        &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff][..],
        &26u16.to_le_bytes(),
        b"SG",
        &22u16.to_le_bytes(),
        subfield.as_bytes(),
        // A last, stored, empty block; the checksum and the length of nothing.
        &[1, 0, 0, 0xff, 0xff],
        &[0; 8],
    ]
    .concat()
}

//! Writing the tar of a layer out of files.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use stagewright_digest::ContentDigest;
use stagewright_layer::{EntryPath, LayerWriter, Metadata, UnnamedLayer, WriteError};

use crate::content::{Content, NewEntry};
use crate::error::SnapshotError;
use crate::window::Window;

/// Files up to this size are read ahead, while those before them are hashed and written.
const AHEAD_BYTES_MAX: u64 = 256 * 1024;
/// Files are handed over so many bytes of them at a time, or all of a chunk: small ones one by one would cost more to hand
/// over than to read.
const BATCH_BYTES: usize = 1 << 20;
/// So many batches of each thread are read ahead at most.
const AHEAD_BATCHES_MAX: usize = 2;
/// A thread reads so many entries, then the next so many are read by the next thread.
const CHUNK_ENTRIES: usize = 512;
/// More threads than this read no faster: the tar is written by one.
const READERS_MAX: usize = 4;

/// What a file holds, to be written to the tar.
struct Opened {
    bytes: u64,
    body: Body,
}

enum Body {
    /// What was read ahead, and its name.
    Read(Vec<u8>, ContentDigest),
    /// What was read ahead together with its neighbours, where it is among them, and its name.
    Shared(Arc<Vec<u8>>, Range<usize>, ContentDigest),
    /// What reads it, and its name if the reader checks it.
    Unread(Box<dyn Read + Send>, Option<ContentDigest>),
}

type Batch = Vec<io::Result<Opened>>;

/// Writes the tar of entries, which are in the order of paths. Its digest may still be on its way.
pub(crate) fn pack_entries(
    entries: &[NewEntry],
    tar: &mut dyn Write,
) -> Result<UnnamedLayer<()>, SnapshotError> {
    let mut writer = LayerWriter::new(tar);
    writer.reserve(entries.len());
    // Opening, reading and naming many small files takes longer than hashing and writing them.
    std::thread::scope(|scope| -> Result<(), SnapshotError> {
        let readers = readers(entries);
        let spawn = |reader: usize| {
            let (sender, batches) = sync_channel(AHEAD_BATCHES_MAX);
            let chunks = entries.chunks(CHUNK_ENTRIES).skip(reader).step_by(readers);
            scope.spawn(move || read_ahead(chunks, &sender));
            batches
        };
        let batches: Vec<Receiver<Batch>> = (0..readers).map(spawn).collect();
        let chunks = entries.chunks(CHUNK_ENTRIES).zip(batches.iter().cycle());
        for (chunk, batches) in chunks {
            let mut opened = batches.iter().flatten();
            for entry in chunk {
                match entry {
                    NewEntry::File { path, metadata, .. } => {
                        let next = opened
                            .next()
                            .unwrap_or_else(|| Err(io::Error::other("reading ahead ended early")));
                        write_file(&mut writer, path, metadata, next)?;
                    }
                    NewEntry::Other(entry) => writer.append(entry)?,
                }
            }
        }
        Ok(())
    })?;
    let UnnamedLayer { index, name, .. } = writer.end()?;
    Ok(UnnamedLayer {
        writer: (),
        index,
        name,
    })
}

/// Returns how many threads read the files of entries.
fn readers(entries: &[NewEntry]) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors
        .min(READERS_MAX)
        .min(entries.len().div_ceil(CHUNK_ENTRIES))
        .max(1)
}

fn write_file(
    writer: &mut LayerWriter<&mut dyn Write>,
    path: &EntryPath,
    metadata: &Metadata,
    opened: io::Result<Opened>,
) -> Result<(), SnapshotError> {
    let Opened { bytes, body } = opened.map_err(|source| SnapshotError::Content {
        path: path.clone(),
        source,
    })?;
    match body {
        Body::Read(all, content) if all.len() as u64 == bytes => {
            writer.append_bytes(path, metadata, &all, content)?;
        }
        Body::Shared(all, range, content) => {
            writer.append_bytes(path, metadata, &all[range], content)?;
        }
        Body::Read(..) => {
            let path = path.clone();
            let expected = bytes;
            return Err(WriteError::Length { path, expected }.into());
        }
        Body::Unread(mut reader, None) => {
            writer.append_file(path, metadata, bytes, &mut *reader)?;
        }
        Body::Unread(mut reader, Some(name)) => {
            writer.append_checked_file(path, metadata, bytes, &mut *reader, name)?;
        }
    }
    Ok(())
}

/// Opens the files of entries in their order, until nobody wants them any more. No batch has files of two chunks.
fn read_ahead<'a>(chunks: impl Iterator<Item = &'a [NewEntry]>, sender: &SyncSender<Batch>) {
    let mut window = Window::default();
    for chunk in chunks {
        let mut batch = Batch::new();
        let mut batch_bytes = 0;
        for entry in chunk {
            let NewEntry::File { content, .. } = entry else {
                continue;
            };
            let opened = open(content, &mut window);
            batch_bytes += opened.as_ref().map_or(0, Opened::ahead_bytes);
            batch.push(opened);
            if batch_bytes >= BATCH_BYTES {
                batch_bytes = 0;
                if sender.send(std::mem::take(&mut batch)).is_err() {
                    return;
                }
            }
        }
        if !batch.is_empty() && sender.send(batch).is_err() {
            return;
        }
    }
}

impl Opened {
    /// Returns how much memory it takes.
    fn ahead_bytes(&self) -> usize {
        match &self.body {
            Body::Read(all, _) => all.len(),
            Body::Shared(_, range, _) => range.len(),
            // Whatever comes next has the time that this takes.
            Body::Unread(..) => BATCH_BYTES,
        }
    }
}

fn open(content: &Content, window: &mut Window) -> io::Result<Opened> {
    if let Some(packed) = content.in_tar(AHEAD_BYTES_MAX)? {
        let (all, range) = window.read(&packed)?;
        packed.check(&all[range.clone()])?;
        let bytes = range.len() as u64;
        let body = Body::Shared(all, range, packed.content);
        return Ok(Opened { bytes, body });
    }
    let (bytes, mut reader) = content.open()?;
    let name = content.checked_name();
    if bytes > AHEAD_BYTES_MAX {
        let body = Body::Unread(reader, name);
        return Ok(Opened { bytes, body });
    }
    // One byte more, so that a file that grew is noticed.
    let mut all = Vec::with_capacity(bytes as usize + 1);
    (&mut reader).take(bytes + 1).read_to_end(&mut all)?;
    let name = name.unwrap_or_else(|| ContentDigest::of(&all));
    Ok(Opened {
        bytes,
        body: Body::Read(all, name),
    })
}

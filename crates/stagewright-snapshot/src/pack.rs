//! Writing the tar of a layer out of files.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use stagewright_digest::ContentDigest;
use stagewright_layer::{LayerWriter, UnnamedLayer, WriteError};

use crate::content::{Content, NewEntry};
use crate::error::SnapshotError;
use crate::window::Window;

/// Files up to this size are read ahead, while those before them are hashed and written.
const AHEAD_BYTES_MAX: u64 = 256 * 1024;
/// Files are handed over so many, or so many bytes of them, at a time: small ones one by one would cost more to hand over
/// than to read.
const BATCH_FILES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// So many batches are read ahead at most.
const AHEAD_BATCHES_MAX: usize = 2;

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
    // Opening, reading and naming many small files takes as long as hashing and writing them.
    std::thread::scope(|scope| -> Result<(), SnapshotError> {
        let (sender, batches) = sync_channel(AHEAD_BATCHES_MAX);
        scope.spawn(move || read_ahead(entries, &sender));
        let mut opened = batches.into_iter().flatten();
        for entry in entries {
            let NewEntry::File { path, metadata, .. } = entry else {
                if let NewEntry::Other(entry) = entry {
                    writer.append(entry)?;
                }
                continue;
            };
            let next = opened
                .next()
                .unwrap_or_else(|| Err(io::Error::other("reading ahead ended early")));
            let Opened { bytes, body } = next.map_err(|source| SnapshotError::Content {
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

/// Opens the files of entries in their order, until nobody wants them any more.
fn read_ahead(entries: &[NewEntry], sender: &SyncSender<Batch>) {
    let mut batch = Batch::new();
    let mut batch_bytes = 0;
    let mut window = Window::default();
    for entry in entries {
        let NewEntry::File { content, .. } = entry else {
            continue;
        };
        let opened = open(content, &mut window);
        batch_bytes += match &opened {
            Ok(Opened {
                body: Body::Read(all, _),
                ..
            }) => all.len(),
            Ok(Opened {
                body: Body::Shared(_, range, _),
                ..
            }) => range.len(),
            // Whatever comes next has the time that this takes.
            Ok(Opened {
                body: Body::Unread(..),
                ..
            }) => BATCH_BYTES,
            Err(_) => 0,
        };
        batch.push(opened);
        if batch.len() >= BATCH_FILES || batch_bytes >= BATCH_BYTES {
            batch_bytes = 0;
            if sender.send(std::mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    // Nobody wants the last ones either.
    drop(sender.send(batch));
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

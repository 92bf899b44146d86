//! Writing the tar of a layer out of files.

use std::io::{self, Read, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use stagewright_layer::{LayerWriter, WrittenLayer};

use crate::content::{Content, NewEntry};
use crate::error::SnapshotError;

/// Files up to this size are read ahead, while those before them are hashed and written.
const AHEAD_BYTES_MAX: u64 = 256 * 1024;
/// So many files are read ahead at most.
const AHEAD_FILES_MAX: usize = 64;

/// The bytes of a file, and how many there are.
type Opened = io::Result<(u64, Box<dyn Read + Send>)>;

/// Writes the tar of entries, which are in the order of paths.
pub(crate) fn pack_entries(
    entries: &[NewEntry],
    tar: &mut dyn Write,
) -> Result<WrittenLayer<()>, SnapshotError> {
    let mut writer = LayerWriter::new(tar);
    // Opening and reading many small files takes as long as hashing and writing them.
    std::thread::scope(|scope| -> Result<(), SnapshotError> {
        let (sender, opened) = sync_channel(AHEAD_FILES_MAX);
        scope.spawn(move || read_ahead(entries, &sender));
        for entry in entries {
            match entry {
                NewEntry::File { path, metadata, .. } => {
                    let unread = |source| SnapshotError::Content {
                        path: path.clone(),
                        source,
                    };
                    let ended = |_| unread(io::Error::other("reading ahead ended early"));
                    let opened: Opened = opened.recv().map_err(ended)?;
                    let (bytes, mut reader) = opened.map_err(unread)?;
                    writer.append_file(path, metadata, bytes, &mut *reader)?;
                }
                NewEntry::Other(entry) => writer.append(entry)?,
            }
        }
        Ok(())
    })?;
    let WrittenLayer {
        diff_id,
        bytes,
        index,
        ..
    } = writer.finish()?;
    Ok(WrittenLayer {
        writer: (),
        diff_id,
        bytes,
        index,
    })
}

/// Opens the files of entries in their order, until nobody wants them any more.
fn read_ahead(entries: &[NewEntry], sender: &SyncSender<Opened>) {
    for entry in entries {
        if let NewEntry::File { content, .. } = entry
            && sender.send(open(content)).is_err()
        {
            return;
        }
    }
}

fn open(content: &Content) -> Opened {
    let (bytes, mut reader) = content.open()?;
    if bytes > AHEAD_BYTES_MAX {
        return Ok((bytes, reader));
    }
    // One byte more, so that a file that grew is noticed.
    let mut all = Vec::with_capacity(bytes as usize + 1);
    (&mut reader).take(bytes + 1).read_to_end(&mut all)?;
    Ok((bytes, Box::new(io::Cursor::new(all))))
}

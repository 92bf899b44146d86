//! A pipe between two threads. One of the system would end a program that does not ignore its signal
//! when the reader gives up, and this is a library.

use std::io::{self, BufWriter, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How much is handed over at once.
const PIECE_BYTES: usize = 1 << 18;
/// How many pieces may wait.
const PIECES_MAX: usize = 8;

/// The end that is written to. What it holds goes through when it is flushed or full.
pub(crate) type PipeWriter = BufWriter<Sending>;

/// Hands over pieces.
pub(crate) struct Sending(SyncSender<Vec<u8>>);

/// The end that is read from. It ends when the other is gone.
pub(crate) struct PipeReader {
    pieces: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

/// Makes a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, pieces) = sync_channel(PIECES_MAX);
    let writer = BufWriter::with_capacity(PIECE_BYTES, Sending(sender));
    let piece = io::Cursor::new(Vec::new());
    (writer, PipeReader { pieces, piece })
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(bytes.to_vec())
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.piece.read(buffer)? {
                0 if !buffer.is_empty() => match self.pieces.recv() {
                    Ok(piece) => self.piece = io::Cursor::new(piece),
                    Err(_) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_reader_that_left_is_told_of() {
        let (mut writer, mut reader) = pipe();
        let sent: Vec<u8> = (0..3 * PIECE_BYTES + 5)
            .map(|number| number as u8)
            .collect();
        let mut read = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                writer.flush().unwrap();
                drop(writer);
            });
            reader.read_to_end(&mut read).unwrap();
        });
        assert!(read == sent);
        let (mut writer, reader) = pipe();
        drop(reader);
        writer.write_all(b"x").unwrap();
        assert_eq!(
            writer.flush().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}

//! The digest of what is written, found behind the writing.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use stagewright_digest::{Digest, DigestWriter};

/// Bytes are written and hashed in pieces of this size.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;
/// So many pieces are hashed by who writes them: for less a thread costs more than it saves.
const OWN_PIECES_MAX: u32 = 4;
/// So many pieces wait to be hashed at most.
const WAITING_MAX: usize = 16;

type Hasher = DigestWriter<io::Sink>;

/// Hashes pieces in their order. Of a long row of them it does so on a thread of its own: SHA-256 takes as long as all else
/// that writing a tar of small files needs.
pub(crate) enum Behind {
    Here {
        hasher: Hasher,
        pieces: u32,
        /// Pieces to be filled anew.
        used: Vec<Vec<u8>>,
    },
    There {
        /// Pieces, and how much of each is filled.
        pieces: SyncSender<(Vec<u8>, usize)>,
        used: Receiver<Vec<u8>>,
        thread: JoinHandle<Hasher>,
    },
}

impl Behind {
    pub(crate) fn new() -> Self {
        Self::Here {
            hasher: Hasher::new(io::sink()),
            pieces: 0,
            used: Vec::new(),
        }
    }

    /// Returns a piece to be filled.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let used = match self {
            Self::Here { used, .. } => used.pop(),
            Self::There { used, .. } => used.try_recv().ok(),
        };
        used.unwrap_or_else(|| vec![0; PIECE_BYTES])
    }

    /// Takes a piece of which so many bytes are filled.
    pub(crate) fn take(&mut self, piece: Vec<u8>, filled: usize) -> io::Result<()> {
        match self {
            Self::Here {
                hasher,
                pieces,
                used,
            } => {
                hasher.write_all(&piece[..filled])?;
                used.push(piece);
                *pieces += 1;
                if *pieces == OWN_PIECES_MAX {
                    self.go_there();
                }
                Ok(())
            }
            Self::There { pieces, .. } => pieces
                .send((piece, filled))
                .map_err(|_| io::Error::other("the thread that hashes has ended")),
        }
    }

    /// Starts the thread. Where none can be had, all goes on here.
    fn go_there(&mut self) {
        let Self::Here { hasher, .. } = self else {
            return;
        };
        let (hasher_sender, hasher_receiver) = sync_channel::<Hasher>(1);
        let (pieces, waiting) = sync_channel::<(Vec<u8>, usize)>(WAITING_MAX);
        let (give_back, used) = channel();
        let work = move || -> Hasher {
            let mut hasher = hasher_receiver
                .recv()
                .unwrap_or_else(|_| Hasher::new(io::sink()));
            for (bytes, filled) in waiting {
                hasher
                    .write_all(&bytes[..filled])
                    .expect("because a sink takes all");
                // The writer may have ended.
                drop(give_back.send(bytes));
            }
            hasher
        };
        if let Ok(thread) = std::thread::Builder::new().spawn(work) {
            let hasher = std::mem::replace(hasher, Hasher::new(io::sink()));
            // The thread waits for it.
            drop(hasher_sender.send(hasher));
            *self = Self::There {
                pieces,
                used,
                thread,
            };
        }
    }

    /// Returns the digest and the number of all bytes, when they are hashed.
    pub(crate) fn finish(self) -> (Digest, u64) {
        let hasher = match self {
            Self::Here { hasher, .. } => hasher,
            Self::There { pieces, thread, .. } => {
                drop(pieces);
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        let (_, digest, bytes) = hasher.finish();
        (digest, bytes)
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here { .. } => "hashed here",
            Self::There { .. } => "hashed on a thread",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_all_pieces_however_many_there_are() {
        for count in [0, 1, 3, 4, 5, 40] {
            let mut behind = Behind::new();
            let mut all = Vec::new();
            for number in 0..count {
                let filled = PIECE_BYTES - number;
                let mut piece = behind.next();
                assert_eq!(piece.len(), PIECE_BYTES);
                piece[..filled].fill(number as u8);
                all.extend_from_slice(&piece[..filled]);
                behind.take(piece, filled).unwrap();
            }
            assert_eq!(behind.finish(), (Digest::of(&all), all.len() as u64));
        }
    }
}

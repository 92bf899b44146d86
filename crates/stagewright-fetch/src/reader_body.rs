//! A request body that a blocking reader gives.

use std::future::Future;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use stagewright_oci::{BlobContent, OutgoingBlob};
use tokio::sync::{Notify, mpsc};

use crate::blob_upload::{PushEvent, PushProgress};

/// How much is read at once.
const PIECE_BYTES: usize = 128 * 1024;
/// How many pieces may wait to be sent: with [`PIECE_BYTES`], the memory that an upload takes.
const PIECES_MAX: usize = 8;

/// Is told how many bytes have been handed to the connection.
type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// What becomes of a body, for whoever sends it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sending {
    /// What went wrong with the reader.
    failure: Arc<Mutex<Option<io::Error>>>,
    /// Told of each piece that is handed to the connection.
    moved: Arc<Notify>,
}

impl Sending {
    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Takes the error, if reading failed.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    /// Waits for the request that sends the body. Nothing if it comes no further for so long.
    pub(crate) async fn watch<T>(
        &self,
        silence: Duration,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        let mut request = pin!(request);
        loop {
            tokio::select! {
                biased;
                result = &mut request => return Some(result),
                () = self.moved.notified() => {}
                () = tokio::time::sleep(silence) => return None,
            }
        }
    }
}

/// Does blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Has a blob that comes from elsewhere fetched before a request waits for its bytes.
pub(crate) async fn prepare(blob: &OutgoingBlob) -> io::Result<()> {
    let BlobContent::Stream(open) = &blob.content else {
        return Ok(());
    };
    let open = Arc::clone(open);
    blocking(move || open().map(drop)).await
}

/// The bytes of a blob from an offset on.
pub(crate) struct ReaderBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    size: u64,
    sent: Sent,
    sending: Sending,
}

impl ReaderBody {
    /// Starts to read on a thread for blocking work. The thread ends with the body.
    /// Returns it with what tells how it goes.
    pub(crate) fn start(
        blob: &OutgoingBlob,
        offset: u64,
        progress: &PushProgress,
    ) -> (reqwest::Body, Sending) {
        let sending = Sending::default();
        let (progress, descriptor) = (Arc::clone(progress), blob.descriptor.clone());
        let sent = Arc::new(move |bytes| {
            progress(PushEvent::Sent {
                descriptor: descriptor.clone(),
                bytes,
            });
        });
        let body = Self::read(blob, offset, sent, sending.clone());
        (reqwest::Body::wrap(body), sending)
    }

    fn read(blob: &OutgoingBlob, offset: u64, sent: Sent, sending: Sending) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let blob = blob.clone();
        let size = blob.descriptor.size;
        let told = sending.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read_pieces(&blob, offset, &sender) {
                let copy = io::Error::new(error.kind(), error.to_string());
                told.fail(error);
                // Nobody listens any more if the connection broke.
                drop(sender.blocking_send(Err(copy)));
            }
        });
        Self {
            pieces,
            left: size.saturating_sub(offset),
            size,
            sent,
            sending,
        }
    }
}

fn read_pieces(
    blob: &OutgoingBlob,
    offset: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = blob.open()?;
    // What was sent before is read again, since the reader checks the digest of all of it.
    io::copy(&mut reader.by_ref().take(offset), &mut io::sink())?;
    // The last piece is held back until the reader has said that all bytes are the right ones: a
    // blob that has changed is never sent whole.
    let mut held: Option<Vec<u8>> = None;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = reader.read(&mut piece)?;
        piece.truncate(read);
        let next = (read > 0).then_some(piece);
        let ended = next.is_none();
        if let Some(piece) = std::mem::replace(&mut held, next)
            && sender.blocking_send(Ok(piece.into())).is_err()
        {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.pieces.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(piece))) => piece,
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        (self.sent)(self.size - self.left);
        self.sending.moved.notify_one();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_moves_is_waited_for_and_what_stands_still_is_not() {
        let sending = Sending::default();
        let silence = Duration::ZERO;
        assert_eq!(sending.watch(silence, async { 1 }).await, Some(1));
        let stuck = std::future::pending::<()>();
        assert_eq!(sending.watch(silence, stuck).await, None);
        // Each piece that went gives it another while.
        let mut turns = 0;
        let slow = std::future::poll_fn(|_| {
            turns += 1;
            sending.moved.notify_one();
            match turns {
                100 => Poll::Ready(turns),
                _ => Poll::Pending,
            }
        });
        assert_eq!(sending.watch(silence, slow).await, Some(100));
    }
}

//! Gzip as a row of members, which are compressed in parallel and written in order.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libdeflater::CompressionLvl;

/// How much of the tar one gzip member holds. A change gives every gzip blob another digest.
pub(crate) const MEMBER_BYTES: usize = 1 << 20;

/// A member to be compressed, and where to send the result.
struct Job {
    plain: Vec<u8>,
    reply: SyncSender<io::Result<Vec<u8>>>,
}

/// Compresses members in parallel and writes them in order.
pub(crate) struct GzipMembers<W> {
    writer: W,
    plain: Vec<u8>,
    /// The results that are waited for, in order.
    replies: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    jobs: Option<Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// How many members were begun and ended.
    sent: usize,
    /// How many bytes of members are written.
    written_bytes: u64,
    /// Where each written member begins.
    starts: Vec<u64>,
}

impl<W: Write> GzipMembers<W> {
    pub(crate) fn new(writer: W, level: CompressionLvl, threads: NonZeroUsize) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        // Guards the receiving end only: a worker holds it while it waits for its next job.
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Vec::with_capacity(threads.get());
        for _ in 0..threads.get() {
            let queue = Arc::clone(&queue);
            let work = move || work(&queue, level);
            workers.push(
                std::thread::Builder::new()
                    .name("gzip".to_owned())
                    .spawn(work)?,
            );
        }
        Ok(Self {
            writer,
            plain: Vec::with_capacity(MEMBER_BYTES),
            replies: VecDeque::new(),
            jobs: Some(jobs),
            workers,
            sent: 0,
            written_bytes: 0,
            starts: Vec::new(),
        })
    }

    /// Ends the member that is being filled, if anything is in it, and returns the number of the next.
    pub(crate) fn cut(&mut self) -> io::Result<usize> {
        if !self.plain.is_empty() {
            self.send()?;
        }
        Ok(self.sent)
    }

    /// Writes everything that is there, and returns where each member begins, and where the next will.
    pub(crate) fn drain(&mut self) -> io::Result<(&[u64], u64)> {
        self.cut()?;
        while !self.replies.is_empty() {
            self.write_next()?;
        }
        Ok((&self.starts, self.written_bytes))
    }

    fn send(&mut self) -> io::Result<()> {
        let plain = std::mem::replace(&mut self.plain, Vec::with_capacity(MEMBER_BYTES));
        let (reply, result) = sync_channel(1);
        let jobs = self
            .jobs
            .as_ref()
            .expect("because jobs end only when the stream does");
        jobs.send(Job { plain, reply }).map_err(|_| worker_gone())?;
        self.sent += 1;
        self.replies.push_back(result);
        // Enough in flight to keep every worker busy, and no more memory than that.
        while self.replies.len() > self.workers.len() * 2 {
            self.write_next()?;
        }
        Ok(())
    }

    fn write_next(&mut self) -> io::Result<()> {
        match self.replies.pop_front() {
            Some(reply) => {
                let member = reply.recv().map_err(|_| worker_gone())??;
                self.starts.push(self.written_bytes);
                self.written_bytes += member.len() as u64;
                self.writer.write_all(&member)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        // An empty stream is one empty member.
        if self.plain.is_empty() && self.sent == 0 {
            self.send()?;
        }
        self.drain()?;
        self.jobs = None;
        for worker in self.workers {
            worker.join().map_err(|_| worker_gone())?;
        }
        Ok(self.writer)
    }
}

impl<W: Write> Write for GzipMembers<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain.len() == MEMBER_BYTES {
            self.send()?;
        }
        let count = bytes.len().min(MEMBER_BYTES - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn worker_gone() -> io::Error {
    io::Error::other("a compression thread ended early")
}

fn work(queue: &Mutex<Receiver<Job>>, level: CompressionLvl) {
    let mut compressor = libdeflater::Compressor::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { plain, reply }) = job else {
            return;
        };
        let result = member(&mut compressor, &plain);
        // Nobody waits when the stream was given up.
        if reply.send(result).is_err() {
            return;
        }
    }
}

/// Compresses one member.
pub(crate) fn member(
    compressor: &mut libdeflater::Compressor,
    plain: &[u8],
) -> io::Result<Vec<u8>> {
    let mut member = vec![0; compressor.gzip_compress_bound(plain.len())];
    let length = compressor
        .gzip_compress(plain, &mut member)
        .map_err(|error| io::Error::other(format!("gzip compression stopped: {error}")))?;
    member.truncate(length);
    Ok(member)
}

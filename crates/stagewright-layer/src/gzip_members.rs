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
    let mut compressor = MemberCompressor::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { plain, reply }) = job else {
            return;
        };
        let result = compressor.member(&plain);
        // Nobody waits when the stream was given up.
        if reply.send(result).is_err() {
            return;
        }
    }
}

/// A member is looked at in so many places, of so many bytes each, before it is compressed.
const SAMPLES: usize = 8;
const SAMPLE_BYTES: usize = 8 * 1024;
/// Members that are much shorter are compressed without a look.
const LOOK_BYTES_MIN: usize = 2 * SAMPLES * SAMPLE_BYTES;

/// Compresses members; those that would hardly become shorter, such as programs' archives and pictures, are stored as they are:
/// to find out takes a tenth of the time that compressing them does.
struct MemberCompressor {
    compressor: libdeflater::Compressor,
    /// For a look, and for what is stored; nothing where all is stored.
    look: Option<(libdeflater::Compressor, libdeflater::Compressor)>,
    sample: Vec<u8>,
    looked_at: Vec<u8>,
}

impl MemberCompressor {
    fn new(level: CompressionLvl) -> Self {
        let of = |level| CompressionLvl::new(level).ok();
        let stored = of(0).filter(|stored| *stored != level);
        let look = stored.zip(of(1)).map(|(stored, fastest)| {
            let new = libdeflater::Compressor::new;
            (new(fastest), new(stored))
        });
        Self {
            compressor: libdeflater::Compressor::new(level),
            look,
            sample: Vec::new(),
            looked_at: Vec::new(),
        }
    }

    fn member(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let look = self.look.as_mut();
        let Some((fastest, stored)) = look.filter(|_| plain.len() >= LOOK_BYTES_MIN) else {
            return member(&mut self.compressor, plain);
        };
        self.sample.clear();
        for part in plain.chunks_exact(plain.len() / SAMPLES).take(SAMPLES) {
            self.sample.extend_from_slice(&part[..SAMPLE_BYTES]);
        }
        self.looked_at
            .resize(fastest.deflate_compress_bound(self.sample.len()), 0);
        let length = fastest.deflate_compress(&self.sample, &mut self.looked_at);
        let length = length.unwrap_or(self.sample.len());
        // Less than a fiftieth shorter.
        if length * 50 > self.sample.len() * 49 {
            member(stored, plain)
        } else {
            member(&mut self.compressor, plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn compressed(plain: &[u8], level: i32) -> Vec<u8> {
        let level = CompressionLvl::new(level).unwrap();
        let one = NonZeroUsize::MIN;
        let mut members = GzipMembers::new(Vec::new(), level, one).unwrap();
        members.write_all(plain).unwrap();
        members.finish().unwrap()
    }

    #[test]
    fn what_does_not_become_shorter_is_stored() {
        let noise = noise(MEMBER_BYTES);
        for level in [1, 6, 9] {
            let stored = compressed(&noise, level);
            assert!(stored.windows(64).any(|window| *window == noise[..64]));
            assert!(stored.len() < MEMBER_BYTES + MEMBER_BYTES / 1_000);
        }
    }

    /// What is compressed is what libdeflate makes of it at the level that is asked for.
    #[test]
    fn what_becomes_shorter_is_compressed() {
        let mut half = noise(MEMBER_BYTES / 2);
        half.resize(MEMBER_BYTES, b'x');
        // Short noise is not looked at.
        for plain in [half, noise(LOOK_BYTES_MIN - 1), vec![0; 100]] {
            let mut compressor = libdeflater::Compressor::new(CompressionLvl::new(6).unwrap());
            assert!(compressed(&plain, 6) == member(&mut compressor, &plain).unwrap());
        }
    }
}

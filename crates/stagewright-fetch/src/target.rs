//! Where a download goes: writers of any type behind one, so that what downloads is compiled once.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;

use stagewright_digest::{Digest, DigestWriter};

/// Work whose type nobody has to know: what it consists of is compiled in this crate alone.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes the bytes of a download.
pub(crate) trait Target: Send {
    /// Opens an empty writer in the place of the last.
    fn restart(&mut self) -> io::Result<()>;

    /// Writes to the writer that was opened last.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The writers that a function opens, of which the last is wanted.
pub(crate) struct Opened<W, F> {
    open: F,
    writer: Option<W>,
}

impl<W: Write + Send, F: FnMut() -> io::Result<W> + Send> Opened<W, F> {
    pub(crate) fn new(open: F) -> Self {
        Self { open, writer: None }
    }

    /// Returns the writer of a download that succeeded.
    pub(crate) fn finish(self) -> W {
        self.writer
            .expect("because a download that succeeds has opened a writer")
    }
}

impl<W: Write + Send, F: FnMut() -> io::Result<W> + Send> Target for Opened<W, F> {
    fn restart(&mut self) -> io::Result<()> {
        self.writer = Some((self.open)()?);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            Some(writer) => writer.write_all(bytes),
            None => Err(io::Error::other("nothing was opened to write to")),
        }
    }
}

/// What has been written to a target, and its digest.
pub(crate) struct Written<'a> {
    target: &'a mut dyn Target,
    hash: DigestWriter<io::Sink>,
}

impl<'a> Written<'a> {
    /// Nothing yet: [`Written::restart`] comes first.
    pub(crate) fn new(target: &'a mut dyn Target) -> Self {
        Self {
            target,
            hash: DigestWriter::new(io::sink()),
        }
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.hash = DigestWriter::new(io::sink());
        self.target.restart()
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target.write_all(bytes)?;
        self.hash.write_all(bytes)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.hash.bytes()
    }

    pub(crate) fn finish(self) -> (Digest, u64) {
        let (_, digest, bytes) = self.hash.finish();
        (digest, bytes)
    }
}

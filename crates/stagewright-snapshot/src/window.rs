//! Reading many small files that lie behind one another in the packed form of a layer.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::file::InTar;

/// So much is read at once at least, and at most where files follow one another.
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;
/// So much memory waits to be used again at most.
const BEFORE_MAX: usize = 16;
/// A file is behind the last one if no more than this lies between them.
const GAP_BYTES_MAX: u64 = 64 * 1024;

/// What was read last, at once: mostly the next file is in it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The file that it is of, and where in it it begins.
    of: Option<(Arc<fs_err::File>, u64)>,
    bytes: Arc<Vec<u8>>,
    /// What was read before, to be filled anew when nobody uses it any more.
    before: VecDeque<Arc<Vec<u8>>>,
    /// How much is read next, if it goes on.
    next_bytes: usize,
}

impl Window {
    /// Returns bytes in which the file is, and where it is in them.
    pub(crate) fn read(&mut self, wanted: &InTar<'_>) -> io::Result<(Arc<Vec<u8>>, Range<usize>)> {
        let length = wanted.bytes as usize;
        if let Some(range) = self.find(wanted, length) {
            return Ok((Arc::clone(&self.bytes), range));
        }
        let goes_on = self.of.as_ref().is_some_and(|(file, begin)| {
            let end = begin + self.bytes.len() as u64;
            Arc::ptr_eq(file, &wanted.file)
                && (*begin..end + GAP_BYTES_MAX).contains(&wanted.offset)
        });
        let size = if goes_on { self.next_bytes } else { 0 };
        let size = size.max(READ_BYTES_MIN);
        self.next_bytes = (2 * size).min(READ_BYTES_MAX);
        let mut bytes = self.memory(size.max(length));
        let mut filled = 0;
        while filled < bytes.len() {
            let offset = wanted.offset + filled as u64;
            match wanted.file.file().read_at(&mut bytes[filled..], offset) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        self.before
            .push_back(std::mem::replace(&mut self.bytes, Arc::new(bytes)));
        self.of = Some((Arc::clone(&wanted.file), wanted.offset));
        // One that was cut off is seen as damaged by who checks it.
        Ok((Arc::clone(&self.bytes), 0..length.min(filled)))
    }

    /// Returns so many bytes, whatever they are.
    fn memory(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = match self.before.pop_front().map(Arc::try_unwrap) {
            Some(Ok(unused)) => unused,
            Some(Err(used)) if self.before.len() < BEFORE_MAX => {
                self.before.push_front(used);
                Vec::new()
            }
            _ => Vec::new(),
        };
        bytes.resize(length, 0);
        bytes
    }

    fn find(&self, wanted: &InTar<'_>, length: usize) -> Option<Range<usize>> {
        let (file, begin) = self.of.as_ref()?;
        let start = usize::try_from(wanted.offset.checked_sub(*begin)?).ok()?;
        let range = start..start.checked_add(length)?;
        (Arc::ptr_eq(file, &wanted.file) && range.end <= self.bytes.len()).then_some(range)
    }
}

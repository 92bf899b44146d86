//! A limit on how much a layer of others may grow when it is decompressed: a few kilobytes must not fill
//! the disk.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stagewright_layer::{CompressError, decompress};

/// How much may come out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpansionLimit {
    /// So many bytes may come out of whatever went in: files of zeros are no attack.
    pub(crate) free_bytes: u64,
    /// Beyond, so many for each that went in.
    pub(crate) ratio_max: u64,
}

impl ExpansionLimit {
    /// The limit for layers. Those of programs are compressed to a half or a tenth; gzip makes at most
    /// a thousandth of anything, zstd much less of zeros.
    pub(crate) const LAYER: Self = Self {
        free_bytes: 4 << 30,
        ratio_max: 200,
    };

    /// Returns a reader of what a stream holds, which fails when more comes out than may.
    pub(crate) fn decompress<'a>(
        self,
        reader: impl BufRead + Send + 'a,
    ) -> Result<impl Read + Send + 'a, CompressError> {
        let taken = Arc::new(AtomicU64::new(0));
        // One type behind, whatever is read: what takes it apart is large.
        let reader: Box<dyn BufRead + Send + 'a> = Box::new(reader);
        let counted = Counted {
            reader,
            taken: Arc::clone(&taken),
        };
        Ok(Limited {
            reader: decompress(counted)?,
            given: 0,
            taken,
            limit: self,
        })
    }
}

/// Counts what is taken from a reader.
struct Counted<R> {
    reader: R,
    taken: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.reader.consume(count);
    }
}

struct Limited<R> {
    reader: R,
    given: u64,
    taken: Arc<AtomicU64>,
    limit: ExpansionLimit,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.given += count as u64;
        let taken = self.taken.load(Ordering::Relaxed);
        let ExpansionLimit {
            free_bytes,
            ratio_max,
        } = self.limit;
        if self.given > free_bytes && self.given / ratio_max > taken {
            let message = format!(
                "{taken} bytes of it decompress to more than {free_bytes} and more than {ratio_max} times as much: if that is meant, let the layer be uncompressed"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::num::NonZeroUsize;

    use stagewright_layer::{Codec, Compressor};

    use super::*;

    fn read(codec: Codec, plain: &[u8], limit: ExpansionLimit) -> io::Result<usize> {
        let mut writer = Compressor::new(Vec::new(), codec, NonZeroUsize::MIN).unwrap();
        writer.write_all(plain).unwrap();
        let blob = writer.finish().unwrap();
        let mut read = Vec::new();
        limit
            .decompress(blob.as_slice())
            .unwrap()
            .read_to_end(&mut read)
    }

    #[test]
    fn what_grows_too_much_is_refused_and_nothing_else() {
        let limit = ExpansionLimit {
            free_bytes: 1 << 20,
            ratio_max: 200,
        };
        let zeros = vec![0; 8 << 20];
        for codec in [Codec::GZIP, Codec::ZSTD] {
            let error = read(codec, &zeros, limit).unwrap_err().to_string();
            assert!(error.contains("200 times"), "{codec:?}: {error}");
            // Small ones may be what they like.
            let small = &zeros[..1 << 20];
            assert_eq!(read(codec, small, limit).unwrap(), small.len());
        }
        assert_eq!(
            read(Codec::Uncompressed, &zeros, limit).unwrap(),
            zeros.len()
        );
        let text: Vec<u8> = (0..4 << 20_u32)
            .map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 27) as u8)
            .collect();
        assert_eq!(read(Codec::GZIP, &text, limit).unwrap(), text.len());
    }
}

//! Compression of layers.
//!
//! The same tar, codec and level give the same bytes, whatever the number of threads: the name of
//! a blob must not depend on the machine.

use std::io::{self, BufRead, Read, Write};
use std::num::NonZeroUsize;

use libdeflater::CompressionLvl;
use lzma_rust2::XzReader;
use thiserror::Error;

use crate::gzip_members::GzipMembers;

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Not at all.
    Uncompressed,
    /// As gzip members of one MiB of tar each, compressed by libdeflate.
    Gzip {
        /// From 0 to 9, higher is smaller and slower.
        level: u32,
    },
    /// As one Zstandard frame.
    Zstd {
        /// From 1 to 22, higher is smaller and slower.
        level: i32,
    },
}

impl Codec {
    /// Gzip at its usual level.
    pub const GZIP: Self = Self::Gzip { level: 6 };
    /// Zstandard at its usual level.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// Returns the compression that this codec makes.
    pub fn compression(self) -> Compression {
        match self {
            Self::Uncompressed => Compression::None,
            Self::Gzip { .. } => Compression::Gzip,
            Self::Zstd { .. } => Compression::Zstd,
        }
    }
}

/// How a stream is compressed, as its first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not, or in a way that is not known.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2: not in layers, but in archives for ADD and in contexts.
    Bzip2,
    /// xz: not in layers, but in archives for ADD and in contexts.
    Xz,
}

/// Returns how a stream that begins with `prefix` is compressed; eight bytes suffice.
pub fn detect(prefix: &[u8]) -> Compression {
    match prefix {
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ => Compression::None,
    }
}

/// A stream can't be compressed or decompressed.
#[derive(Debug, Error)]
pub enum CompressError {
    /// The level is out of the codec's range.
    #[error("there is no level {level} of {codec} compression, use {range}")]
    Level {
        /// The codec's name.
        codec: &'static str,
        /// The level.
        level: i64,
        /// The levels that exist.
        range: &'static str,
    },
    /// Reading or writing failed.
    #[error("can't compress or decompress")]
    Io(#[from] io::Error),
}

/// What decompressing xz may take; its highest level takes 65 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Returns a reader of what a stream holds, however it is compressed.
///
/// # Errors
/// When the stream can't be read.
pub fn decompress<'a, R: BufRead + Send + 'a>(
    mut reader: R,
) -> Result<Box<dyn Read + Send + 'a>, CompressError> {
    // A reader may return fewer bytes than the longest mark has, but not at its first fill: what
    // is buffered there is at least a read of a file or of a socket.
    let compression = detect(reader.fill_buf()?);
    // The decoders are large: one of each, whatever they read.
    let reader: Box<dyn BufRead + Send + 'a> = Box::new(reader);
    match compression {
        Compression::None => Ok(Box::new(reader)),
        Compression::Gzip => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
        Compression::Zstd => Ok(Box::new(zstd::Decoder::with_buffer(reader)?)),
        Compression::Bzip2 => Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(reader))),
        Compression::Xz => Ok(Box::new(XzReader::new_mem_limit(
            reader,
            true,
            XZ_MEMORY_KIB_MAX,
        ))),
    }
}

/// Compresses what is written to it.
///
/// Ends with [`Compressor::finish`]; dropping it leaves the output incomplete.
pub struct Compressor<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Plain(W),
    Gzip(Box<GzipMembers<W>>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> std::fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            Inner::Plain(_) => "Plain",
            Inner::Gzip(_) => "Gzip",
            Inner::Zstd(_) => "Zstd",
        };
        f.debug_tuple("Compressor").field(&name).finish()
    }
}

impl<W: Write> Compressor<W> {
    /// Starts a stream that is compressed by `threads` threads besides the calling one.
    ///
    /// # Errors
    /// When the level is out of range, or no thread can be started.
    pub fn new(writer: W, codec: Codec, threads: NonZeroUsize) -> Result<Self, CompressError> {
        Ok(Self(match codec {
            Codec::Uncompressed => Inner::Plain(writer),
            Codec::Gzip { level } => Inner::Gzip(Box::new(GzipMembers::new(
                writer,
                gzip_level(level)?,
                threads,
            )?)),
            Codec::Zstd { level } => {
                if !(1..=22).contains(&level) {
                    return Err(CompressError::Level {
                        codec: "zstd",
                        level: level.into(),
                        range: "1 to 22",
                    });
                }
                let mut encoder = zstd::Encoder::new(writer, level)?;
                // One worker or more make the same bytes; none at all would make others.
                encoder.multithread(u32::try_from(threads.get().min(64)).unwrap_or(1))?;
                encoder.include_checksum(true)?;
                Inner::Zstd(encoder)
            }
        }))
    }

    /// Ends the stream and returns the writer.
    ///
    /// # Errors
    /// When what is left can't be compressed or written.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(writer) => Ok(writer),
            Inner::Gzip(members) => members.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(writer) => writer.write(bytes),
            Inner::Gzip(members) => members.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does not end a member or a frame: where they end must depend on the content alone.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain(writer) => writer.flush(),
            Inner::Gzip(_) | Inner::Zstd(_) => Ok(()),
        }
    }
}

/// Returns libdeflate's name of a level of gzip.
pub(crate) fn gzip_level(level: u32) -> Result<CompressionLvl, CompressError> {
    let valid = i32::try_from(level).ok().filter(|level| *level <= 9);
    valid
        .and_then(|level| CompressionLvl::new(level).ok())
        .ok_or(CompressError::Level {
            codec: "gzip",
            level: level.into(),
            range: "0 to 9",
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gzip_members::MEMBER_BYTES;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    /// Bytes that compress somewhat.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        };
        (0..length).map(|_| next()).collect()
    }

    fn compress(plain: &[u8], codec: Codec, count: usize, piece: usize) -> Vec<u8> {
        let mut compressor = Compressor::new(Vec::new(), codec, threads(count)).unwrap();
        for piece in plain.chunks(piece) {
            compressor.write_all(piece).unwrap();
            compressor.flush().unwrap();
        }
        compressor.finish().unwrap()
    }

    #[test]
    fn every_codec_round_trips_whatever_the_threads_and_pieces() {
        let codecs = [
            Codec::Uncompressed,
            Codec::GZIP,
            Codec::Gzip { level: 0 },
            Codec::Gzip { level: 9 },
        ];
        let codecs = codecs
            .into_iter()
            .chain([Codec::ZSTD, Codec::Zstd { level: 19 }]);
        for codec in codecs {
            for length in [0, 1, 1000, MEMBER_BYTES, MEMBER_BYTES * 3 + 17] {
                let plain = sample(length);
                let one = compress(&plain, codec, 1, 1 << 16);
                let other = compress(&plain, codec, 3, 7_777);
                assert!(one == other, "{codec:?} {length}");
                assert_eq!(detect(&one), codec.compression(), "{codec:?} {length}");
                let mut back = Vec::new();
                decompress(&one[..])
                    .unwrap()
                    .read_to_end(&mut back)
                    .unwrap();
                assert!(back == plain, "{codec:?} {length}");
                if codec == Codec::Uncompressed || length == 0 {
                    continue;
                }
                let short = &one[..one.len() - 3];
                let result = decompress(short).unwrap().read_to_end(&mut Vec::new());
                assert!(
                    result.is_err(),
                    "{codec:?} {length}: a cut stream must be an error"
                );
            }
        }
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        for codec in [
            Codec::Gzip { level: 10 },
            Codec::Zstd { level: 0 },
            Codec::Zstd { level: 23 },
        ] {
            let error = Compressor::new(Vec::new(), codec, threads(1)).unwrap_err();
            assert!(
                error.to_string().starts_with("there is no level"),
                "{error}"
            );
        }
    }

    /// Made by Python's modules of these names.
    #[test]
    fn archives_of_other_programs_are_read() {
        let bzip2 = b"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\xc1\xc0\x80\xe2\x00\x00\x01\x41\x00\x00\x10\x02\x44\xa0\x00\x30\xcd\x00\xc3\x46\x29\x97\x17\x72\x45\x38\x50\x90\xc1\xc0\x80\xe2";
        let xz = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x05\x68\x65\x6c\x6c\x6f\x0a\x00\x00\x00\xa5\x60\x97\xf1\x94\xf6\xfd\xe0\x00\x01\x1e\x06\xc1\x2f\xa4\x1d\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a";
        for (bytes, kind) in [(&bzip2[..], Compression::Bzip2), (&xz[..], Compression::Xz)] {
            assert_eq!(detect(bytes), kind);
            let mut plain = String::new();
            decompress(bytes)
                .unwrap()
                .read_to_string(&mut plain)
                .unwrap();
            assert_eq!(plain, "hello\n", "{kind:?}");
            let cut = decompress(&bytes[..bytes.len() - 5])
                .unwrap()
                .read_to_end(&mut Vec::new());
            assert!(cut.is_err(), "{kind:?}: a cut stream must be an error");
        }
        assert_eq!(detect(b""), Compression::None);
    }
}

//! SHA-256 names of OCI content.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::hex::name_text;

/// The SHA-256 of a blob's bytes: the name that OCI descriptors carry.
///
/// Other algorithms of the OCI image specification ("Digests") are refused when parsed: no
/// registry is known to serve them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);
name_text!(Digest, "sha256");

impl Digest {
    /// Hashes bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The SHA-256 of a layer's *uncompressed* tar (image specification, "Layer DiffID").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffId([u8; 32]);
name_text!(DiffId, "sha256");

/// The name of a stack of layers, from the bottom up (image specification, "Layer ChainID").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId([u8; 32]);
name_text!(ChainId, "sha256");

impl ChainId {
    /// Computes the name of the stack, or nothing for an empty one.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (bottom, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self(bottom.0), |below, layer| {
            Self(Sha256::digest(format!("{below} {layer}").as_bytes()).into())
        }))
    }
}

/// Passes bytes on to a writer and hashes them on the way.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: io::Write> DigestWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    /// Returns the writer, the digest of everything that was written to it, and the byte count.
    pub fn finish(self) -> (W, Digest, u64) {
        (
            self.inner,
            Digest(self.hasher.finalize().into()),
            self.bytes,
        )
    }

    /// Returns the writer that is wrapped.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Returns the number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<W: io::Write> io::Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn digest_is_sha256() {
        let expected = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(Digest::of(b"hello").to_string(), expected);
        assert_eq!(expected.parse(), Ok(Digest::of(b"hello")));
    }

    #[test]
    fn only_lower_case_hex_of_the_right_length_parses() {
        let good = Digest::of(b"").to_string();
        for bad in [
            "".to_owned(),
            good.replace("sha256", "sha512"),
            good.replace("sha256:", "sha256-"),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.to_uppercase().replace("SHA256", "sha256"),
        ] {
            let error = bad.parse::<Digest>().unwrap_err();
            assert!(
                error.to_string().contains("64 lower-case hex digits"),
                "{error}"
            );
        }
    }

    #[test]
    fn chain_id_of_one_layer_is_its_diff_id() {
        let a = DiffId::from_bytes(*Digest::of(b"a").as_bytes());
        let b = DiffId::from_bytes(*Digest::of(b"b").as_bytes());
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(&[a]).unwrap().as_bytes(), a.as_bytes());
        let two = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(ChainId::of(&[a, b]).unwrap().as_bytes(), two.as_bytes());
    }

    #[test]
    fn writer_hashes_what_passes() {
        let mut writer = DigestWriter::new(Vec::new());
        writer.write_all(b"hel").unwrap();
        writer.write_all(b"lo").unwrap();
        let (bytes, digest, count) = writer.finish();
        assert_eq!(
            (bytes.as_slice(), digest, count),
            (&b"hello"[..], Digest::of(b"hello"), 5)
        );
    }
}

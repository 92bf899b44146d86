//! Compressed forms of layers.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use stagewright_digest::{DiffId, Digest, DigestWriter, LayerId};
use stagewright_layer::{
    Codec, Compression, Compressor, EntryPath, LayerIndex, Mtime, WrittenLayer, decompress,
};
use stagewright_store::{CompressedBlob, LayerPart};

use crate::error::SnapshotError;
use crate::snapshots::Snapshots;
use crate::tree::TreeLayer;

/// What is said of a tar that has another digest than it had.
const WRONG_TAR: &str = "its tar is not the one that was recorded";

/// A compressed form of a layer whose times were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClampedBlob {
    /// The name of its tar, which is not the layer's own.
    pub diff_id: DiffId,
    /// The blob.
    pub blob: CompressedBlob,
}

impl Snapshots {
    /// Returns a compressed form of a layer as a blob of the store, and makes it if it is missing:
    /// once per layer and codec.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be compressed.
    pub fn compressed(&self, id: &LayerId, codec: Codec) -> Result<CompressedBlob, SnapshotError> {
        if matches!(id, LayerId::Pulled(_)) && self.compressed_of(id, codec)?.is_none() {
            // Only the original bytes have the name that the image gives them.
            self.packed(id)?;
        }
        self.once(id, codec, || {
            let layer = self.layer(id)?;
            match layer.packed_path() {
                Some(tar) => self.compress(&tar, codec, layer.record.diff_id.as_ref(), id),
                None => self.pack_compressed(id, codec),
            }
        })
    }

    /// Returns a compressed form of a layer in which nothing is later than `latest`, in seconds since
    /// 1970, as a blob of the store: for images that are the same whenever they are built. The
    /// layer itself keeps its times. Made once per layer, codec and time.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be packed or compressed.
    pub fn compressed_until(
        &self,
        id: &LayerId,
        codec: Codec,
        latest: i64,
    ) -> Result<ClampedBlob, SnapshotError> {
        let prefix = format!("{}{CLAMPED}{latest}-", codec_name(codec));
        let known = || -> Result<Option<ClampedBlob>, SnapshotError> {
            for blob in self.layer(id)?.record.compressed {
                let diff_id = blob
                    .codec
                    .strip_prefix(&prefix)
                    .and_then(|text| text.parse().ok());
                if let Some(diff_id) = diff_id
                    && self.store().blob(&blob.digest)?.is_some()
                {
                    return Ok(Some(ClampedBlob { diff_id, blob }));
                }
            }
            Ok(None)
        };
        if let Some(clamped) = known()? {
            return Ok(clamped);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(clamped) = known()? {
            return Ok(clamped);
        }
        let layer = clamped(&self.tree_layer(id)?, latest)?;
        let (written, digest, bytes) = self.compress_layer(&layer, codec)?;
        let name = format!("{prefix}{}", written.diff_id);
        let blob = self.keep_compressed(id, name, codec, (digest, bytes))?;
        Ok(ClampedBlob {
            diff_id: written.diff_id,
            blob,
        })
    }

    /// Returns another compressed form of a layer that came compressed, as a blob of the store, and
    /// makes it if it is missing. The tar inside is the same.
    ///
    /// # Errors
    /// When the layer or the blob is not in the store, or can't be read or compressed.
    pub fn recompressed(
        &self,
        id: &LayerId,
        from: &CompressedBlob,
        codec: Codec,
    ) -> Result<CompressedBlob, SnapshotError> {
        self.once(id, codec, || {
            // What comes out of a damaged one would be another layer.
            self.store().check_blob(&from.digest)?;
            let missing = || io::Error::other(format!("blob {} is gone", from.digest));
            let stored = self.store().blob(&from.digest)?;
            let path = stored.ok_or_else(|| SnapshotError::Draft(missing()))?.path;
            let file = fs::File::open(path).map_err(SnapshotError::Draft)?;
            let mut plain = decompress(BufReader::with_capacity(1 << 17, file))?;
            self.compress_from(&mut plain, codec, None)
        })
    }

    /// Returns a layer as a codec compresses it, and has `make` write the blob if it is missing.
    fn once(
        &self,
        id: &LayerId,
        codec: Codec,
        make: impl FnOnce() -> Result<(Digest, u64), SnapshotError>,
    ) -> Result<CompressedBlob, SnapshotError> {
        if let Some(blob) = self.compressed_of(id, codec)? {
            return Ok(blob);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(blob) = self.compressed_of(id, codec)? {
            return Ok(blob);
        }
        self.keep_compressed(id, codec_name(codec), codec, make()?)
    }

    /// Records a compressed form of a layer under a name.
    fn keep_compressed(
        &self,
        id: &LayerId,
        name: String,
        codec: Codec,
        (digest, bytes): (Digest, u64),
    ) -> Result<CompressedBlob, SnapshotError> {
        let blob = CompressedBlob {
            codec: name,
            digest,
            bytes,
            media_type: media_type(codec).to_owned(),
        };
        self.store()
            .update_record(id, |record| record.compressed.push(blob.clone()))?;
        Ok(blob)
    }

    /// Compresses a layer that is not packed while it is being packed: its tar is never written.
    fn pack_compressed(&self, id: &LayerId, codec: Codec) -> Result<(Digest, u64), SnapshotError> {
        let layer = self.tree_layer(id)?;
        let (written, digest, bytes) = self.compress_layer(&layer, codec)?;
        let known = self.layer(id)?.record.diff_id;
        if known.is_some_and(|known| known != written.diff_id) {
            self.keeper(id).set_aside(LayerPart::Whole, WRONG_TAR);
            return Err(SnapshotError::DamagedTar);
        }
        self.note_tar(id, &written)?;
        Ok((digest, bytes))
    }

    fn compress_layer(
        &self,
        layer: &TreeLayer,
        codec: Codec,
    ) -> Result<(WrittenLayer<()>, Digest, u64), SnapshotError> {
        let mut writer = Compressor::new(self.store().blob_writer()?, codec, self.threads())?;
        let written = self.agent().pack(layer, &mut writer)?;
        let blob = writer.finish().map_err(SnapshotError::Draft)?;
        let (digest, bytes) = blob.commit(None)?;
        Ok((written, digest, bytes))
    }

    /// Compresses a tar; one that was stored is checked against its name.
    fn compress(
        &self,
        tar: &Path,
        codec: Codec,
        expected: Option<&DiffId>,
        id: &LayerId,
    ) -> Result<(Digest, u64), SnapshotError> {
        let mut tar = fs::File::open(tar).map_err(SnapshotError::Draft)?;
        self.compress_from(&mut tar, codec, expected)
            .inspect_err(|error| {
                if matches!(error, SnapshotError::DamagedTar) {
                    self.keeper(id).set_aside(LayerPart::Packed, WRONG_TAR);
                }
            })
    }

    fn compress_from(
        &self,
        tar: &mut impl Read,
        codec: Codec,
        expected: Option<&DiffId>,
    ) -> Result<(Digest, u64), SnapshotError> {
        let mut writer = Compressor::new(self.store().blob_writer()?, codec, self.threads())?;
        let mut read = DigestWriter::new(io::sink());
        copy(tar, &mut writer, expected.map(|_| &mut read)).map_err(SnapshotError::Draft)?;
        let (_, found, _) = read.finish();
        if expected.is_some_and(|expected| found.as_bytes() != expected.as_bytes()) {
            return Err(SnapshotError::DamagedTar);
        }
        Ok(writer
            .finish()
            .map_err(SnapshotError::Draft)?
            .commit(None)?)
    }

    fn compressed_of(
        &self,
        id: &LayerId,
        codec: Codec,
    ) -> Result<Option<CompressedBlob>, SnapshotError> {
        let name = codec_name(codec);
        for blob in self.layer(id)?.record.compressed {
            if blob.codec == name && self.store().blob(&blob.digest)?.is_some() {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }
}

/// Returns a layer with the times that are too late set to the latest that may be.
fn clamped(layer: &TreeLayer, latest: i64) -> Result<TreeLayer, SnapshotError> {
    let (index, _) = index_until(&layer.index, Mtime::seconds(latest))?;
    Ok(TreeLayer {
        index: Arc::new(index),
        ..layer.clone()
    })
}

/// Returns an index with the times that are too late set to the latest that may be, and the paths
/// that it was done to.
pub(crate) fn index_until(
    index: &LayerIndex,
    latest: Mtime,
) -> Result<(LayerIndex, Vec<EntryPath>), SnapshotError> {
    let mut records = index.records().to_vec();
    let mut changed = Vec::new();
    for record in &mut records {
        let mtime = &mut record.entry.metadata.mtime;
        if *mtime > latest {
            *mtime = latest;
            changed.push(record.entry.path.clone());
        }
    }
    let index = LayerIndex::from_records(records).map_err(SnapshotError::Entries)?;
    Ok((index, changed))
}

/// Marks the record of a compressed form whose times were changed; after it come the latest time
/// and the name of the tar.
const CLAMPED: &str = "-until-";

/// Returns whether a compressed form is of the layer's own tar.
pub(crate) fn is_the_layer(blob: &CompressedBlob) -> bool {
    !blob.codec.contains(CLAMPED)
}

/// How a codec is called in the record of a layer. Names the compressor too, so that another one
/// makes other blobs.
fn codec_name(codec: Codec) -> String {
    match codec {
        Codec::Uncompressed => "uncompressed".to_owned(),
        Codec::Gzip { level } => format!("gzip-{level}"),
        Codec::Zstd { level } => format!("zstd-{level}"),
    }
}

/// The media types of layers (image specification, "Layer Media Types").
fn media_type(codec: Codec) -> &'static str {
    match codec.compression() {
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    }
}

/// Copies in large pieces, and shows them to another who wants to see them.
fn copy(
    reader: &mut impl Read,
    writer: &mut impl Write,
    mut seen: Option<&mut impl Write>,
) -> io::Result<()> {
    let mut piece = vec![0; 1 << 17];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if let Some(seen) = &mut seen {
                    seen.write_all(&piece[..count])?;
                }
                writer.write_all(&piece[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

//! Compressed forms of layers.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use stagewright_digest::{DiffId, Digest, DigestWriter, LayerId};
use stagewright_layer::{
    Codec, Compression, Compressor, ESTARGZ_SIZE_ANNOTATION, ESTARGZ_TOC_ANNOTATION, EntryPath,
    LayerIndex, Mtime, WrittenLayer, decompress, write_estargz,
};
use stagewright_store::{CompressedBlob, LayerPart};

use crate::error::SnapshotError;
use crate::pipe::pipe;
use crate::snapshots::Snapshots;
use crate::tree::TreeLayer;

/// What is said of a tar that has another digest than it had.
const WRONG_TAR: &str = "its tar is not the one that was recorded";

/// The form of a layer's blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobForm {
    /// The tar, compressed.
    Tar(Codec),
    /// Gzip with a table of contents, for runtimes that read single files of it.
    Estargz {
        /// From 0 to 9, as for gzip.
        level: u32,
    },
}

/// A blob of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The name of what is in it where that is not the layer's own tar: since times were changed, or
    /// a table of contents was added.
    pub diff_id: Option<DiffId>,
    /// The blob.
    pub blob: CompressedBlob,
}

impl LayerBlob {
    /// Returns a blob if it is one of a form, with the layer's own times or with none later than `latest`.
    #[must_use]
    pub fn of_form(blob: CompressedBlob, form: BlobForm, latest: Option<i64>) -> Option<Self> {
        let name = form_name(form);
        let prefix = match (latest, form) {
            (Some(latest), _) => format!("{name}{CLAMPED}{latest}-"),
            (None, BlobForm::Estargz { .. }) => format!("{name}{WITH_TABLE}"),
            (None, BlobForm::Tar(_)) => {
                return (blob.codec == name).then_some(Self {
                    diff_id: None,
                    blob,
                });
            }
        };
        let diff_id = blob.codec.strip_prefix(prefix.as_str())?.parse().ok()?;
        // One that came with a cache whose manifest does not name its table is of no use.
        let named = blob.annotations.contains_key(ESTARGZ_TOC_ANNOTATION);
        (named || matches!(form, BlobForm::Tar(_))).then_some(Self {
            diff_id: Some(diff_id),
            blob,
        })
    }
}

/// A blob that was written.
struct WrittenBlob {
    digest: Digest,
    bytes: u64,
    /// Of eStargz: the name of what is in it, and what its descriptor says.
    estargz: Option<(DiffId, BTreeMap<String, String>)>,
}

impl Snapshots {
    /// Returns a form of a layer as a blob of the store, and makes it if it is missing: once per layer
    /// and form.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be compressed.
    pub fn compressed(&self, id: &LayerId, form: BlobForm) -> Result<LayerBlob, SnapshotError> {
        if matches!(id, LayerId::Pulled(_)) && self.known_blob(id, form, None)?.is_none() {
            // Only the original bytes have the name that the image gives them.
            self.packed(id)?;
        }
        self.once(id, form, || {
            let layer = self.layer(id)?;
            match layer.packed_path() {
                Some(tar) => self.compress(&tar, form, layer.record.diff_id.as_ref(), id),
                None => self.pack_compressed(id, form),
            }
        })
    }

    /// Returns a form of a layer in which nothing is later than `latest`, in seconds since
    /// 1970, as a blob of the store: for images that are the same whenever they are built. The
    /// layer itself keeps its times. Made once per layer, form and time.
    ///
    /// # Errors
    /// When the layer is not in the store, or can't be packed or compressed.
    pub fn compressed_until(
        &self,
        id: &LayerId,
        form: BlobForm,
        latest: i64,
    ) -> Result<LayerBlob, SnapshotError> {
        if let Some(clamped) = self.known_blob(id, form, Some(latest))? {
            return Ok(clamped);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(clamped) = self.known_blob(id, form, Some(latest))? {
            return Ok(clamped);
        }
        let layer = clamped(&self.tree_layer(id)?, latest)?;
        let (written, blob) = self.compress_layer(&layer, form)?;
        let diff_id = match &blob.estargz {
            Some((diff_id, _)) => *diff_id,
            None => written.diff_id,
        };
        let name = format!("{}{CLAMPED}{latest}-{diff_id}", form_name(form));
        let blob = self.keep_blob(id, name, form, blob)?;
        Ok(LayerBlob {
            diff_id: Some(diff_id),
            blob,
        })
    }

    /// Returns another form of a layer that came compressed, as a blob of the store, and
    /// makes it if it is missing. The tar inside is the same.
    ///
    /// # Errors
    /// When the layer or the blob is not in the store, or can't be read or compressed.
    pub fn recompressed(
        &self,
        id: &LayerId,
        from: &CompressedBlob,
        form: BlobForm,
    ) -> Result<LayerBlob, SnapshotError> {
        self.once(id, form, || {
            // What comes out of a damaged one would be another layer.
            self.store().check_blob(&from.digest)?;
            let missing = || io::Error::other(format!("blob {} is gone", from.digest));
            let stored = self.store().blob(&from.digest)?;
            let path = stored.ok_or_else(|| SnapshotError::Draft(missing()))?.path;
            let file = fs::File::open(path).map_err(SnapshotError::Draft)?;
            let mut plain = decompress(BufReader::with_capacity(1 << 17, file))?;
            self.compress_from(&mut plain, form, None)
        })
    }

    /// Returns a layer in a form, and has `make` write the blob if it is missing.
    fn once(
        &self,
        id: &LayerId,
        form: BlobForm,
        make: impl FnOnce() -> Result<WrittenBlob, SnapshotError>,
    ) -> Result<LayerBlob, SnapshotError> {
        if let Some(known) = self.known_blob(id, form, None)? {
            return Ok(known);
        }
        let _making = self.store().lock_making(id)?;
        if let Some(known) = self.known_blob(id, form, None)? {
            return Ok(known);
        }
        let written = make()?;
        let diff_id = written.estargz.as_ref().map(|(diff_id, _)| *diff_id);
        let name = match diff_id {
            None => form_name(form),
            Some(diff_id) => format!("{}{WITH_TABLE}{diff_id}", form_name(form)),
        };
        let blob = self.keep_blob(id, name, form, written)?;
        Ok(LayerBlob { diff_id, blob })
    }

    /// Records a blob of a layer under the name of its form.
    fn keep_blob(
        &self,
        id: &LayerId,
        name: String,
        form: BlobForm,
        written: WrittenBlob,
    ) -> Result<CompressedBlob, SnapshotError> {
        let annotations = written.estargz.map(|(_, annotations)| annotations);
        let blob = CompressedBlob {
            codec: name,
            digest: written.digest,
            bytes: written.bytes,
            media_type: media_type(form).to_owned(),
            annotations: annotations.unwrap_or_default(),
        };
        self.store()
            .update_record(id, |record| record.compressed.push(blob.clone()))?;
        Ok(blob)
    }

    /// Finds a form of a layer, with its own times or with none later than `latest`.
    fn known_blob(
        &self,
        id: &LayerId,
        form: BlobForm,
        latest: Option<i64>,
    ) -> Result<Option<LayerBlob>, SnapshotError> {
        for blob in self.layer(id)?.record.compressed {
            if let Some(known) = LayerBlob::of_form(blob, form, latest)
                && self.store().blob(&known.blob.digest)?.is_some()
            {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Compresses a layer that is not packed while it is being packed: its tar is never written.
    fn pack_compressed(&self, id: &LayerId, form: BlobForm) -> Result<WrittenBlob, SnapshotError> {
        let layer = self.tree_layer(id)?;
        let (written, blob) = self.compress_layer(&layer, form)?;
        let known = self.layer(id)?.record.diff_id;
        if known.is_some_and(|known| known != written.diff_id) {
            self.keeper(id).set_aside(LayerPart::Whole, WRONG_TAR);
            return Err(SnapshotError::DamagedTar);
        }
        self.note_tar(id, &written)?;
        Ok(blob)
    }

    fn compress_layer(
        &self,
        layer: &TreeLayer,
        form: BlobForm,
    ) -> Result<(WrittenLayer<()>, WrittenBlob), SnapshotError> {
        let level = match form {
            BlobForm::Tar(codec) => {
                let blob = self.store().blob_writer()?;
                let mut writer = Compressor::new(blob, codec, self.threads())?;
                let written = self.agent().pack(layer, &mut writer)?;
                let (digest, bytes) = writer
                    .finish()
                    .map_err(SnapshotError::Draft)?
                    .commit(None)?;
                let blob = WrittenBlob {
                    digest,
                    bytes,
                    estargz: None,
                };
                return Ok((written, blob));
            }
            BlobForm::Estargz { level } => level,
        };
        // What writes eStargz reads a tar: it does so on another thread.
        let (mut tar, reader) = pipe();
        std::thread::scope(|scope| {
            let made = scope.spawn(move || self.estargz(&mut { reader }, level, None));
            let packed = self.agent().pack(layer, &mut tar);
            let packed = packed.and_then(|packed| {
                tar.flush().map_err(SnapshotError::Draft)?;
                Ok(packed)
            });
            drop(tar);
            let made = made.join().map_err(|_| {
                SnapshotError::Draft(io::Error::other("the thread that compresses ended early"))
            })?;
            // A packer that nobody reads fails for that alone.
            match (packed, made) {
                (Ok(packed), Ok(made)) => Ok((packed, made)),
                (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            }
        })
    }

    /// Compresses a tar; one that was stored is checked against its name.
    fn compress(
        &self,
        tar: &Path,
        form: BlobForm,
        expected: Option<&DiffId>,
        id: &LayerId,
    ) -> Result<WrittenBlob, SnapshotError> {
        let mut tar = fs::File::open(tar).map_err(SnapshotError::Draft)?;
        self.compress_from(&mut tar, form, expected)
            .inspect_err(|error| {
                if matches!(error, SnapshotError::DamagedTar) {
                    self.keeper(id).set_aside(LayerPart::Packed, WRONG_TAR);
                }
            })
    }

    fn compress_from(
        &self,
        tar: &mut dyn Read,
        form: BlobForm,
        expected: Option<&DiffId>,
    ) -> Result<WrittenBlob, SnapshotError> {
        let codec = match form {
            BlobForm::Tar(codec) => codec,
            BlobForm::Estargz { level } => {
                let mut tar = BufReader::with_capacity(1 << 17, tar);
                return self.estargz(&mut tar, level, expected);
            }
        };
        let mut writer = Compressor::new(self.store().blob_writer()?, codec, self.threads())?;
        let mut read = DigestWriter::new(io::sink());
        copy(tar, &mut writer, expected.map(|_| &mut read)).map_err(SnapshotError::Draft)?;
        let (_, found, _) = read.finish();
        if expected.is_some_and(|expected| found.as_bytes() != expected.as_bytes()) {
            return Err(SnapshotError::DamagedTar);
        }
        let (digest, bytes) = writer
            .finish()
            .map_err(SnapshotError::Draft)?
            .commit(None)?;
        Ok(WrittenBlob {
            digest,
            bytes,
            estargz: None,
        })
    }

    fn estargz(
        &self,
        tar: &mut dyn Read,
        level: u32,
        expected: Option<&DiffId>,
    ) -> Result<WrittenBlob, SnapshotError> {
        let written = write_estargz(tar, self.store().blob_writer()?, level, self.threads())?;
        if expected.is_some_and(|expected| *expected != written.tar) {
            return Err(SnapshotError::DamagedTar);
        }
        let annotations = BTreeMap::from([
            (ESTARGZ_TOC_ANNOTATION.to_owned(), written.toc.to_string()),
            (
                ESTARGZ_SIZE_ANNOTATION.to_owned(),
                written.bytes.to_string(),
            ),
        ]);
        let (digest, bytes) = written.writer.commit(None)?;
        Ok(WrittenBlob {
            digest,
            bytes,
            estargz: Some((written.diff_id, annotations)),
        })
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

/// Marks the record of a form that has a table of contents; after it comes the name of what is in it.
const WITH_TABLE: &str = "-table-";

/// Returns whether a compressed form is of the layer's own tar.
pub(crate) fn is_the_layer(blob: &CompressedBlob) -> bool {
    !blob.codec.contains(CLAMPED) && !blob.codec.contains(WITH_TABLE)
}

/// How a form is called in the record of a layer. Names the compressor too, so that another one
/// makes other blobs: the second for gzip stores what does not become shorter.
fn form_name(form: BlobForm) -> String {
    match form {
        BlobForm::Tar(Codec::Uncompressed) => "uncompressed".to_owned(),
        BlobForm::Tar(Codec::Gzip { level }) => format!("gzip2-{level}"),
        BlobForm::Tar(Codec::Zstd { level }) => format!("zstd-{level}"),
        BlobForm::Estargz { level } => format!("estargz2-{level}"),
    }
}

/// The media types of layers (image specification, "Layer Media Types").
fn media_type(form: BlobForm) -> &'static str {
    let compression = match form {
        BlobForm::Tar(codec) => codec.compression(),
        BlobForm::Estargz { .. } => Compression::Gzip,
    };
    match compression {
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    }
}

/// Copies in large pieces, and shows them to another who wants to see them.
fn copy(
    reader: &mut dyn Read,
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

//! Layers of blobs that were downloaded.

use std::collections::BTreeMap;
use std::io::{self, BufReader};

use fs_err as fs;
use stagewright_digest::LayerId;
use stagewright_layer::{ESTARGZ_SIZE_ANNOTATION, ESTARGZ_TOC_ANNOTATION};
use stagewright_oci::Descriptor;
use stagewright_snapshot::{Forms, Snapshots};
use stagewright_store::{CompressedBlob, Store};

use crate::error::StepError;
use crate::images::{MissingLayer, PULLED_CODEC};

/// Makes a layer of a blob. Those of base images become directories: what needs a
/// base image's files mounts them. Those of caches are exported or copied from as often.
pub(crate) fn import_from(
    snapshots: &Snapshots,
    missing: &MissingLayer,
    open: impl FnOnce() -> io::Result<Box<dyn io::BufRead + Send>>,
) -> Result<(), StepError> {
    match &missing.id {
        LayerId::Pulled(diff_id) => snapshots.import(diff_id, Forms::UNPACKED, open),
        LayerId::Made(content) => snapshots.import_made(content, Forms::PACKED, open),
    }?;
    Ok(())
}

/// Makes a layer of a blob that is stored.
pub(crate) fn import(
    store: &Store,
    snapshots: &Snapshots,
    missing: &MissingLayer,
) -> Result<(), StepError> {
    let digest = missing.descriptor.digest;
    let open = || -> io::Result<Box<dyn io::BufRead + Send>> {
        let blob = store.blob(&digest).map_err(io::Error::other)?;
        let blob = blob.ok_or_else(|| io::Error::other(format!("blob {digest} is gone")))?;
        let file = fs::File::open(blob.path)?;
        Ok(Box::new(BufReader::with_capacity(1 << 17, file)))
    };
    if let Err(error) = import_from(snapshots, missing, open) {
        // If it is the blob that is damaged it is set aside, and downloaded again the next time.
        store.check_blob(&digest)?;
        return Err(error);
    }
    note_blob(store, missing)
}

/// Records that a blob is a form of its layer.
pub(crate) fn note_blob(store: &Store, missing: &MissingLayer) -> Result<(), StepError> {
    let MissingLayer {
        id,
        descriptor,
        codec,
        ..
    } = missing;
    let digest = descriptor.digest;
    store.update_record(id, |record| {
        if record.compressed.iter().all(|blob| blob.digest != digest) {
            record.compressed.push(CompressedBlob {
                codec: codec.clone(),
                ..pulled_blob(descriptor)
            });
        }
    })?;
    Ok(())
}

/// Returns the form in which a layer comes that a descriptor is of.
pub fn pulled_blob(descriptor: &Descriptor) -> CompressedBlob {
    CompressedBlob {
        codec: PULLED_CODEC.to_owned(),
        digest: descriptor.digest,
        bytes: descriptor.size,
        media_type: descriptor.media_type.clone(),
        annotations: kept_annotations(descriptor),
    }
}

/// Returns what a descriptor says that makes the blob readable in parts: it goes where the blob goes.
fn kept_annotations(descriptor: &Descriptor) -> BTreeMap<String, String> {
    let kept = [ESTARGZ_TOC_ANNOTATION, ESTARGZ_SIZE_ANNOTATION];
    let annotations = descriptor.annotations.iter();
    annotations
        .filter(|(key, _)| kept.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

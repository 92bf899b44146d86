//! The manifest that carries the attestations of a platform, beside the platform's in an index
//! (BuildKit's "Image Attestation Storage").

use std::collections::BTreeMap;

use serde_json::json;
use stagewright_digest::Digest;
use stagewright_oci::{
    ATTESTATION_TYPE_KEY, Descriptor, Manifest, OutgoingBlob, OutgoingPlatform, Platform,
    Reference, media_type,
};

use super::attestation::Attestation;
use super::statement::{image_subjects, statement};
use crate::error::{Error, ErrorKind};
use crate::image::Image;

/// Names the manifest that the attestations are about, in the index.
const REFERENCE_DIGEST_KEY: &str = "vnd.docker.reference.digest";
/// What kind of manifest it is, in the index.
const ATTESTATION_MANIFEST: &str = "attestation-manifest";
/// The annotation of a statement that says what kind of predicate it has.
pub(crate) const PREDICATE_TYPE_KEY: &str = "in-toto.io/predicate-type";
/// The media type of a statement.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The platform of what no runtime should take for an image.
const UNKNOWN: &str = "unknown";

/// Makes the manifest of an image's attestations; nothing for an image without any.
pub(crate) fn attestation_platform(
    image: &Image,
    of: &OutgoingPlatform,
    names: &[Reference],
) -> Result<Option<OutgoingPlatform>, Error> {
    if image.attestations().is_empty() {
        return Ok(None);
    }
    let (_, target) = of.manifest.encode();
    let platform = image.config().platform();
    let subjects = image_subjects(names, &platform, target.digest);
    let mut blobs = Vec::new();
    for attestation in image.attestations() {
        let predicate = predicate(image, attestation)?;
        let statement = statement(&attestation.predicate_type, predicate, &subjects);
        let mut blob = OutgoingBlob::bytes(IN_TOTO, statement.to_string().into_bytes());
        blob.descriptor.annotations.insert(
            PREDICATE_TYPE_KEY.to_owned(),
            attestation.predicate_type.clone(),
        );
        blobs.push(blob);
    }
    let diff_ids: Vec<String> = blobs
        .iter()
        .map(|blob| blob.descriptor.digest.to_string())
        .collect();
    // Tools that know nothing of attestations find an image config where one belongs.
    let config = json!({
        "architecture": UNKNOWN,
        "os": UNKNOWN,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = OutgoingBlob::bytes(media_type::OCI_CONFIG, config.to_string().into_bytes());
    let layers = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
    let manifest = Manifest::oci(config.descriptor.clone(), layers);
    blobs.insert(0, config);
    let platform = Platform {
        os: UNKNOWN.to_owned(),
        architecture: UNKNOWN.to_owned(),
        ..Platform::host()
    };
    Ok(Some(OutgoingPlatform {
        descriptor_annotations: BTreeMap::from([
            (REFERENCE_DIGEST_KEY.to_owned(), target.digest.to_string()),
            (
                ATTESTATION_TYPE_KEY.to_owned(),
                ATTESTATION_MANIFEST.to_owned(),
            ),
        ]),
        ..OutgoingPlatform::new(platform, manifest, blobs)
    }))
}

/// Says whether an entry of an index is what is attested of a manifest.
pub(crate) fn is_about(entry: &Descriptor, manifest: &Digest) -> bool {
    let annotations = &entry.annotations;
    let reference = annotations.get(REFERENCE_DIGEST_KEY);
    annotations.contains_key(ATTESTATION_TYPE_KEY)
        && reference.is_some_and(|digest| digest.parse() == Ok(*manifest))
}

/// Reads the predicate of an attestation.
pub(crate) fn predicate(
    image: &Image,
    attestation: &Attestation,
) -> Result<serde_json::Value, Error> {
    let gone = || {
        let message = format!(
            "the attestation {} is gone from the store: build again",
            attestation.blob
        );
        Error::new(ErrorKind::Store, message)
    };
    let bytes = image
        .store()
        .read_blob(&attestation.blob)?
        .ok_or_else(gone)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

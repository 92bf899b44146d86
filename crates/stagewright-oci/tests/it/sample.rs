//! A small image to write and read.

use stagewright_digest::{DiffId, Digest};
use stagewright_oci::{
    Descriptor, ImageConfig, ImageSource, ImageSummary, Manifest, OutgoingBlob, OutgoingImage,
    OutgoingPlatform, Platform, Reference, media_type,
};

/// The text of the sample's only layer.
pub(crate) const LAYER: &[u8] = b"not really a tar";

pub(crate) fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

pub(crate) fn names(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn diff_id(layer: &[u8]) -> DiffId {
    DiffId::from_bytes(*Digest::of(layer).as_bytes())
}

/// One platform of an image with one uncompressed layer.
pub(crate) fn sample_platform(name: &str) -> OutgoingPlatform {
    let mut config = ImageConfig::for_platform(&platform(name));
    config.config.env.push("A=1".to_owned());
    config.rootfs.diff_ids.push(diff_id(LAYER));
    let config = OutgoingBlob::bytes(media_type::OCI_CONFIG, config.encode());
    let layer = OutgoingBlob::bytes(media_type::OCI_LAYER, LAYER.to_vec());
    let manifest = Manifest::oci(config.descriptor.clone(), vec![layer.descriptor.clone()]);
    OutgoingPlatform::new(platform(name), manifest, vec![config, layer])
}

pub(crate) fn sample(tags: &[&str]) -> OutgoingImage {
    OutgoingImage::single(sample_platform("linux/amd64"), names(tags))
}

/// Checks that an image is the sample, and that its layer can be read.
pub(crate) fn check_sample(source: &dyn ImageSource, summary: &ImageSummary) {
    assert_eq!(summary.config.config.env, ["A=1"]);
    assert_eq!(summary.layers.len(), 1);
    assert_eq!(summary.layers[0].diff_id, diff_id(LAYER));
    assert_eq!(read(source, &summary.layers[0].descriptor).unwrap(), LAYER);
}

pub(crate) fn read(
    source: &dyn ImageSource,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut source.open_blob(descriptor)?, &mut bytes)?;
    Ok(bytes)
}

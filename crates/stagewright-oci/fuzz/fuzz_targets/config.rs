//! Whatever comes as the config of an image: reading does not panic, what is accepted is written as it
//! was read, and a manifest of other layers is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_digest::Digest;
use stagewright_oci::{Descriptor, ImageConfig, Manifest, media_type, summarize};

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = ImageConfig::parse(bytes) else {
        return;
    };
    let written = config.encode();
    assert_eq!(ImageConfig::parse(&written).ok().as_ref(), Some(&config));
    let _ = config.platform().to_string();
    let layers = config.rootfs.diff_ids.len();
    for count in [layers, layers + 1] {
        let layer = Descriptor::of(media_type::OCI_LAYER_GZIP, b"x");
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, bytes),
            vec![layer; count],
        );
        let digest = Digest::of(bytes);
        let summary = summarize(digest, digest, &manifest, bytes);
        assert!(count == layers || summary.is_err());
    }
});

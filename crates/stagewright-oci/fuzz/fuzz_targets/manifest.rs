//! Whatever comes as a manifest or an index: reading does not panic, what is accepted is written as it
//! was read, and the platform that is chosen is one that was there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_oci::{Document, Platform, media_type};

/// What a registry may say of the type; the last says nothing.
const TYPES: [Option<&str>; 5] = [
    Some(media_type::OCI_MANIFEST),
    Some(media_type::OCI_INDEX),
    Some(media_type::DOCKER_MANIFEST),
    Some(media_type::DOCKER_MANIFEST_LIST),
    None,
];

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let media_type = TYPES[usize::from(kind) % TYPES.len()];
    match Document::parse(bytes, media_type) {
        Ok(Document::Manifest(manifest)) => {
            let (written, descriptor) = manifest.encode();
            let again = Document::parse(&written, Some(&descriptor.media_type));
            assert_eq!(again.ok(), Some(Document::Manifest(manifest)));
        }
        Ok(Document::Index(index)) => {
            let wanted: Platform = "linux/amd64".parse().unwrap();
            if let Ok(chosen) = index.select(&wanted) {
                assert!(index.manifests.contains(chosen));
            }
            let (written, descriptor) = index.encode();
            let again = Document::parse(&written, Some(&descriptor.media_type));
            assert_eq!(again.ok(), Some(Document::Index(index)));
        }
        Err(error) => drop(error.to_string()),
    }
});

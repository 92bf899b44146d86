//! Whatever is found where an index should be: decoding does not panic, and what it accepts is
//! encoded as it was. The checksum is mended, so that what lies behind it is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_layer::LayerIndex;

fuzz_target!(|body: &[u8]| {
    let checksum: [u8; 32] = blake3::hash(body).into();
    let stored = [b"SWLI", &1u32.to_le_bytes()[..], &checksum[..], body].concat();
    if let Ok(index) = LayerIndex::decode(&stored) {
        let _ = index.content_digest();
        assert_eq!(LayerIndex::decode(&index.encode()), Ok(index));
    }
    let _ = LayerIndex::decode(body);
});


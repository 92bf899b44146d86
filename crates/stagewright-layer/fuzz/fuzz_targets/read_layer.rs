//! Whatever comes as a layer: reading ends, does not panic, and what it accepts can be stored.

#![no_main]

use std::io::Read as _;

use libfuzzer_sys::fuzz_target;
use stagewright_layer::{IndexBuilder, LayerIndex, LayerItem, LayerReader, decompress};

/// Sparse files may be large; their holes are only read up to here.
const FILE_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plain) = decompress(bytes) else { return };
    let mut reader = LayerReader::new(plain.take(1 << 22));
    let mut builder = IndexBuilder::new();
    while let Ok(Some(item)) = reader.next() {
        let result = match item {
            LayerItem::File(mut file) if file.content_bytes() > FILE_BYTES_MAX => {
                let _ = std::io::copy(&mut (&mut file).take(FILE_BYTES_MAX), &mut std::io::sink());
                continue;
            }
            LayerItem::File(file) => match file.finish() {
                Ok((entry, data)) => builder.add(entry, Some(data)).map(drop),
                Err(_) => return,
            },
            LayerItem::Other(entry) => builder.add(entry, None).map(drop),
            LayerItem::Opaque(directory) => builder.mark_opaque(&directory),
        };
        if result.is_err() {
            return;
        }
    }
    if let Ok(index) = builder.finish() {
        let _ = index.content_digest();
        assert_eq!(LayerIndex::decode(&index.encode()), Ok(index));
    }
});

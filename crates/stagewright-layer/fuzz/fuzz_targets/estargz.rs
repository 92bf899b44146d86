//! Whatever comes as a layer that is to be written as eStargz: it is refused, or the same tar comes out
//! again, with the table of contents behind it.

#![no_main]

use std::io::Read as _;
use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use stagewright_layer::{decompress, write_estargz};

fuzz_target!(|tar: &[u8]| {
    let Ok(written) = write_estargz(tar, Vec::new(), 1, NonZeroUsize::MIN) else {
        return;
    };
    let mut plain = Vec::new();
    decompress(written.writer.as_slice())
        .expect("because it is gzip")
        .read_to_end(&mut plain)
        .expect("because it was just written");
    assert!(plain.starts_with(tar));
    assert_eq!(plain.len() as u64, written.bytes);
});

//! Whatever lies where rpm keeps a database of rpm's own format: it is read to its end, and lists no more than fits into it.
//! `tests/fixtures/rpm` has seeds.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

// The readers are private, and know nothing of their crate.
#[path = "../../src/attest/packages/rpm/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the crate uses more of it")]
mod rpm;

fuzz_target!(|file: &[u8]| {
    let found = rpm::read(rpm::Format::Ndb, Cursor::new(file), None);
    assert!(found.packages.len() <= file.len() / 44);
});

//! Whatever lies where rpm keeps a database of SQLite, with a log beside it: it is read to its end, and lists no more
//! than fits into it. The last two bytes say where the log begins. `tests/fixtures/rpm` has seeds.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

// The readers are private, and know nothing of their crate.
#[path = "../../src/attest/packages/rpm/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the crate uses more of it")]
mod rpm;

fuzz_target!(|bytes: &[u8]| {
    let (files, log) = match bytes.split_last_chunk::<2>() {
        Some((files, log)) => (files, usize::from(u16::from_le_bytes(*log)) * 4),
        None => (bytes, 0),
    };
    let (file, log) = match log {
        0 => (files, None),
        log => {
            let (file, log) = files.split_at(log.min(files.len()));
            (file, Some(Cursor::new(log)))
        }
    };
    let found = rpm::read(rpm::Format::Sqlite, Cursor::new(file), log);
    assert!(found.packages.len() <= bytes.len() / 44);
});

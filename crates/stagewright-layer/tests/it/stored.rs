//! The stored form of indexes.

use stagewright_digest::ContentDigest;
use stagewright_layer::{Entry, EntryKind, EntryPath, IndexError, LayerIndex, Metadata, Record};

fn index(count: usize) -> LayerIndex {
    let records = (0..count).map(|number| {
        let path = format!("usr/share/folder-{}/file-{number}", number / 100);
        let content = ContentDigest::of(path.as_bytes());
        let metadata = Metadata::with_mode(0o644);
        let kind = EntryKind::File { bytes: 5, content };
        Record::from(Entry {
            path: EntryPath::parse(path.as_bytes()).unwrap(),
            kind,
            metadata,
        })
    });
    LayerIndex::from_records(records.collect()).unwrap()
}

#[test]
fn every_flipped_bit_is_found() {
    let stored = index(3).encode();
    for at in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[at] ^= 0x10;
        assert!(LayerIndex::decode(&damaged).is_err(), "byte {at}");
        assert!(LayerIndex::decode(&stored[..at]).is_err(), "cut at {at}");
    }
    let mut future = stored;
    future[4] = 9;
    assert_eq!(
        LayerIndex::decode(&future),
        Err(IndexError::Version { found: 9 })
    );
}

#[test]
fn paths_are_stored_once() {
    let stored = index(20_000).encode();
    assert!(stored.len() < 20_000 * 64, "{} bytes", stored.len());
    assert_eq!(LayerIndex::decode(&stored).unwrap(), index(20_000));
}

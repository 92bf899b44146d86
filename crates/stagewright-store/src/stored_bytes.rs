//! Whatever bytes are found in the store, reading them ends in what was written or in nothing.

use fs_err as fs;
use proptest::collection::vec;
use proptest::prelude::*;
use stagewright_digest::{ActionKey, LayerId};

use crate::files::{self, Checked};
use crate::journal::{self, ActionResult};
use crate::{Layer, Store, StoreOptions};

fn store() -> (tempfile::TempDir, Store) {
    // In memory where there is one: what is durable is not asked here.
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = folder.path().join("store");
    let store = Store::open(StoreOptions { path }).unwrap();
    (folder, store)
}

/// Keys of one shard.
fn key(n: u8) -> ActionKey {
    let mut bytes = [0; 32];
    bytes[31] = n;
    ActionKey::from_bytes(bytes)
}

fn result(n: u64) -> ActionResult {
    ActionResult {
        duration_ms: n,
        ..ActionResult::default()
    }
}

/// What happens to a file.
#[derive(Debug, Clone)]
enum Harm {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, value) => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + usize::from(*count)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, value)| Harm::Set(at, value)),
        at().prop_map(Harm::Cut),
        (at(), vec(any::<u8>(), 1..60)).prop_map(|(at, more)| Harm::Insert(at, more)),
        (at(), any::<u8>()).prop_map(|(at, count)| Harm::Remove(at, count)),
    ]
}

proptest! {
    #[test]
    fn any_bytes_can_be_a_shard(bytes in vec(any::<u8>(), 0..400)) {
        let key = bytes.get(12..44).and_then(|key| key.try_into().ok()).unwrap_or([0; 32]);
        let _ = journal::last_of_key(&bytes, &ActionKey::from_bytes(key));
        let _ = journal::is_sound(&bytes);
    }

    #[test]
    fn a_shard_that_was_harmed_says_nothing_that_was_not_written(
        records in vec((0..4_u8, 0..1000_u64), 1..12),
        harms in vec(harm(), 1..4),
    ) {
        let mut bytes = Vec::new();
        for (n, value) in &records {
            bytes.extend(journal::record(&key(*n), &result(*value)).unwrap());
        }
        prop_assert!(journal::is_sound(&bytes));
        let whole = bytes.clone();
        for harm in &harms {
            harm.apply(&mut bytes);
        }
        for n in 0..4 {
            let found = journal::last_of_key(&bytes, &key(n));
            if let Some(json) = found {
                let found: ActionResult = serde_json::from_slice(json).unwrap();
                let written = records.iter().any(|(key, value)| *key == n && result(*value) == found);
                prop_assert!(written, "{found:?}");
            }
        }
        // What is told to be sound has lost nothing but its end. Two harms can look like a crash.
        prop_assert!(harms.len() > 1 || !journal::is_sound(&bytes) || whole.starts_with(&bytes)
            || is_made_of_records(&bytes, &records));
    }

}

proptest! {
    // Each makes a store.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_file_with_a_checksum_is_what_was_written_or_damaged(
        content in vec(any::<u8>(), 0..200),
        harms in vec(harm(), 0..3),
    ) {
        let (_folder, store) = store();
        let path = store.path().join("documents/kind/name");
        store.publish_checked(&path, &content).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let whole = bytes.clone();
        for harm in &harms {
            harm.apply(&mut bytes);
        }
        fs::write(&path, &bytes).unwrap();
        match files::check(&path).unwrap() {
            Checked::Whole(found) => prop_assert!(found == content && bytes == whole),
            Checked::Damaged => prop_assert!(bytes != whole),
            // A file that was named before its bytes were on the disk is as none.
            Checked::Absent => prop_assert!(bytes.is_empty()),
        }
    }

    #[test]
    fn any_bytes_can_be_in_the_files_that_are_read_at_first(
        version in vec(any::<u8>(), 0..6),
        pending in vec(any::<u8>(), 0..200),
    ) {
        let (_folder, store) = store();
        fs::create_dir_all(store.path().join("index")).unwrap();
        fs::write(store.path().join("index/pending"), &pending).unwrap();
        prop_assert!(store.layer_uses().unwrap().is_empty());
        fs::write(store.path().join("version"), &version).unwrap();
        let path = store.path().to_owned();
        // Few of them are a version: the others are errors.
        let _ = Store::open(StoreOptions { path });
    }

    #[test]
    fn any_bytes_can_be_the_record_of_a_layer(bytes in vec(any::<u8>(), 0..200), checked: bool) {
        let (_folder, store) = store();
        let id: LayerId = format!("blake3:{}", "5".repeat(64)).parse().unwrap();
        let path = store.layer_directory(&id).join("record");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if checked {
            store.publish_checked(&path, &bytes).unwrap();
        } else {
            fs::write(&path, &bytes).unwrap();
        }
        let found: Vec<String> = store
            .verify(false, &|_: &Layer| Ok(Vec::new()))
            .unwrap()
            .damaged
            .into_iter()
            .map(|damage| damage.reason)
            .collect();
        // An empty record was named before its bytes were on the disk: the layer was never finished.
        let damaged = checked || !bytes.is_empty();
        prop_assert_eq!(found.len(), usize::from(damaged));
        prop_assert!(store.layer(&id).unwrap().is_none());
    }
}

/// Removing or repeating whole records leaves whole records.
fn is_made_of_records(bytes: &[u8], records: &[(u8, u64)]) -> bool {
    let frames: Vec<Vec<u8>> = records
        .iter()
        .map(|(n, value)| journal::record(&key(*n), &result(*value)).unwrap())
        .collect();
    let mut rest = bytes;
    while let Some(frame) = frames.iter().find(|frame| rest.starts_with(frame)) {
        rest = &rest[frame.len()..];
    }
    // The end may be cut off, which a crash does too.
    rest.len() < frames.iter().map(Vec::len).max().unwrap_or(0)
}

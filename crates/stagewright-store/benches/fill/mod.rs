//! Stores with many results.

use std::path::Path;

use stagewright_digest::{ActionKey, ContentDigest, LayerId};
use stagewright_store::{ActionResult, LayerRecord, Store, StoreOptions};

pub(crate) fn open(path: &Path) -> Store {
    let path = path.to_owned();
    Store::open(StoreOptions { path }).unwrap()
}

pub(crate) fn key(number: u64) -> ActionKey {
    ActionKey::from_bytes(*ContentDigest::of(&number.to_le_bytes()).as_bytes())
}

/// Makes so many results, each with a layer and with what explains it: the same for all, which is returned.
pub(crate) fn fill(store: &Store, results: u64) -> ActionResult {
    let layer = LayerId::Made(ContentDigest::of(b"layer"));
    let draft = store.layer_draft().unwrap();
    draft.publish(&layer, LayerRecord::default()).unwrap();
    let result = ActionResult {
        layer: Some(layer),
        parts: Some(store.put_parts(b"parts").unwrap()),
        ..ActionResult::default()
    };
    for number in 0..results {
        store.record_action(&key(number), &result).unwrap();
    }
    result
}

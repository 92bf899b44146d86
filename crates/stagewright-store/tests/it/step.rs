//! Steps for the tests: each leaves a log, a layer and a result.

use std::path::Path;

use fs_err as fs;
use stagewright_digest::{ActionKey, ContentDigest, LayerId};
use stagewright_store::{ActionResult, LayerRecord, Store, StoreOptions};

pub(crate) fn open(path: &Path) -> Store {
    let path = path.to_owned();
    Store::open(StoreOptions { path }).unwrap()
}

pub(crate) fn key(n: u64) -> ActionKey {
    ActionKey::from_bytes(*ContentDigest::of(&n.to_le_bytes()).as_bytes())
}

fn layer_id(n: u64) -> LayerId {
    LayerId::Made(ContentDigest::of(format!("layer {n}").as_bytes()))
}

/// One step: a log, a layer in its unpacked form, the result that names both.
pub(crate) fn write_step(store: &Store, n: u64) {
    let log = store.put_blob(format!("log {n}").as_bytes()).unwrap();
    let draft = store.layer_draft().unwrap();
    fs::create_dir(draft.fs()).unwrap();
    fs::write(draft.fs().join("file"), n.to_string()).unwrap();
    fs::write(draft.index(), format!("index {n}")).unwrap();
    draft.publish(&layer_id(n), LayerRecord::default()).unwrap();
    let result = ActionResult {
        layer: Some(layer_id(n)),
        log: Some(log),
        duration_ms: n,
        ..ActionResult::default()
    };
    store.record_action(&key(n), &result).unwrap();
}

pub(crate) fn check_step(store: &Store, n: u64) {
    let result = store.action(&key(n)).unwrap().expect("it was reported");
    assert_eq!(result.duration_ms, n);
    let log = store.read_blob(&result.log.unwrap()).unwrap().unwrap();
    assert_eq!(log, format!("log {n}").as_bytes());
    let layer = store.layer(&layer_id(n)).unwrap().unwrap();
    assert_eq!(
        fs::read_to_string(layer.index_path()).unwrap(),
        format!("index {n}")
    );
    let file = layer.unpacked_path().unwrap().join("file");
    assert_eq!(fs::read_to_string(file).unwrap(), n.to_string());
}

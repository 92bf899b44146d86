//! Fills a store with results of steps that nobody ran, to see what a store with many of them costs:
//! `fill STORE COUNT`. Best in memory: a disk takes its time to make each durable.

#![expect(clippy::unwrap_used, reason = "a tool for benches may stop")]

use stagewright_digest::{ActionKey, ContentDigest, LayerId};
use stagewright_store::{ActionResult, LayerRecord, Store, StoreOptions};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), Some(count)) = (arguments.next(), arguments.next()) else {
        panic!("usage: fill STORE COUNT");
    };
    let count: u64 = count.to_str().unwrap().parse().unwrap();
    let path = path.into();
    let store = Store::open(StoreOptions { path }).unwrap();
    let layer = LayerId::Made(ContentDigest::of(b"layer"));
    let draft = store.layer_draft().unwrap();
    draft.publish(&layer, LayerRecord::default()).unwrap();
    let result = ActionResult {
        layer: Some(layer),
        parts: Some(store.put_parts(b"parts").unwrap()),
        ..ActionResult::default()
    };
    for number in 0..count {
        let key = ActionKey::from_bytes(*ContentDigest::of(&number.to_le_bytes()).as_bytes());
        store.record_action(&key, &result).unwrap();
    }
}

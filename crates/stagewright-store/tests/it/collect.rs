//! Garbage collection: what goes, what stays, and that nobody notices.

use fs_err as fs;
use stagewright_digest::{ActionKey, ContentDigest, Digest, LayerId};
use stagewright_store::{
    ActionResult, CacheMountLease, CompressedBlob, DiskSpace, Item, ItemKind, LayerRecord,
    PlaceRecord, PruneOptions, Pruned, Sharing, SpaceBounds, Store, StoreError, TAG_KIND,
};
use std::collections::BTreeMap;

use crate::step::{key, open};

const ALL: PruneOptions = PruneOptions {
    all: true,
    max_used: None,
    min_free: None,
    reserved: None,
    used_before_unix_ms: None,
    kinds: Vec::new(),
    ids: Vec::new(),
    unless_running: false,
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    (folder, store)
}

fn id(n: u64) -> LayerId {
    LayerId::Made(ContentDigest::of(format!("layer {n}").as_bytes()))
}

/// A step with a layer in both forms and a compressed one.
fn step(store: &Store, n: u64) {
    let draft = store.layer_draft().unwrap();
    fs::create_dir(draft.fs()).unwrap();
    fs::write(draft.fs().join("file"), vec![b'x'; 50_000]).unwrap();
    fs::write(draft.packed(), vec![b'x'; 50_000]).unwrap();
    fs::write(draft.index(), "index").unwrap();
    let bytes = format!("compressed {n}");
    let digest = store.put_blob(bytes.as_bytes()).unwrap();
    let record = LayerRecord {
        content_bytes: 50_000,
        entries: 2,
        compressed: vec![CompressedBlob {
            codec: "gzip-6".to_owned(),
            digest,
            bytes: bytes.len() as u64,
            media_type: String::new(),
            annotations: BTreeMap::new(),
        }],
        ..LayerRecord::default()
    };
    draft.publish(&id(n), record).unwrap();
    let parts = store.put_parts(format!("parts {n}").as_bytes()).unwrap();
    let result = ActionResult {
        layer: Some(id(n)),
        parts: Some(parts),
        duration_ms: n,
        ..ActionResult::default()
    };
    store.record_action(&key(n), &result).unwrap();
}

fn has(store: &Store, n: u64) -> bool {
    let compressed = Digest::of(format!("compressed {n}").as_bytes());
    let found = store.action(&key(n)).unwrap().is_some();
    assert_eq!(store.layer(&id(n)).unwrap().is_some(), found);
    assert_eq!(store.blob(&compressed).unwrap().is_some(), found);
    found
}

fn tag(store: &Store, name: &str, layers: &[LayerId], config: Digest) {
    let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let document = serde_json::json!({ "config": config, "layers": layers, "name": name });
    store
        .put_document(TAG_KIND, name, document.to_string().as_bytes())
        .unwrap();
}

fn bytes_of(items: &[Item]) -> u64 {
    items.iter().map(|item| item.bytes).sum()
}

#[test]
fn the_least_recently_used_go_until_the_rest_fits() {
    let (_folder, store) = store();
    for n in 0..4 {
        step(&store, n);
    }
    let now = 1 << 45;
    for (age, n) in [1, 3, 0, 2].into_iter().enumerate() {
        store.note_use(&[id(n)], now + age as u64).unwrap();
    }
    let usage = store.usage().unwrap();
    assert_eq!((usage.layers.count, usage.blobs.count), (4, 4));
    let before = usage.bytes();
    let options = PruneOptions {
        max_used: Some(DiskSpace::Bytes(before - 150_000)),
        ..PruneOptions::default()
    };
    let pruned = store.prune(&options).unwrap();
    let went: Vec<String> = pruned.items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(went, [id(1).to_string(), id(3).to_string()]);
    assert_eq!(
        [0, 1, 2, 3].map(|n| has(&store, n)),
        [true, false, true, false]
    );
    assert_eq!(pruned.bytes, bytes_of(&pruned.items));
    assert!(store.usage().unwrap().bytes() <= before - 150_000);
    // There is nothing more to do.
    assert_eq!(store.prune(&options).unwrap().items, []);
}

#[test]
fn what_an_image_with_a_name_needs_stays() {
    let (_folder, store) = store();
    (0..3).for_each(|n| step(&store, n));
    let config = store.put_blob(b"config").unwrap();
    let other = store.put_blob(b"another config").unwrap();
    tag(&store, "app", &[id(0), id(2)], config);
    let usage = store.usage().unwrap();
    assert!(usage.shared_bytes() > usage.reclaimable_bytes());
    store.prune(&ALL).unwrap();
    assert_eq!([0, 1, 2].map(|n| has(&store, n)), [true, false, true]);
    assert!(store.blob(&config).unwrap().is_some());
    assert!(store.blob(&other).unwrap().is_none());
    store.remove_document(TAG_KIND, "app").unwrap();
    store.prune(&ALL).unwrap();
    assert_eq!(store.items().unwrap(), []);
}

#[test]
fn what_a_session_found_or_made_stays_while_it_lives() {
    let (_folder, store) = store();
    (0..3).for_each(|n| step(&store, n));
    let session = store.session();
    assert!(session.action(&key(1)).unwrap().is_some());
    step(&session, 7);
    // Asked for before it is made.
    assert!(session.layer(&id(8)).unwrap().is_none());
    step(&store, 8);
    store.prune(&ALL).unwrap();
    assert_eq!(
        [0, 1, 2, 7, 8].map(|n| store.layer(&id(n)).unwrap().is_some()),
        [false, true, false, true, true]
    );
    drop(session);
    store.prune(&ALL).unwrap();
    assert_eq!(store.items().unwrap(), []);
}

#[test]
fn filters_name_kinds_ids_and_times() {
    let (_folder, store) = store();
    (0..3).for_each(|n| step(&store, n));
    let now = 1 << 45;
    store.note_use(&[id(0), id(1), id(2)], now).unwrap();
    store.note_use(&[id(2)], now + 10).unwrap();
    drop(made(store.cache_mount("npm", Sharing::Shared, &|| false)));
    let went = |options: PruneOptions| -> Vec<String> {
        let pruned = store.prune(&options).unwrap();
        pruned.items.into_iter().map(|item| item.id).collect()
    };
    let none: [String; 0] = [];
    let of_kind = |kinds: &[ItemKind]| PruneOptions {
        kinds: kinds.to_vec(),
        ..PruneOptions::default()
    };
    assert_eq!(went(of_kind(&[ItemKind::BaseLayer])), none);
    assert_eq!(went(of_kind(&[ItemKind::CacheMount])), ["npm"]);
    let hex = id(0).to_string().trim_start_matches("blake3:").to_owned();
    let by_id = PruneOptions {
        ids: vec![hex[..12].to_owned()],
        ..PruneOptions::default()
    };
    assert_eq!(went(by_id), [id(0).to_string()]);
    let before = PruneOptions {
        used_before_unix_ms: Some(now + 5),
        ..PruneOptions::default()
    };
    assert_eq!(went(before), [id(1).to_string()]);
    assert_eq!([0, 1, 2].map(|n| has(&store, n)), [false, false, true]);
}

#[test]
fn what_was_collected_is_remembered_and_what_is_unknown_is_not() {
    let (_folder, store) = store();
    step(&store, 0);
    assert!(!store.was_evicted(&key(0)).unwrap());
    let place = PlaceRecord {
        key: key(0),
        parts: store.action(&key(0)).unwrap().unwrap().parts.unwrap(),
        stamps: None,
    };
    store.record_place("place", &place).unwrap();
    store.prune(&ALL).unwrap();
    assert!(store.was_evicted(&key(0)).unwrap());
    assert!(!store.was_evicted(&key(1)).unwrap());
    assert_eq!(
        store.parts(&place.parts).unwrap(),
        Some(b"parts 0".to_vec())
    );
    // What is made again is not evicted any more.
    step(&store, 0);
    assert!(!store.was_evicted(&key(0)).unwrap() && has(&store, 0));
}

fn made(lease: Result<Option<CacheMountLease>, StoreError>) -> CacheMountLease {
    let lease = lease.unwrap().unwrap();
    fs::create_dir(lease.path()).unwrap();
    lease
}

#[test]
fn a_cache_mount_that_a_step_uses_stays() {
    let (_folder, store) = store();
    let take = |id, sharing| store.cache_mount(id, sharing, &|| true).unwrap();
    let used = made(Ok(take("used", Sharing::Shared)));
    fs::write(used.path().join("file"), "kept").unwrap();
    let unused = made(Ok(take("unused", Sharing::Locked))).path().to_owned();
    // A step that died before it made it.
    drop(take("hollow", Sharing::Shared));
    store.prune(&ALL).unwrap();
    assert!(used.path().join("file").exists() && !unused.exists());
    drop(used);
    store.prune(&ALL).unwrap();
    assert_eq!(store.usage().unwrap().cache_mounts.count, 0);
    assert!(take("used", Sharing::Locked).is_some());
}

#[test]
fn what_dead_processes_left_goes() {
    let (_folder, store) = store();
    let path = store.path().to_owned();
    drop(store.try_lock_action(&key(0)).unwrap());
    let running = store.try_lock_action(&key(1)).unwrap().unwrap();
    drop(store.lock_making(&id(0)).unwrap());
    let making = store.lock_making(&id(1)).unwrap();
    fs::create_dir(path.join("tmp/dead")).unwrap();
    fs::write(path.join("tmp/dead.owner"), "").unwrap();
    store.prune(&PruneOptions::default()).unwrap();
    let count = |folder: &str| fs::read_dir(path.join(folder)).unwrap().count();
    assert_eq!((count("tmp"), count("locks"), count("layers")), (0, 1, 1));
    assert!(store.try_lock_action(&key(1)).unwrap().is_none());
    drop((running, making));
    assert!(store.try_lock_action(&key(1)).unwrap().is_some());
}

fn below(store: &Store, limit: u64) -> Option<Pruned> {
    let bounds = SpaceBounds {
        max_used_bytes: limit,
        ..SpaceBounds::default()
    };
    store.keep_within(&bounds).unwrap()
}

#[test]
fn a_disk_with_too_little_room_gets_some_and_is_not_looked_at_in_vain() {
    let (_folder, store) = store();
    let free = store.disk_room().unwrap().free_bytes;
    let short = |reserved_bytes| SpaceBounds {
        // Nobody has so much.
        min_free_bytes: 1 << 60,
        reserved_bytes,
        max_used_bytes: 0,
    };
    (0..4).for_each(|n| step(&store, n));
    for n in 0..4 {
        store.note_use(&[id(n)], (1 << 45) + n).unwrap();
    }
    let enough = SpaceBounds {
        min_free_bytes: free / 2,
        ..SpaceBounds::default()
    };
    assert_eq!(store.keep_within(&enough).unwrap(), None);
    let before = store.usage().unwrap().bytes();
    let reserved = short(before - 150_000);
    let pruned = store.keep_within(&reserved).unwrap().unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|n| has(&store, n)),
        [false, false, true, true],
        "{pruned:?}"
    );
    assert_eq!(store.keep_within(&reserved).unwrap(), None);
    let session = store.session();
    session.layer(&id(3)).unwrap();
    assert!(store.keep_within(&short(0)).unwrap().is_some());
    assert_eq!(
        [2, 3].map(|n| has(&store, n)),
        [false, true],
        "one is in use"
    );
    assert_eq!(store.keep_within(&short(0)).unwrap(), None);
    // Who needs room looks again at what was in use then.
    drop(session);
    let before_use = || store.keep_within_before_use(&short(0)).unwrap();
    assert!(before_use().is_some_and(|pruned| !pruned.items.is_empty()));
    assert!(!has(&store, 3));
    assert_eq!(before_use(), None);
}

#[test]
fn a_session_that_collects_keeps_what_it_used_alone() {
    let (_folder, store) = store();
    (0..4).for_each(|n| step(&store, n));
    let session = store.session();
    session.layer(&id(2)).unwrap();
    assert_eq!(session.usage().unwrap().layers.count, 4);
    let bounds = SpaceBounds {
        min_free_bytes: 1 << 60,
        ..SpaceBounds::default()
    };
    assert!(session.keep_within(&bounds).unwrap().is_some());
    assert_eq!(
        [0, 1, 2, 3].map(|n| has(&store, n)),
        [false, false, true, false]
    );
    step(&store, 3);
    session.prune(&ALL).unwrap();
    assert_eq!([2, 3].map(|n| has(&store, n)), [true, false]);
}

#[test]
fn room_is_made_by_halves_and_at_last_of_all() {
    let (_folder, store) = store();
    (0..4).for_each(|n| step(&store, n));
    for n in 0..4 {
        store.note_use(&[id(n)], (1 << 45) + n).unwrap();
    }
    let _ = store.make_room(0, false).unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|n| has(&store, n)),
        [false, false, true, true]
    );
    let session = store.session();
    session.layer(&id(3)).unwrap();
    let _ = store.make_room(0, true).unwrap();
    assert_eq!([2, 3].map(|n| has(&store, n)), [false, true]);
}

#[test]
fn the_limit_is_kept_and_is_not_looked_at_in_vain() {
    let (_folder, store) = store();
    step(&store, 0);
    let limit = store.usage().unwrap().bytes() + 250_000;
    assert_eq!(below(&store, limit), None);
    (1..4).for_each(|n| step(&store, n));
    let pruned = below(&store, limit).expect("it is more");
    assert!(!pruned.items.is_empty());
    assert!(store.usage().unwrap().bytes() <= limit);
    // All is needed now: there is nothing to gain until more comes.
    let session = store.session();
    for item in store.items().unwrap() {
        session.layer(&item.id.parse().unwrap()).unwrap();
    }
    assert!(below(&store, 1).is_some());
    assert_eq!(below(&store, 1), None);
}

/// What was not to be removed then may go for the limit's sake.
#[test]
fn a_collection_of_some_things_says_nothing_of_what_the_limit_can_reach() {
    for some in [
        PruneOptions {
            used_before_unix_ms: Some(1),
            ..ALL
        },
        PruneOptions {
            kinds: vec![ItemKind::CacheMount],
            ..ALL
        },
    ] {
        let (_folder, store) = store();
        (0..4).for_each(|n| step(&store, n));
        let limit = store.usage().unwrap().bytes() - 1000;
        let pruned = store.prune(&PruneOptions {
            max_used: Some(DiskSpace::Bytes(1)),
            ..some
        });
        assert_eq!(pruned.unwrap().items, []);
        assert!(below(&store, limit).is_some());
        assert!(store.usage().unwrap().bytes() <= limit);
    }
}

#[test]
fn a_cache_mount_that_grew_counts() {
    let (_folder, store) = store();
    assert_eq!(below(&store, 1_000_000), None);
    let mount = made(store.cache_mount("id", Sharing::Shared, &|| true));
    fs::write(mount.path().join("large"), vec![1; 2_000_000]).unwrap();
    assert_eq!(below(&store, 1_000_000), None, "it is in use");
    drop(mount);
    let pruned = below(&store, 1_000_000).expect("it is more");
    assert_eq!(pruned.items[0].kind, ItemKind::CacheMount);
}

/// Counts a builder as ended, also when it panics.
struct Ending<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Sessions build and read the same steps while everything that nobody uses is removed all the while.
#[test]
fn nothing_vanishes_under_its_users() {
    const BUILDERS: u64 = 6;
    const STEPS: u64 = 12;
    const ROUNDS_MAX: u64 = 10_000;
    let (_folder, store) = store();
    let path = store.path().to_owned();
    let removed = std::sync::atomic::AtomicU64::new(0);
    let seen = || removed.load(std::sync::atomic::Ordering::SeqCst) > 0;
    let building = std::sync::atomic::AtomicU64::new(BUILDERS);
    let running = || building.load(std::sync::atomic::Ordering::SeqCst) > 0;
    let build = |store: &Store, n: u64| {
        let _lock = store.lock_action(&key(n), &|| false).unwrap();
        if store.action(&key(n)).unwrap().is_none() {
            step(store, n);
        }
    };
    std::thread::scope(|scope| {
        for builder in 0..BUILDERS {
            let (path, building) = (&path, &building);
            scope.spawn(move || {
                let _ending = Ending(building);
                for round in 0..ROUNDS_MAX {
                    if round >= STEPS && seen() {
                        break;
                    }
                    let session = open(path).session();
                    let steps = [0, 1, 2].map(|n| (builder + round + n) % STEPS);
                    for n in steps {
                        build(&session, n);
                    }
                    for n in steps {
                        let layer = session.layer(&id(n)).unwrap().unwrap();
                        let file = layer.unpacked_path().unwrap().join("file");
                        assert_eq!(fs::read(file).unwrap().len(), 50_000);
                        assert!(has(&session, n));
                    }
                }
            });
        }
        while running() {
            let count = store.prune(&ALL).unwrap().items.len() as u64;
            removed.fetch_add(count, std::sync::atomic::Ordering::SeqCst);
        }
    });
    assert!(seen(), "nothing was removed while they built");
    store.prune(&ALL).unwrap();
    assert_eq!(store.items().unwrap(), []);
    let left: Vec<ActionKey> = (0..STEPS)
        .map(key)
        .filter(|key| store.action(key).unwrap().is_some())
        .collect();
    assert_eq!(left, []);
    assert_eq!(
        store.verify(false, &|_| Ok(Vec::new())).unwrap().damaged,
        vec![]
    );
}

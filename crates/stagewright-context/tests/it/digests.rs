use std::io::Read as _;
use std::path::Path;

use stagewright_context::{Context, ContextError, Entry, StatCache, StatCacheError};
use stagewright_digest::ContentDigest;

use crate::tree::Tree;

fn digest(context: &Context, cache: &mut StatCache) -> Vec<Entry> {
    let mut entries = context.walk(Path::new("")).unwrap().entries;
    context.digest(&mut entries, cache).unwrap();
    entries
}

/// Makes every file old enough to be believed.
fn settle(tree: &Tree) {
    let long_ago = std::time::SystemTime::UNIX_EPOCH
        + std::time::Duration::from_nanos(1_700_000_000_000_000_001);
    for entry in tree.context("").walk(Path::new("")).unwrap().entries {
        if entry.is_file() {
            let file = fs_err::OpenOptions::new()
                .write(true)
                .open(tree.at(entry.path.to_str().unwrap()))
                .unwrap();
            file.file().set_modified(long_ago).unwrap();
        }
    }
    // The time of the last change can't be set: wait for the next tick of the clock.
    std::thread::sleep(std::time::Duration::from_millis(30));
}

#[test]
fn files_are_hashed_and_nothing_else() {
    let tree = Tree::new(&["a", "folder/b", "link -> a"]);
    let entries = digest(&tree.context(""), &mut StatCache::default());
    let digests: Vec<_> = entries.iter().map(|entry| entry.content).collect();
    let expected = [
        None,
        Some(ContentDigest::of(b"a")),
        None,
        Some(ContentDigest::of(b"folder/b")),
        None,
    ];
    assert_eq!(digests, expected);
}

#[test]
fn many_files_are_hashed_by_many_threads_alike() {
    let paths: Vec<String> = (0..300)
        .map(|file| format!("{}/{file}", file % 7))
        .collect();
    let tree = Tree::new(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let one = digest(&tree.context("").with_threads(1), &mut StatCache::default());
    let four = digest(&tree.context("").with_threads(4), &mut StatCache::default());
    assert_eq!(one, four);
    assert!(
        one.iter()
            .all(|entry| entry.is_file() == entry.content.is_some())
    );
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let tree = Tree::new(&["a", "b", "folder/c"]);
    settle(&tree);
    let context = tree.context("");
    let mut cache = StatCache::default();
    let first = digest(&context, &mut cache);
    assert_eq!(cache.len(), 3);

    let mut stored = StatCache::decode(&cache.encode()).unwrap();
    assert!(!stored.is_changed());
    assert_eq!(digest(&context, &mut stored), first);
    assert!(!stored.is_changed(), "nothing was learned");

    fs_err::write(tree.at("b"), "other").unwrap();
    tree.add("aa");
    let second = digest(&context, &mut stored);
    assert_eq!(second[3].content, Some(ContentDigest::of(b"other")));
    assert_eq!(second[1].content, first[1].content);
}

#[test]
fn a_file_changed_this_moment_is_not_remembered() {
    let tree = Tree::new(&["a"]);
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(tree.at("a"))
        .unwrap();
    file.file().set_modified(future).unwrap();
    let mut cache = StatCache::default();
    digest(&tree.context(""), &mut cache);
    assert!(cache.is_empty());
}

#[test]
fn it_is_said_whether_all_files_are_known_as_they_were_listed() {
    let tree = Tree::new(&["a", "b"]);
    let context = tree.context("");
    let list = || context.walk(Path::new("")).unwrap().entries;
    let mut cache = StatCache::default();
    settle(&tree);
    let listed = list();
    assert!(context.digest(&mut listed.clone(), &mut cache).unwrap());
    assert!(context.digest(&mut listed.clone(), &mut cache).unwrap());

    // It changes between the walk and the look at its bytes, and is old enough by then.
    fs_err::write(tree.at("a"), "other").unwrap();
    settle(&tree);
    let mut cache = StatCache::default();
    assert!(!context.digest(&mut listed.clone(), &mut cache).unwrap());
    assert_eq!(cache.len(), 2);
    assert!(context.digest(&mut list(), &mut cache).unwrap());

    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let file = fs_err::OpenOptions::new().write(true).open(tree.at("a"));
    file.unwrap().file().set_modified(future).unwrap();
    assert!(!context.digest(&mut list(), &mut cache).unwrap());
}

#[test]
fn same_size_and_time_but_another_file_is_read_again() {
    let tree = Tree::new(&["a", "b"]);
    settle(&tree);
    let mut cache = StatCache::default();
    digest(&tree.context(""), &mut cache);
    fs_err::rename(tree.at("b"), tree.at("a")).unwrap();
    let entries = digest(&tree.context(""), &mut cache);
    assert_eq!(entries[1].content, Some(ContentDigest::of(b"b")));
}

#[test]
fn files_that_are_gone_are_forgotten() {
    let tree = Tree::new(&["a", "b/c", "b/d", "e"]);
    settle(&tree);
    let context = tree.context("");
    let mut cache = StatCache::default();
    digest(&context, &mut cache);
    fs_err::remove_file(tree.at("b/c")).unwrap();
    fs_err::remove_file(tree.at("e")).unwrap();
    let below = context.walk(Path::new("b")).unwrap();
    cache.retain_walked(Path::new("b"), &below.entries);
    assert_eq!(cache.len(), 3);
    cache.retain_walked(Path::new(""), &context.walk(Path::new("")).unwrap().entries);
    assert_eq!(cache.len(), 2);
}

#[test]
fn extended_attributes_come_along() {
    let tree = Tree::new(&["a", "plain"]);
    if rustix::fs::setxattr(
        tree.at("a"),
        "user.note",
        b"hello",
        rustix::fs::XattrFlags::empty(),
    )
    .is_err()
    {
        return; // The file system has none.
    }
    settle(&tree);
    let mut cache = StatCache::default();
    for _ in 0..2 {
        let entries = digest(&tree.context(""), &mut cache);
        assert_eq!(
            entries[1].xattrs,
            [(b"user.note".to_vec(), b"hello".to_vec())]
        );
        assert!(entries[2].xattrs.is_empty());
        cache = StatCache::decode(&cache.encode()).unwrap();
    }
}

#[test]
fn damaged_caches_are_noticed() {
    let tree = Tree::new(&["a", "b"]);
    settle(&tree);
    let mut cache = StatCache::default();
    digest(&tree.context(""), &mut cache);
    let bytes = cache.encode();
    for at in 8..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert_eq!(
            StatCache::decode(&damaged),
            Err(StatCacheError::Damaged),
            "byte {at}"
        );
    }
    for len in 0..bytes.len() {
        assert!(StatCache::decode(&bytes[..len]).is_err());
    }
    let mut newer = bytes;
    newer[4] = 9;
    assert_eq!(
        StatCache::decode(&newer),
        Err(StatCacheError::Version { found: 9 })
    );
}

#[test]
fn a_copy_is_hashed_as_it_is_read() {
    let tree = Tree::new(&["a"]);
    let context = tree.context("");
    let entries = digest(&context, &mut StatCache::default());
    let read = |change: &str| {
        let mut file = context.open_file(&entries[1]).unwrap();
        fs_err::write(tree.at("a"), change).unwrap();
        let mut bytes = vec![0; entries[1].bytes as usize];
        file.read_exact(&mut bytes).unwrap();
        file.finish()
    };
    assert_eq!(read("a").unwrap(), entries[1].content.unwrap());
    assert_ne!(read("b").unwrap(), entries[1].content.unwrap());
    assert!(matches!(read("longer"), Err(ContextError::Changed { .. })));
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_block() {
    let tree = Tree::new(&["a"]);
    let context = tree.context("");
    let mut entries = context.walk(Path::new("")).unwrap().entries;
    fs_err::remove_file(tree.at("a")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.at("a"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let error = context
        .digest(&mut entries, &mut StatCache::default())
        .unwrap_err();
    assert!(matches!(error, ContextError::Changed { .. }), "{error}");
}

#[test]
fn a_file_that_grew_since_the_walk_is_taken_as_it_is() {
    let tree = Tree::new(&["a"]);
    let context = tree.context("");
    let mut entries = context.walk(Path::new("")).unwrap().entries;
    fs_err::write(tree.at("a"), "grown").unwrap();
    context
        .digest(&mut entries, &mut StatCache::default())
        .unwrap();
    assert_eq!(
        (entries[1].bytes, entries[1].content),
        (5, Some(ContentDigest::of(b"grown")))
    );
}

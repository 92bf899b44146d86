//! What is written is read back, whatever it is.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stagewright_digest::{ContentDigest, DiffId, Digest};
use stagewright_layer::{
    Entry, EntryKind, EntryPath, LayerIndex, LayerWriter, Metadata, Mtime, Record,
};

use crate::tars::{content, read_slowly};

fn name() -> impl Strategy<Value = Vec<u8>> {
    let plain = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"a-b",
        b"a.b",
        b"a b",
        b"\xff\x01\n=",
    ]);
    prop_oneof![
        8 => plain.prop_map(<[u8]>::to_vec),
        1 => "ä{1,60}".prop_map(String::into_bytes),
        1 => "x{90,255}".prop_map(String::into_bytes),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![Just(0u32), 0..70_000u32, any::<u32>()];
    let seconds = prop_oneof![
        Just(0i64),
        0..2_000_000_000i64,
        -1000..0i64,
        Just(1i64 << 34)
    ];
    let names = vec![&b"user.a"[..], b"security.capability", b"user.\xff"];
    let xattr = prop::sample::select(names);
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let xattrs = prop::collection::btree_map(xattr.prop_map(<[u8]>::to_vec), value, 0..3);
    (0..0o10000u32, id.clone(), id, seconds, xattrs).prop_map(
        |(mode, uid, gid, seconds, xattrs)| {
            let mtime = Mtime::seconds(seconds);
            Metadata {
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            }
        },
    )
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Directory(bool),
    Symlink(Vec<u8>),
    Hardlink(prop::sample::Index),
    Device(bool, u32, u32),
    Fifo,
    Whiteout,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..1200).prop_map(Kind::File),
        3 => any::<bool>().prop_map(Kind::Directory),
        1 => prop::collection::vec(1..=255u8, 1..150).prop_map(Kind::Symlink),
        1 => any::<prop::sample::Index>().prop_map(Kind::Hardlink),
        1 => (any::<bool>(), 0..4096u32, 0..(1u32 << 20))
            .prop_map(|(block, major, minor)| Kind::Device(block, major, minor + 1)),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Whiteout),
    ]
}

type Tree = BTreeMap<EntryPath, (Kind, Metadata)>;

/// Trees in which nothing lies below what is not a directory.
fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(name(), 1..4);
    prop::collection::vec((path, kind(), metadata()), 0..25).prop_map(|entries| {
        let mut tree = Tree::new();
        for (path, kind, metadata) in entries {
            let path = EntryPath::parse(&path.join(&b'/')).unwrap();
            let is_leaf = |at: &EntryPath| {
                tree.get(at)
                    .is_some_and(|(kind, _)| !matches!(kind, Kind::Directory(_)))
            };
            let holds = tree
                .keys()
                .any(|other| other != &path && other.is_within(&path));
            let fits = matches!(kind, Kind::Directory(_)) || !holds;
            if fits && !path.ancestors().any(|at| is_leaf(&at)) && !tree.contains_key(&path) {
                tree.insert(path, (kind, metadata));
            }
        }
        tree
    })
}

/// Writes a tree, and returns the tar, its name and what should be read from it.
fn write(tree: &Tree) -> (Vec<u8>, DiffId, LayerIndex) {
    let mut writer = LayerWriter::new(Vec::new());
    let mut linkable: Vec<(EntryPath, Metadata)> = Vec::new();
    for (path, (kind, metadata)) in tree {
        let mut metadata = metadata.clone();
        let kind = match kind {
            Kind::File(bytes) => {
                let length = bytes.len() as u64;
                writer
                    .append_file(path, &metadata, length, &mut bytes.as_slice())
                    .unwrap();
                linkable.push((path.clone(), metadata));
                continue;
            }
            Kind::Hardlink(_) if linkable.is_empty() => continue,
            Kind::Hardlink(index) => {
                let (target, its) = index.get(&linkable).clone();
                metadata = its;
                EntryKind::Hardlink { target }
            }
            Kind::Directory(opaque) => EntryKind::Directory { opaque: *opaque },
            Kind::Symlink(target) => {
                metadata.mode = 0o777;
                EntryKind::Symlink {
                    target: target.clone(),
                }
            }
            Kind::Device(true, major, minor) => EntryKind::BlockDevice {
                major: *major,
                minor: *minor,
            },
            Kind::Device(false, major, minor) => EntryKind::CharDevice {
                major: *major,
                minor: *minor,
            },
            Kind::Fifo => EntryKind::Fifo,
            Kind::Whiteout => {
                metadata = Metadata::default();
                EntryKind::Whiteout
            }
        };
        writer
            .append(&Entry {
                path: path.clone(),
                kind,
                metadata,
            })
            .unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!(written.bytes, written.writer.len() as u64);
    (written.writer, written.diff_id, written.index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_layer_reads_back_as_it_was_written(tree in tree(), piece in 1..2000usize) {
        // A whiteout's name is longer by a prefix: the longest names can't be marked.
        let tree: Tree = tree.into_iter().filter(|(path, (kind, _))| {
            !matches!(kind, Kind::Whiteout) || path.name().is_some_and(|name| name.len() < 250)
        }).collect();
        let (tar, diff_id, index) = write(&tree);
        prop_assert!(Digest::of(&tar).as_bytes() == diff_id.as_bytes());
        let read = read_slowly(&tar, piece);
        prop_assert_eq!(read.diff_id, diff_id);
        prop_assert_eq!(read.index.records(), index.records());
        prop_assert_eq!(read.index.content_digest(), index.content_digest());
        for record in read.index.records() {
            if let EntryKind::File { content: name, .. } = record.entry.kind {
                prop_assert_eq!(ContentDigest::of(&content(&tar, record)), name);
            }
        }
        prop_assert_eq!(LayerIndex::decode(&index.encode()).unwrap(), index);
        prop_assert_eq!(write(&tree).0, tar);
    }

    #[test]
    fn a_subtree_is_what_lies_within(tree in tree(), at in any::<prop::sample::Index>()) {
        let (_, _, index) = write(&tree);
        let paths: Vec<_> = index.entries().map(|entry| entry.path.clone()).collect();
        prop_assume!(!paths.is_empty());
        let chosen = at.get(&paths).ancestors().last().unwrap();
        let expected: Vec<_> = paths.iter().filter(|path| path.is_within(&chosen)).collect();
        let found = index.subtree(&chosen);
        let found: Vec<_> = index.records()[found].iter().map(|record| &record.entry.path).collect();
        prop_assert_eq!(&found, &expected);
        let mut below: Vec<EntryPath> = Vec::new();
        collect(&index, &chosen, &mut below);
        let expected: Vec<_> = expected.into_iter().filter(|path| **path != chosen).collect();
        prop_assert_eq!(below.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(tar in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = stagewright_layer::read_index(&tar[..]);
        let _ = LayerIndex::decode(&tar);
    }

    #[test]
    fn no_change_of_a_layer_makes_the_readers_panic(
        tree in tree(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut tar, _, index) = write(&tree);
        let mut stored = index.encode();
        for (at, byte) in changes {
            let length = tar.len();
            tar[at.index(length)] = byte;
            let length = stored.len();
            stored[at.index(length)] ^= byte;
        }
        let _ = stagewright_layer::read_index(&tar[..]);
        let decoded = LayerIndex::decode(&stored);
        prop_assert!(decoded.is_err() || decoded.unwrap() == index);
    }
}

fn collect(index: &LayerIndex, directory: &EntryPath, below: &mut Vec<EntryPath>) {
    for child in index.children(directory) {
        let path = directory.child(child.name).unwrap();
        if child.entry.is_some() {
            below.push(path.clone());
        }
        collect(index, &path, below);
    }
}

/// Whatever else changes: these bytes are in registries.
#[test]
fn the_tar_is_pinned() {
    let path = |text: &str| EntryPath::parse(text.as_bytes()).unwrap();
    let metadata = |mode| Metadata {
        mode,
        uid: 33,
        gid: 3_000_000,
        mtime: Mtime {
            seconds: 1_700_000_000,
            nanos: 999_999_999,
        },
        xattrs: BTreeMap::from([(b"security.capability".to_vec(), b"\x01\0".to_vec())]),
    };
    let mut writer = LayerWriter::new(Vec::new());
    let other = |at: &str, kind| Entry {
        path: path(at),
        kind,
        metadata: metadata(0o1777),
    };
    writer
        .append(&other("", EntryKind::Directory { opaque: false }))
        .unwrap();
    writer
        .append(&other("d", EntryKind::Directory { opaque: true }))
        .unwrap();
    writer
        .append_file(&path("d/f"), &metadata(0o4755), 5, &mut &b"hello"[..])
        .unwrap();
    writer
        .append(&other(
            "d/g",
            EntryKind::Hardlink {
                target: path("d/f"),
            },
        ))
        .unwrap();
    writer.append(&other("d/h", EntryKind::Whiteout)).unwrap();
    writer
        .append(&other(
            "i",
            EntryKind::Symlink {
                target: "ü".into()
            },
        ))
        .unwrap();
    writer
        .append(&other("j", EntryKind::CharDevice { major: 1, minor: 3 }))
        .unwrap();
    let diff_id = writer.finish().unwrap().diff_id;
    assert_eq!(
        diff_id.to_hex(),
        "a9e729159783a9740b8c6f9cea087d5514e2923d1c982f9755a628fe208ccf49"
    );
}

#[test]
fn what_cannot_be_written_is_refused() {
    let path = |text: &str| EntryPath::parse(text.as_bytes()).unwrap();
    let metadata = Metadata::with_mode(0o644);
    let mut writer = LayerWriter::new(Vec::new());
    let mut append = |at: &str, bytes, content: &str| {
        let result = writer.append_file(&path(at), &metadata, bytes, &mut content.as_bytes());
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert_eq!(append("b", 1, "x"), "");
    assert!(append("a", 1, "x").contains("can't write"), "out of order");
    assert!(append("b", 1, "x").contains("can't write"), "twice");
    assert!(append("c/.wh.d", 1, "x").contains("rename it"));
    assert!(
        append("d", 2, "x").contains("changed while it was read"),
        "shorter"
    );
    assert!(
        append("e", 0, "x").contains("changed while it was read"),
        "longer"
    );
    let content = ContentDigest::of(b"");
    let entry = Entry {
        path: path("z"),
        kind: EntryKind::File { bytes: 0, content },
        metadata,
    };
    assert!(writer.append(&entry).is_err(), "a file without content");
    let record = Record::from(entry);
    assert!(LayerIndex::from_records(vec![record.clone(), record]).is_err());
}

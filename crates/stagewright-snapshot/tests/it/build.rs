//! Layers that are written entry by entry.

use std::io::Read as _;

use stagewright_digest::LayerId;
use stagewright_layer::{
    Codec, Entry, EntryKind, EntryPath, LayerWriter, Metadata, Mtime, decompress, read_index,
};
use stagewright_snapshot::{BlobForm, Content, DirectAgent, Forms, MergedTree, NewEntry};

use crate::place::{Place, digest, listing, own, path};

const FORMS: [Forms; 3] = [Forms::PACKED, Forms::UNPACKED, Forms::BOTH];

#[test]
fn a_layer_is_the_same_in_every_form() {
    let mut made: Vec<(LayerId, Vec<String>)> = Vec::new();
    for forms in FORMS {
        let place = Place::new();
        let mut builder = place.snapshots.builder(MergedTree::default(), forms);
        builder.file(path("b/file"), own(0o4755), Content::bytes(&b"hello"[..]));
        let link = EntryKind::Hardlink {
            target: path("b/file"),
        };
        builder.entry(NewEntry::Other(Entry {
            path: path("c"),
            kind: link,
            metadata: own(0o4755),
        }));
        let link = EntryKind::Symlink {
            target: b"b/file".to_vec(),
        };
        builder.entry(NewEntry::Other(Entry {
            path: path("a"),
            kind: link,
            metadata: own(0o777),
        }));
        let fifo = EntryKind::Fifo;
        builder.entry(NewEntry::Other(Entry {
            path: path("d"),
            kind: fifo,
            metadata: own(0o600),
        }));
        builder.directory(path("empty"), own(0o700));
        let id = builder.finish().unwrap().unwrap();
        let layer = place.snapshots.store().layer(&id).unwrap().unwrap();
        assert_eq!(layer.packed_path().is_some(), forms.packed);
        assert_eq!(layer.unpacked_path().is_some(), forms.unpacked);
        assert_eq!((layer.record.entries, layer.record.content_bytes), (6, 5));
        made.push((id, listing(&place.snapshots.tree(&[id]).unwrap())));
        // The forms that are missing can be made of those that are there.
        let packed = place.snapshots.packed(&id).unwrap();
        let tar = std::fs::read(&packed.path).unwrap();
        let read = read_index(&tar[..]).unwrap();
        assert_eq!((read.diff_id, read.bytes), (packed.diff_id, packed.bytes));
        assert_eq!(LayerId::Made(read.index.content_digest()), id);
        let unpacked = place.snapshots.unpacked(&id).unwrap();
        assert_eq!(
            std::fs::read_to_string(unpacked.join("c")).unwrap(),
            "hello"
        );
        made.push((id, listing(&place.snapshots.tree(&[id]).unwrap())));
    }
    assert_eq!(
        made[0].1,
        [
            "a -> b/file",
            "b/",
            "b/file hello",
            "c hello",
            "d Fifo",
            "empty/"
        ]
    );
    assert!(made.iter().all(|other| *other == made[0]), "{made:#?}");
}

#[test]
fn directories_above_take_what_the_parent_says() {
    let place = Place::new();
    let mut builder = place
        .snapshots
        .builder(MergedTree::default(), Forms::PACKED);
    builder.directory(
        path("home"),
        Metadata {
            gid: 7,
            ..own(0o2770)
        },
    );
    let base = builder.finish().unwrap().unwrap();
    let top = place.layer(&[base], Forms::PACKED, &["home/user/file x"]);
    let index = place.snapshots.index(&top).unwrap();
    let mode = |at: &str| index.get(&path(at)).map(|entry| entry.metadata.mode);
    assert_eq!(
        (mode("home"), mode("home/user")),
        (Some(0o2770), Some(0o755))
    );
    assert_eq!(mode(""), None);
    let tree = place.snapshots.tree(&[base, top]).unwrap();
    assert_eq!(tree.lookup(&path("home")).unwrap().entry.metadata.gid, 7);
}

#[test]
fn a_directory_that_is_there_makes_no_layer() {
    let place = Place::new();
    let base = place.layer(&[], Forms::PACKED, &["app/", "app/file x"]);
    let build = |mode| {
        let tree = place.snapshots.tree(&[base]).unwrap();
        let mut builder = place.snapshots.builder(tree, Forms::PACKED);
        builder.directory(path("app"), own(mode));
        builder.finish().unwrap()
    };
    assert_eq!(build(0o755), None);
    assert!(build(0o700).is_some());
    let empty = place
        .snapshots
        .builder(MergedTree::default(), Forms::PACKED);
    assert_eq!(empty.finish().unwrap(), None);
}

#[test]
fn copies_out_of_layers_keep_hard_links_and_need_no_mount() {
    for forms in FORMS {
        let place = Place::new();
        let mut builder = place.snapshots.builder(MergedTree::default(), forms);
        builder.file(path("one"), own(0o644), Content::bytes(&b"same"[..]));
        let kind = EntryKind::Hardlink {
            target: path("one"),
        };
        builder.entry(NewEntry::Other(Entry {
            path: path("two"),
            kind,
            metadata: own(0o644),
        }));
        let source = builder.finish().unwrap().unwrap();
        let tree = place.snapshots.tree(&[source]).unwrap();
        let mut builder = place.snapshots.builder(MergedTree::default(), forms);
        builder.add_tree(&tree, &path("dest"));
        let copy = builder.finish().unwrap().unwrap();
        let index = place.snapshots.index(&copy).unwrap();
        let kind = &index.get(&path("dest/two")).unwrap().kind;
        assert_eq!(
            *kind,
            EntryKind::Hardlink {
                target: path("dest/one")
            }
        );
        let tree = place.snapshots.tree(&[copy]).unwrap();
        assert_eq!(listing(&tree), ["dest/", "dest/one same", "dest/two same"]);
        assert_eq!(
            tree.read_small(b"/dest/two", 10).unwrap().as_deref(),
            Some(&b"same"[..])
        );
        assert!(tree.read_small(b"/dest/two", 3).is_err());
        assert!(tree.read_small(b"/dest", 3).is_err());
    }
}

#[test]
fn damage_is_noticed_and_not_copied() {
    for forms in [Forms::PACKED, Forms::UNPACKED] {
        let place = Place::new();
        let id = place.layer(&[], forms, &["file content"]);
        let layer = place.snapshots.store().layer(&id).unwrap().unwrap();
        let (file, at) = match layer.packed_path() {
            Some(tar) => (tar, 512),
            None => (layer.unpacked_path().unwrap().join("file"), 0),
        };
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let tree = place.snapshots.tree(&[id]).unwrap();
        let error = tree.read_small(b"file", 100).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("damaged"), "{source}");
        let mut builder = place
            .snapshots
            .builder(MergedTree::default(), Forms::UNPACKED);
        builder.add_tree(&tree, &EntryPath::root());
        assert!(builder.finish().is_err());
        if forms == Forms::UNPACKED {
            assert!(place.snapshots.packed(&id).is_err());
        } else {
            assert!(place.snapshots.unpacked(&id).is_err());
        }
    }
}

#[test]
fn compressed_forms_are_made_once() {
    let place = Place::new();
    let id = place.layer(&[], Forms::PACKED, &["file content"]);
    let packed = place.snapshots.packed(&id).unwrap();
    for codec in [Codec::Uncompressed, Codec::GZIP, Codec::ZSTD] {
        let form = BlobForm::Tar(codec);
        let made = place.snapshots.compressed(&id, form).unwrap();
        assert_eq!(place.snapshots.compressed(&id, form).unwrap(), made);
        assert_eq!(made.diff_id, None);
        let blob = made.blob;
        let stored = place.snapshots.store().blob(&blob.digest).unwrap().unwrap();
        assert_eq!(stored.bytes, blob.bytes);
        let bytes = std::fs::read(stored.path).unwrap();
        let mut plain = Vec::new();
        decompress(&bytes[..])
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(read_index(&plain[..]).unwrap().diff_id, packed.diff_id);
    }
    let record = place.snapshots.store().layer(&id).unwrap().unwrap().record;
    assert_eq!(record.compressed.len(), 3);
    assert_eq!(record.diff_id, Some(packed.diff_id));
}

#[test]
fn a_layer_with_a_table_is_made_once_and_is_the_same_from_every_form() {
    let mut made = Vec::new();
    for forms in [Forms::PACKED, Forms::UNPACKED] {
        let place = Place::new();
        let id = place.layer(&[], forms, &["file content"]);
        let form = BlobForm::Estargz { level: 6 };
        let layer = place.snapshots.compressed(&id, form).unwrap();
        assert_eq!(place.snapshots.compressed(&id, form).unwrap(), layer);
        let stored = place.snapshots.store().blob(&layer.blob.digest).unwrap();
        let bytes = std::fs::read(stored.unwrap().path).unwrap();
        let mut plain = Vec::new();
        decompress(&bytes[..])
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        let read = read_index(&plain[..]).unwrap();
        assert_eq!(Some(read.diff_id), layer.diff_id);
        let size = &layer.blob.annotations["io.containers.estargz.uncompressed-size"];
        assert_eq!(*size, plain.len().to_string());
        // The table is no file of the layer, and this is not the tar that others may be made of.
        let packed = place.snapshots.packed(&id).unwrap();
        assert_ne!(Some(packed.diff_id), layer.diff_id);
        let again = place.snapshots.compressed(&id, BlobForm::Tar(Codec::GZIP));
        assert_eq!(again.unwrap().diff_id, None);
        let clamped = place.snapshots.compressed_until(&id, form, 1).unwrap();
        assert_eq!(
            place.snapshots.compressed_until(&id, form, 1).unwrap(),
            clamped
        );
        made.push((layer, clamped));
    }
    assert_eq!(made[0], made[1]);
}

#[test]
fn times_can_be_clamped_for_an_export() {
    let seconds = |seconds| Metadata {
        mtime: Mtime { seconds, nanos: 7 },
        ..own(0o644)
    };
    let mut made = Vec::new();
    for (late, forms) in [(2_000, Forms::PACKED), (3_000, Forms::UNPACKED)] {
        let place = Place::new();
        let mut builder = place.snapshots.builder(MergedTree::default(), forms);
        builder.file(path("early"), seconds(500), Content::bytes(&b"1"[..]));
        builder.file(path("late"), seconds(late), Content::bytes(&b"2"[..]));
        let id = builder.finish().unwrap().unwrap();
        let clamped = place
            .snapshots
            .compressed_until(&id, BlobForm::Tar(Codec::ZSTD), 1_000)
            .unwrap();
        assert_eq!(
            place
                .snapshots
                .compressed_until(&id, BlobForm::Tar(Codec::ZSTD), 1_000)
                .unwrap(),
            clamped
        );
        let other = place
            .snapshots
            .compressed_until(&id, BlobForm::Tar(Codec::ZSTD), 1_001)
            .unwrap();
        assert_ne!(other.diff_id, clamped.diff_id);
        let stored = place
            .snapshots
            .store()
            .blob(&clamped.blob.digest)
            .unwrap()
            .unwrap();
        let bytes = std::fs::read(stored.path).unwrap();
        let read = read_index(decompress(&bytes[..]).unwrap()).unwrap();
        assert_eq!(Some(read.diff_id), clamped.diff_id);
        let times: Vec<_> = read
            .index
            .entries()
            .map(|entry| entry.metadata.mtime.seconds)
            .collect();
        assert_eq!(times, [500, 1_000]);
        made.push(clamped);
    }
    assert_eq!(made[0], made[1]);
}

#[test]
fn archives_are_extracted_and_not_applied() {
    let tar = |with_whiteout| {
        let mut writer = LayerWriter::new(Vec::new());
        writer
            .append(&Entry::directory(EntryPath::root(), own(0o700)))
            .unwrap();
        writer
            .append_file(&path("a/x"), &own(0o600), 1, &mut &b"1"[..])
            .unwrap();
        if with_whiteout {
            writer.append(&Entry::whiteout(path("a/y"))).unwrap();
        }
        writer.finish().unwrap().writer
    };
    for forms in FORMS {
        let place = Place::new();
        let build = |tar: Vec<u8>| {
            let mut builder = place.snapshots.builder(MergedTree::default(), forms);
            let mut change = |entry: &mut Entry| entry.metadata.mode |= 0o044;
            builder
                .add_archive(&tar[..], &path("opt"), &mut change)
                .unwrap();
            builder.finish()
        };
        let id = build(tar(false)).unwrap().unwrap();
        let tree = place.snapshots.tree(&[id]).unwrap();
        let x = tree.lookup(&path("opt/a/x")).unwrap();
        assert_eq!(x.entry.metadata.mode, 0o644);
        let content = digest("1");
        assert_eq!(*x.kind(), EntryKind::File { bytes: 1, content });
        let error = build(tar(true)).unwrap_err().to_string();
        assert!(
            error.contains("opt/a/.wh.y"),
            "a layer would take it for a deletion: {error}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_told_by_its_path() {
    for forms in FORMS {
        let place = Place::new();
        let mut builder = place.snapshots.builder(MergedTree::default(), forms);
        let missing = place.folder.path().join("missing");
        builder.file(path("app/file"), own(0o644), Content::file(missing));
        let error = builder.finish().unwrap_err();
        assert!(error.to_string().contains("/app/file"), "{error}");
    }
}

/// With one id on disk the owners of files are what the layers say.
#[test]
fn without_root_what_a_step_changes_keeps_its_owner() {
    let place = Place::with(DirectAgent::with_one_owner(2));
    let owned = |mode| Metadata {
        uid: 33,
        gid: 34,
        ..Metadata::with_mode(mode)
    };
    let mut builder = place.snapshots.builder(MergedTree::default(), Forms::BOTH);
    builder.directory(path("home"), owned(0o755));
    builder.file(path("home/file"), owned(0o644), Content::bytes(&b"1"[..]));
    let device = EntryKind::CharDevice { major: 1, minor: 3 };
    let device = Entry {
        path: path("null"),
        kind: device,
        metadata: owned(0o666),
    };
    builder.entry(NewEntry::Other(device));
    let base = builder.finish().unwrap().unwrap();
    let home = |prepared: &stagewright_snapshot::Prepared| prepared.upper().join("home");
    // What overlayfs does when something in a directory is made and removed.
    let prepared = place.snapshots.prepare(&[base]).unwrap();
    std::fs::create_dir(home(&prepared)).unwrap();
    assert_eq!(place.snapshots.commit(prepared, true).unwrap(), None);
    let prepared = place.snapshots.prepare(&[base]).unwrap();
    std::fs::create_dir(home(&prepared)).unwrap();
    std::fs::write(home(&prepared).join("file"), "2").unwrap();
    std::fs::write(home(&prepared).join("new"), "3").unwrap();
    let made = place.snapshots.commit(prepared, true).unwrap().unwrap();
    let index = place.snapshots.index(&made).unwrap();
    let owners: Vec<_> = index
        .entries()
        .map(|entry| {
            (
                entry.path.to_string(),
                entry.metadata.uid,
                entry.metadata.gid,
            )
        })
        .collect();
    let expected = [
        ("/home", 33, 34),
        ("/home/file", 33, 34),
        ("/home/new", 0, 0),
    ];
    assert_eq!(
        owners,
        expected.map(|(path, uid, gid)| (path.to_owned(), uid, gid))
    );
}

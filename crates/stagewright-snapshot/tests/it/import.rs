//! Layers that come with images.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicUsize, Ordering};

use stagewright_digest::{ContentDigest, DiffId, LayerId};
use stagewright_layer::{Codec, Compressor, Entry, LayerWriter};
use stagewright_snapshot::{BlobForm, Forms, SnapshotError};

use crate::place::{Place, listing, own, path};

/// A layer that mentions `usr` only in longer paths.
fn tar() -> (Vec<u8>, DiffId) {
    let mut writer = LayerWriter::new(Vec::new());
    writer
        .append(&Entry::directory(path("etc"), own(0o755)))
        .unwrap();
    writer
        .append_file(&path("etc/passwd"), &own(0o644), 4, &mut &b"root"[..])
        .unwrap();
    writer
        .append_file(&path("usr/bin/tool"), &own(0o755), 3, &mut &b"elf"[..])
        .unwrap();
    let written = writer.finish().unwrap();
    (written.writer, written.diff_id)
}

fn compressed(tar: &[u8], codec: Codec) -> Vec<u8> {
    let threads = std::num::NonZeroUsize::new(2).unwrap();
    let mut compressor = Compressor::new(Vec::new(), codec, threads).unwrap();
    io::Write::write_all(&mut compressor, tar).unwrap();
    compressor.finish().unwrap()
}

fn reader(bytes: Vec<u8>) -> io::Result<Box<dyn BufRead + Send>> {
    Ok(Box::new(io::Cursor::new(bytes)))
}

/// A layer that a step made is named by its files: others do not get its name, whatever their tar is.
#[test]
fn a_layer_from_elsewhere_holds_what_its_name_says() {
    let place = Place::new();
    let (tar, _) = tar();
    let made = ContentDigest::of(b"others");
    let blob = || reader(compressed(&tar, Codec::GZIP));
    let error = place
        .snapshots
        .import_made(&made, Forms::PACKED, blob)
        .unwrap_err();
    let SnapshotError::WrongContent { expected, found } = error else {
        panic!("{error}");
    };
    assert_eq!(expected, LayerId::Made(made));
    assert!(place.snapshots.store().layer(&expected).unwrap().is_none());
    let LayerId::Made(made) = found else {
        panic!("{found}");
    };
    let layer = place
        .snapshots
        .import_made(&made, Forms::PACKED, blob)
        .unwrap();
    assert_eq!(std::fs::read(layer.packed_path().unwrap()).unwrap(), tar);
    // Where times are part of the name, it is another one.
    let dated = Place::new();
    let snapshots = dated.snapshots.with_latest_time(Some(1));
    let error = snapshots
        .import_made(&made, Forms::PACKED, blob)
        .unwrap_err();
    assert!(matches!(error, SnapshotError::WrongContent { .. }));
}

#[test]
fn layers_are_kept_in_the_forms_that_are_asked_for() {
    let (tar, diff_id) = tar();
    let id = LayerId::Pulled(diff_id);
    for codec in [Codec::Uncompressed, Codec::GZIP, Codec::ZSTD] {
        for forms in [Forms::PACKED, Forms::UNPACKED, Forms::BOTH] {
            let place = Place::new();
            let blob = || reader(compressed(&tar, codec));
            let layer = place.snapshots.import(&diff_id, forms, blob).unwrap();
            assert_eq!(layer.packed_path().is_some(), forms.packed);
            assert_eq!(layer.unpacked_path().is_some(), forms.unpacked);
            let tree = place.snapshots.tree(&[id]).unwrap();
            let expected = [
                "etc/",
                "etc/passwd root",
                "usr/",
                "usr/bin/",
                "usr/bin/tool elf",
            ];
            assert_eq!(listing(&tree), expected);
            let again = place
                .snapshots
                .import(&diff_id, forms, || panic!("read twice"))
                .unwrap();
            assert_eq!(again, layer);
            let both = place.snapshots.import(&diff_id, Forms::BOTH, blob).unwrap();
            assert!(both.packed_path().is_some() && both.unpacked_path().is_some());
            assert_eq!(std::fs::read(both.packed_path().unwrap()).unwrap(), tar);
        }
    }
}

#[test]
fn what_is_not_the_layer_is_refused() {
    let (tar, diff_id) = tar();
    let place = Place::new();
    let import = |bytes: Vec<u8>| {
        place
            .snapshots
            .import(&diff_id, Forms::BOTH, || reader(bytes))
            .unwrap_err()
    };
    let mut other = tar.clone();
    other[512 + 1024] ^= 1;
    let longer = [&tar[..], &[0]].concat();
    assert!(matches!(import(longer), SnapshotError::WrongDiffId { .. }));
    import(other);
    import(tar[..700].to_vec());
    import(b"BZh91AY".to_vec());
    let mut cut = compressed(&tar, Codec::GZIP);
    cut.truncate(cut.len() - 9);
    import(cut);
    assert_eq!(
        place
            .snapshots
            .store()
            .layer(&LayerId::Pulled(diff_id))
            .unwrap(),
        None
    );
}

#[test]
fn a_layer_that_many_want_is_read_once() {
    let (tar, diff_id) = tar();
    let place = Place::new();
    let reads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let blob = || {
                    reads.fetch_add(1, Ordering::SeqCst);
                    reader(tar.clone())
                };
                place
                    .snapshots
                    .import(&diff_id, Forms::PACKED, blob)
                    .unwrap();
                place.snapshots.unpacked(&LayerId::Pulled(diff_id)).unwrap();
            });
        }
    });
    assert_eq!(reads.into_inner(), 1);
}

#[test]
fn a_pulled_layer_is_unpacked_out_of_its_blob() {
    let (tar, diff_id) = tar();
    let place = Place::new();
    let id = LayerId::Pulled(diff_id);
    let layer = place
        .snapshots
        .import(&diff_id, Forms::PACKED, || reader(tar.clone()))
        .unwrap();
    let blob = place
        .snapshots
        .compressed(&id, BlobForm::Tar(Codec::ZSTD))
        .unwrap()
        .blob;
    assert_eq!(blob.codec, "zstd-3");
    std::fs::remove_file(layer.packed_path().unwrap()).unwrap();
    let unpacked = place.snapshots.unpacked(&id).unwrap();
    assert_eq!(
        std::fs::read_to_string(unpacked.join("usr/bin/tool")).unwrap(),
        "elf"
    );
    assert_eq!(
        std::fs::read(place.snapshots.packed(&id).unwrap().path).unwrap(),
        tar
    );
}

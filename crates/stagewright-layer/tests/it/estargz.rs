//! eStargz layers, read as the specification says that runtimes read them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::num::NonZeroUsize;

use serde_json::Value;
use stagewright_digest::Digest;
use stagewright_layer::{
    Entry, EntryKind, EntryPath, EstargzError, LayerWriter, Metadata, Mtime, WrittenEstargz,
    decompress, read_index, write_estargz,
};

const LARGE: usize = 3 * (1 << 20) + 17;

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap()
}

fn large() -> Vec<u8> {
    (0..LARGE)
        .map(|number| ((number * number) >> 7) as u8)
        .collect()
}

/// A layer with each kind of entry.
fn tar() -> Vec<u8> {
    let own = Metadata {
        uid: 33,
        gid: 34,
        mtime: Mtime::seconds(1_600_000_000),
        xattrs: BTreeMap::from([(b"user.a".to_vec(), b"\x00b".to_vec())]),
        ..Metadata::with_mode(0o4755)
    };
    let plain = Metadata::with_mode(0o644);
    let mut writer = LayerWriter::new(Vec::new());
    let entry = |text: &str, kind| Entry {
        path: path(text),
        kind,
        metadata: plain.clone(),
    };
    let file =
        |writer: &mut LayerWriter<Vec<u8>>, name: &str, metadata: &Metadata, bytes: &[u8]| {
            let length = bytes.len() as u64;
            writer
                .append_file(&path(name), metadata, length, &mut &*bytes)
                .unwrap();
        };
    for part in [
        entry("a", EntryKind::Directory { opaque: true }),
        entry("a/console", EntryKind::CharDevice { major: 5, minor: 1 }),
        entry("a/disk", EntryKind::BlockDevice { major: 8, minor: 0 }),
    ] {
        writer.append(&part).unwrap();
    }
    file(&mut writer, "a/empty", &plain, b"");
    file(&mut writer, "a/file", &own, b"hello");
    writer
        .append(&entry("a/gone", EntryKind::Whiteout))
        .unwrap();
    file(&mut writer, "a/large", &plain, &large());
    let target = b"/nowhere".to_vec();
    for part in [
        entry("a/link", EntryKind::Symlink { target }),
        entry("a/pipe", EntryKind::Fifo),
        entry(
            "b",
            EntryKind::Hardlink {
                target: path("a/file"),
            },
        ),
    ] {
        writer.append(&part).unwrap();
    }
    file(&mut writer, "c", &plain, b"last");
    writer.finish().unwrap().writer
}

fn write(tar: &[u8], threads: usize) -> WrittenEstargz<Vec<u8>> {
    let threads = NonZeroUsize::new(threads).unwrap();
    write_estargz(tar, Vec::new(), 6, threads).unwrap()
}

/// Decompresses the one gzip member that begins at a place.
fn member(blob: &[u8], offset: u64) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&blob[usize::try_from(offset).unwrap()..])
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

/// Reads the table of contents by way of the footer.
fn table(written: &WrittenEstargz<Vec<u8>>) -> Vec<Value> {
    let blob = &written.writer;
    // "Footer": 51 bytes, of which the extra field says where the table begins.
    let footer = &blob[blob.len() - 51..];
    assert_eq!(footer[..4], [0x1f, 0x8b, 8, 4]);
    assert_eq!(footer[10..16], [26, 0, b'S', b'G', 22, 0]);
    assert_eq!(footer[32..38], *b"STARGZ");
    assert_eq!(member(footer, 0), b"");
    let digits = std::str::from_utf8(&footer[16..32]).unwrap();
    let offset = u64::from_str_radix(digits, 16).unwrap();
    // "TOC": the last entry of the tar.
    let tar = member(blob, offset);
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut entry = entries.next().unwrap().unwrap();
    assert_eq!(entry.path_bytes(), &b"stargz.index.json"[..]);
    let mut json = Vec::new();
    entry.read_to_end(&mut json).unwrap();
    assert!(entries.next().is_none());
    assert_eq!(Digest::of(&json), written.toc);
    let table: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(table["version"], 1);
    table["entries"].as_array().unwrap().clone()
}

#[test]
fn whoever_does_not_know_of_the_table_reads_the_layer() {
    let tar = tar();
    let written = write(&tar, 1);
    assert_eq!(written.writer, write(&tar, 3).writer);
    let mut plain = Vec::new();
    decompress(written.writer.as_slice())
        .unwrap()
        .read_to_end(&mut plain)
        .unwrap();
    assert!(plain.starts_with(&tar));
    assert_eq!(plain.len() as u64, written.bytes);
    assert_eq!(Digest::of(&plain).as_bytes(), written.diff_id.as_bytes());
    assert_eq!(Digest::of(&tar).as_bytes(), written.tar.as_bytes());
    let read = read_index(plain.as_slice()).unwrap();
    assert_eq!(read.index, read_index(tar.as_slice()).unwrap().index);
    assert_eq!(read.diff_id, written.diff_id);
}

#[test]
fn each_file_is_read_on_its_own() {
    let written = write(&tar(), 2);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut offsets = std::collections::BTreeSet::new();
    for entry in table(&written) {
        let kind = entry["type"].as_str().unwrap();
        let number = |key: &str| entry[key].as_u64().unwrap_or(0);
        let name = entry["name"].as_str().unwrap().to_owned();
        if kind != "reg" && kind != "chunk" {
            continue;
        }
        let content = files.entry(name).or_default();
        if kind == "reg" && number("size") == 0 {
            continue;
        }
        assert!(offsets.insert(number("offset")), "an offset comes twice");
        let (offset, size) = (number("chunkOffset"), number("chunkSize"));
        assert_eq!(offset, content.len() as u64);
        let mut bytes = member(&written.writer, number("offset"));
        let size = match (size, kind) {
            (0, "reg") => number("size"),
            (0, _) => LARGE as u64 - offset,
            (size, _) => size,
        };
        bytes.truncate(usize::try_from(size).unwrap());
        assert_eq!(entry["chunkDigest"], Digest::of(&bytes).to_string());
        content.extend(bytes);
    }
    let expected = [
        ("a/.wh..wh..opq", vec![]),
        ("a/.wh.gone", vec![]),
        ("a/empty", vec![]),
        ("a/file", b"hello".to_vec()),
        ("a/large", large()),
        ("c", b"last".to_vec()),
    ];
    let expected = expected.map(|(name, content)| (name.to_owned(), content));
    assert!(files == BTreeMap::from(expected), "{:?}", files.keys());
}

#[test]
fn the_table_says_what_the_tar_says() {
    let table = table(&write(&tar(), 2));
    let find = |name: &str| table.iter().find(|entry| entry["name"] == name).unwrap();
    let file = find("a/file");
    for (key, value) in [
        ("type", Value::from("reg")),
        ("size", 5.into()),
        ("modtime", "2020-09-13T12:26:40Z".into()),
        ("mode", 0o4755.into()),
        ("uid", 33.into()),
        ("gid", 34.into()),
        ("digest", Digest::of(b"hello").to_string().into()),
    ] {
        assert_eq!(file[key], value, "{key}");
    }
    assert_eq!(file["xattrs"]["user.a"], "AGI=");
    assert_eq!(find("a/large")["digest"], Digest::of(&large()).to_string());
    for (name, kind) in [
        ("a/", "dir"),
        ("a/console", "char"),
        ("a/disk", "block"),
        ("a/pipe", "fifo"),
        ("a/link", "symlink"),
        ("b", "hardlink"),
    ] {
        assert_eq!(find(name)["type"], kind, "{name}");
    }
    assert_eq!(find("a/console")["devMajor"], 5);
    assert_eq!(find("a/link")["linkName"], "/nowhere");
    assert_eq!(find("b")["linkName"], "a/file");
}

/// A change of these bytes gives every image of this form another name.
#[test]
fn the_bytes_are_pinned() {
    let written = write(&tar(), 2);
    let found = [Digest::of(&written.writer), written.toc].map(|digest| digest.to_string());
    assert_eq!(
        found,
        [
            "sha256:e5f410fb4c1de0b163093e7c66e35697320bd1c71423e01262c308b5d693c487",
            "sha256:24ccec97082a0e47f5d37559b30913e9ab6a443f4bf5069c9de1dcfb5878886e",
        ]
    );
}

#[test]
fn what_cannot_be_written_is_refused() {
    let threads = NonZeroUsize::MIN;
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("holes")).unwrap();
    file.set_len(10_000_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 5_000_000).unwrap();
    let sparse = crate::gnu_tar::tar(&["--sparse"], folder.path());
    let error = write_estargz(sparse.as_slice(), Vec::new(), 6, threads).unwrap_err();
    assert!(matches!(error, EstargzError::Sparse { .. }), "{error}");
    let cut = &tar()[..700];
    for (tar, level) in [(cut, 6), (&tar()[..], 10)] {
        assert!(write_estargz(tar, Vec::new(), level, threads).is_err());
    }
}

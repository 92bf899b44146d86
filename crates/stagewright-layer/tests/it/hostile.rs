//! Layers that mean harm, and layers at the limits of what there is.

use std::io::{self, Read};

use stagewright_layer::{EntryKind, LayerIndex, read_index};

/// A header of the old form, byte for byte, with a right checksum.
fn header(name: &[u8], kind: u8, link: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let name = &name[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    seal(&mut block);
    block
}

/// Writes the checksum.
fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// An entry with its bytes.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name.as_bytes(), kind, link.as_bytes(), content.len() as u64).to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str) -> Vec<u8> {
    entry(name, b'0', "", b"x")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(name, b'1', target, b"")
}

fn symlink(name: &str, target: &str) -> Vec<u8> {
    entry(name, b'2', target, b"")
}

/// A PAX header with one record, for the entry that follows.
fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let record = [format!("{length} {key}=").as_bytes(), value, b"\n"].concat();
    entry("pax", b'x', "", &record)
}

fn index(parts: &[Vec<u8>]) -> Result<LayerIndex, String> {
    let mut tar = parts.concat();
    tar.resize(tar.len() + 1024, 0);
    let read = read_index(tar.as_slice()).map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    })?;
    Ok(read.index)
}

fn paths(parts: &[Vec<u8>]) -> Vec<String> {
    let index = index(parts).unwrap();
    let paths = index.records().iter().map(|record| &record.entry.path);
    paths
        .map(|path| String::from_utf8(path.as_bytes().to_vec()).unwrap())
        .collect()
}

#[test]
fn nothing_lies_outside_of_the_image() {
    for parts in [
        vec![file("../x")],
        vec![file("a/../../x")],
        vec![file("a/..")],
        vec![file("/../x")],
        vec![pax("path", b"../../etc/x"), file("x")],
        vec![entry("../d/", b'5', "", b"")],
        vec![symlink("../l", "a")],
        vec![file("a"), link("b", "../../a")],
        vec![file("../.wh.x")],
    ] {
        let error = index(&parts).unwrap_err();
        assert!(error.contains(".."), "{error}");
    }
    // What begins at the root of the host begins at that of the image.
    assert_eq!(paths(&[file("/etc/x")]), ["etc/x"]);
    assert_eq!(paths(&[file("//./a//b")]), ["a/b"]);
    // Links may say what they like, and are followed inside only.
    let out = [symlink("out", "/tmp/elsewhere"), file("out/x")];
    assert_eq!(paths(&out), ["out", "tmp/elsewhere/x"]);
    for target in ["../../..", "/../..", "a/../../.."] {
        let above = index(&[symlink("up", target), file("up/x")]);
        match above {
            Ok(index) => assert!(
                index
                    .records()
                    .iter()
                    .all(|record| { record.entry.path.components().all(|part| part != b"..") }),
                "{target}"
            ),
            Err(error) => assert!(error.contains("out of the image"), "{error}"),
        }
    }
    let around = [symlink("a", "b"), symlink("b", "a"), file("a/x")];
    let error = index(&around).unwrap_err();
    assert!(error.contains("too many symbolic links"), "{error}");
    // A hard link is to a file that the layer itself holds.
    for target in ["/etc/passwd", "etc/passwd", "later"] {
        let error = index(&[link("mine", target), file("later")]).unwrap_err();
        assert!(error.contains("does not hold before it"), "{error}");
    }
}

#[test]
fn of_entries_with_one_name_the_last_counts() {
    let parts = [
        file("a"),
        entry("a", b'0', "", b"second"),
        entry("d/", b'5', "", b""),
        file("d/x"),
        entry("d", b'5', "", b""),
        symlink("l", "a"),
        file("l"),
    ];
    assert_eq!(paths(&parts), ["a", "d", "d/x", "l"]);
    let index = index(&parts).unwrap();
    let of = |at: usize| &index.records()[at].entry.kind;
    assert!(matches!(of(0), EntryKind::File { bytes: 6, .. }));
    assert!(matches!(of(3), EntryKind::File { .. }));
}

#[test]
fn headers_that_lie_are_refused() {
    let mut negative = header(b"a", b'0', b"", 0);
    negative[124..136].fill(0xff);
    seal(&mut negative);
    let mut huge = header(b"a", b'0', b"", 0);
    huge[124] = 0x80;
    huge[128..136].copy_from_slice(&u64::MAX.to_be_bytes());
    seal(&mut huge);
    let mut unsealed = header(b"a", b'0', b"", 0);
    unsealed[0] = b'b';
    let long = header(b"long", b'L', b"", 8_000_000_000);
    for (what, parts) in [
        ("a negative size", vec![negative.to_vec()]),
        ("a size above all", vec![huge.to_vec()]),
        ("a wrong checksum", vec![unsealed.to_vec()]),
        ("a name of gigabytes", vec![long.to_vec()]),
        ("an unknown type", vec![entry("a", b'Z', "", b"")]),
        ("a NUL in a name", vec![pax("path", b"a\0b"), file("x")]),
        (
            "a PAX size that is none",
            vec![pax("size", b"-5"), file("x")],
        ),
        (
            "a PAX size beyond the end",
            vec![pax("size", b"99999999999"), file("x")],
        ),
        (
            "a record that is too long",
            vec![entry("pax", b'x', "", b"99 path=a\n"), file("x")],
        ),
        (
            "a sparse map of nonsense",
            vec![pax("GNU.sparse.map", b"1,x"), file("x")],
        ),
    ] {
        assert!(index(&parts).is_err(), "{what}");
    }
}

#[test]
fn oddities_of_writers_are_understood() {
    // A global header says nothing; a directory may be a file whose name ends in a slash (v7).
    let global = entry("global", b'g', "", b"13 path=evil\n");
    let old = entry("old/", 0, "", b"");
    let parts = [
        global,
        old,
        file("old/x"),
        pax("path", b"named"),
        file("short"),
    ];
    assert_eq!(paths(&parts), ["named", "old", "old/x"]);
    let index = index(&parts).unwrap();
    assert!(index.records()[1].entry.kind.is_directory());
    // A long name of GNU, and a PAX name of the same entry, which wins.
    let name = "n".repeat(200);
    let long = entry("././@LongLink", b'L', "", format!("{name}\0").as_bytes());
    assert_eq!(paths(&[long.clone(), file("n")]), [name]);
    assert_eq!(paths(&[long, pax("path", b"p"), file("n")]), ["p"]);
}

#[test]
fn names_of_4096_bytes_are_names_and_longer_parts_are_none() {
    let deep = vec!["d".repeat(240); 17].join("/");
    let name = &deep[..4096];
    for parts in [
        [pax("path", name.as_bytes()), file("x")],
        [entry("././@LongLink", b'L', "", name.as_bytes()), file("x")],
    ] {
        assert_eq!(paths(&parts), [name]);
    }
    let error = index(&[pax("path", "d".repeat(4096).as_bytes()), file("x")]).unwrap_err();
    assert!(error.contains("longer than 255 bytes"), "{error}");
}

/// Gives a tar of so many empty files without holding it.
struct Many {
    next: usize,
    count: usize,
    block: io::Cursor<Vec<u8>>,
}

impl Read for Many {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.block.read(buffer)?;
        if read > 0 || self.next == self.count {
            return Ok(read);
        }
        let name = format!("d{:03}/f{:06}", self.next % 1_000, self.next);
        self.block = io::Cursor::new(header(name.as_bytes(), b'0', b"", 0).to_vec());
        self.next += 1;
        self.block.read(buffer)
    }
}

/// A million take a minute without optimisation and two seconds with it.
#[test]
fn a_million_entries_are_a_layer() {
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let many = Many {
        next: 0,
        count,
        block: io::Cursor::default(),
    };
    let index = read_index(many).unwrap().index;
    assert_eq!(index.len(), count);
    assert_eq!(LayerIndex::decode(&index.encode()).unwrap().len(), count);
}

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use stagewright_context::unpack_tar;
use tar::{Builder, EntryType, Header};

use crate::tree::Tree;

fn header(kind: EntryType, bytes: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes as u64);
    header.set_mode(0o751);
    header.set_mtime(1_600_000_000);
    header
}

/// Name, kind, and content or target.
type Item = (&'static str, EntryType, &'static str);

/// Makes an archive; names are written as they are.
fn archive(entries: &[Item]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = header(*kind, if is_link { 0 } else { text.len() });
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_cksum();
        builder
            .append(&header, if is_link { &[][..] } else { text.as_bytes() })
            .unwrap();
    }
    builder.into_inner().unwrap()
}

const CONTEXT: &[Item] = &[
    ("Dockerfile", EntryType::Regular, "FROM scratch"),
    ("src/", EntryType::Directory, ""),
    ("src/a", EntryType::Regular, "a"),
    ("src/link", EntryType::Symlink, "a"),
    ("hard", EntryType::Link, "src/a"),
];

#[test]
fn archives_become_contexts() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&archive(CONTEXT)).unwrap();
    for bytes in [archive(CONTEXT), gzip.finish().unwrap()] {
        let tree = Tree::new(&[]);
        unpack_tar(&bytes[..], tree.path()).unwrap();
        assert_eq!(
            tree.listing("", ""),
            ["", "Dockerfile", "hard", "src", "src/a", "src/link"]
        );
        let entries = tree.context("").walk("".as_ref()).unwrap().entries;
        for index in [1, 3, 4] {
            assert_eq!(entries[index].mode, 0o751, "{:?}", entries[index].path);
            assert_eq!(
                entries[index].mtime_ns, 1_600_000_000_000_000_000,
                "{:?}",
                entries[index].path
            );
        }
    }
}

#[test]
fn what_can_not_be_a_context_is_refused() {
    let cases: &[(&[Item], &str)] = &[
        (
            &[("../out", EntryType::Regular, "x")],
            "the build context's archive holds ../out, which leads out of the context",
        ),
        (
            &[
                ("way", EntryType::Symlink, "/tmp"),
                ("way/out", EntryType::Regular, "x"),
            ],
            "can't unpack the build context's archive at way/out",
        ),
        (
            &[("hard", EntryType::Link, "../../etc/passwd")],
            "can't unpack the build context's archive at hard",
        ),
        (
            &[("null", EntryType::Char, "")],
            "can't unpack the build context's archive at null",
        ),
        (
            &[("pipe", EntryType::Fifo, "")],
            "can't unpack the build context's archive at pipe",
        ),
    ];
    for (entries, expected) in cases {
        let tree = Tree::new(&["context/"]);
        let error = unpack_tar(&archive(entries)[..], &tree.at("context")).unwrap_err();
        assert_eq!(error.to_string(), *expected);
        assert!(!tree.at("out").exists());
    }
}

#[test]
fn other_compressions_are_named() {
    let tree = Tree::new(&[]);
    let error = unpack_tar(&b"BZh91AY"[..], tree.path()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "bzip2 compression is not supported here yet; use gzip or none"
    );
    assert!(unpack_tar(&b"no archive at all"[..], tree.path()).is_err());
}

//! GNU tar reads what is written here, and what it writes is read here, in all of its formats.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use stagewright_digest::ContentDigest;
use stagewright_layer::{EntryKind, EntryPath, LayerIndex, Metadata, read_index};

use crate::tars::{content, rewrite, whole_seconds};

/// Makes a tree with what tar formats have trouble with. Names are short when the format has no
/// long ones.
fn make_tree(root: &Path, long_names: bool) {
    let file = |path: &str, content: &[u8], mode| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("etc/passwd", b"root:x:0:0::/:/bin/sh\n", 0o644);
    file("etc-x", b"", 0o600);
    file("bin/setuid", &[7; 513], 0o4755);
    file("bin/exact", &[8; 512], 0o755);
    file("z/first", b"linked", 0o640);
    fs::hard_link(root.join("z/first"), root.join("a-link")).unwrap();
    symlink("../etc/passwd", root.join("bin/relative")).unwrap();
    symlink("/nowhere", root.join("absolute")).unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let fifo = CString::new(root.join("tmp/fifo").as_os_str().as_bytes()).unwrap();
    let made = Command::new("mkfifo")
        .arg(fifo.to_str().unwrap())
        .status()
        .unwrap();
    assert!(made.success());
    if long_names {
        file(
            &format!("{}/{}", "d".repeat(120), "f".repeat(200)),
            b"long",
            0o644,
        );
        file("größe/日本", b"unicode", 0o644);
        symlink("t".repeat(150), root.join("long-link")).unwrap();
    }
}

/// Makes a file with holes in front, between and at the end.
fn make_sparse(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::create(path).unwrap();
    for number in 1..40u64 {
        file.write_all_at(&number.to_le_bytes(), number * 300_000)
            .unwrap();
    }
    file.set_len(20_000_000).unwrap();
}

pub(crate) fn tar(arguments: &[&str], root: &Path) -> Vec<u8> {
    let mut command = Command::new("tar");
    command
        .arg("--create")
        .args(arguments)
        .arg("--directory")
        .arg(root)
        .arg(".");
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn extract(tar: &[u8], root: &Path) {
    fs::create_dir(root).unwrap();
    let archive = root.with_extension("tar");
    fs::write(&archive, tar).unwrap();
    let mut command = Command::new("tar");
    command
        .args(["--extract", "--preserve-permissions", "--file"])
        .arg(&archive);
    let output = command.arg("--directory").arg(root).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn listing(index: &LayerIndex) -> Vec<String> {
    let entries = index.entries().map(|entry| {
        let metadata = &entry.metadata;
        let kind = match &entry.kind {
            EntryKind::File { bytes, content } => format!("file {bytes} {content}"),
            other => format!("{other:?}"),
        };
        let Metadata { mode, uid, gid, .. } = metadata;
        format!(
            "{} {kind} {mode:o} {uid}:{gid} {}",
            entry.path, metadata.mtime.seconds
        )
    });
    entries.collect()
}
#[test]
fn every_format_of_gnu_tar_is_read_alike() {
    let folder = tempfile::tempdir().unwrap();
    for long_names in [false, true] {
        let root = folder
            .path()
            .join(if long_names { "long" } else { "short" });
        make_tree(&root, long_names);
        make_sparse(&root.join("sparse"));
        let expected = read_index(&tar(&["--format=pax"], &root)[..])
            .unwrap()
            .index;
        assert!(expected.len() >= 14, "{expected:#?}");
        let short: &[&[&str]] = &[&["--format=v7", "--exclude=fifo"], &["--format=ustar"]];
        let all: &[&[&str]] = &[
            &["--format=oldgnu"],
            &["--format=gnu"],
            &["--format=gnu", "--sparse"],
            &["--format=oldgnu", "--sparse"],
            &["--format=pax", "--sparse", "--sparse-version=0.0"],
            &["--format=pax", "--sparse", "--sparse-version=0.1"],
            &["--format=pax", "--sparse", "--sparse-version=1.0"],
            &["--format=pax", "--xattrs", "--sort=name"],
            &["--format=gnu", "--absolute-names", "--numeric-owner"],
        ];
        let formats = all.iter().chain(if long_names { &[] } else { short });
        for arguments in formats {
            let archive = tar(arguments, &root);
            let read = read_index(&archive[..]).unwrap().index;
            let mut expected = listing(&expected);
            expected.retain(|line| {
                arguments.len() < 2 || arguments[1] != "--exclude=fifo" || !line.contains("Fifo")
            });
            assert_eq!(listing(&read), expected, "{arguments:?}");
            let sparse = read.record(&EntryPath::parse(b"sparse").unwrap()).unwrap();
            let EntryKind::File { content: name, .. } = sparse.entry.kind else {
                panic!()
            };
            assert_eq!(
                ContentDigest::of(&content(&archive, sparse)),
                name,
                "{arguments:?}"
            );
            if arguments.contains(&"--sparse") {
                assert!(archive.len() < 5_000_000, "{arguments:?} stored the holes");
            }
        }
    }
}

#[test]
fn gnu_tar_extracts_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("from");
    make_tree(&root, true);
    let archive = tar(&["--format=pax", "--xattrs"], &root);
    let before = read_index(&archive[..]).unwrap().index;
    let written = rewrite(&archive, &before);
    let back = folder.path().join("back");
    extract(&written.writer, &back);
    let archive = tar(&["--format=pax", "--xattrs"], &back);
    let after = read_index(&archive[..]).unwrap().index;
    let entries = |index: LayerIndex| -> Vec<_> {
        whole_seconds(index)
            .into_iter()
            .map(|record| record.entry)
            .collect()
    };
    assert_eq!(entries(after), entries(before));
}

/// Python's reader is strict about extended headers.
#[test]
fn pythons_tarfile_reads_what_was_written() {
    if Command::new("python3").arg("--version").output().is_err() {
        panic!("this test needs python3");
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("from");
    make_tree(&root, true);
    let archive = tar(&["--format=pax"], &root);
    let index = read_index(&archive[..]).unwrap().index;
    let path = folder.path().join("written.tar");
    fs::write(&path, rewrite(&archive, &index).writer).unwrap();
    let script = "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name, oct(m.mode), m.size, m.linkname)";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(text.lines().count(), index.len(), "{text}");
    assert!(text.contains("größe/日本 0o644 7"), "{text}");
    assert!(text.contains(&"t".repeat(150)), "{text}");
}

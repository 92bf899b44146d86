//! Bytes that change on the disk: they are found, set aside, and what they were is made again.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::lab::{self, Kind, Lab};

/// Lists the files of a store that hold something: no locks, and not sled's, which has its own
/// tests. Of a file with many names one is taken.
pub(crate) fn files(lab: &Lab) -> Vec<PathBuf> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    for folder in ["actions", "blobs", "documents", "layers", "parts"] {
        collect(&lab.store().join(folder), &mut |path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let content = metadata.is_file() && metadata.len() > 0;
            if content && seen.insert(metadata.ino()) {
                files.push(path.to_owned());
            }
        });
    }
    files.sort();
    files
}

fn collect(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), found);
        } else {
            found(&entry.path());
        }
    }
}

/// Flips a bit of a file, at a place that depends on `n`. The same again undoes it.
pub(crate) fn flip(path: &Path, n: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % file.metadata().unwrap().len();
    let mut byte = [0];
    file.file().read_exact_at(&mut byte, at).unwrap();
    file.file()
        .write_all_at(&[byte[0] ^ (1 << (n % 8))], at)
        .unwrap();
}

fn built_lab(folder: &Path, kind: Kind) -> Lab {
    let lab = Lab::make(folder, kind);
    let builder = lab.open().unwrap();
    for n in 0..2 {
        let built = lab.build(&builder, n).unwrap();
        lab.export(&built.image, "exported.tar").unwrap();
    }
    assert!(files(&lab).len() > 15, "{:?}", files(&lab));
    lab
}

fn verify_finds_every_flipped_bit(kind: Kind) {
    let folder = lab::folder(kind);
    let lab = built_lab(folder.path(), kind);
    let builder = lab.open().unwrap();
    lab.check_store(&builder);
    for (n, path) in (0..).zip(files(&lab)) {
        for n in [n, n + 1000, n + 2000] {
            flip(&path, n);
            let found = builder.verify_cache(false).unwrap().damaged;
            let names: Vec<&PathBuf> = found.iter().map(|damage| &damage.path).collect();
            assert!(
                found.len() == 1 && path.starts_with(names[0]),
                "{path:?} was damaged, {found:?} was found"
            );
            flip(&path, n);
        }
    }
    lab.check_store(&builder);
    assert!(
        !lab.store()
            .join("quarantine")
            .read_dir()
            .unwrap()
            .any(|_| true)
    );
    // All of it at once.
    for (n, path) in (0..).zip(files(&lab)) {
        flip(&path, n);
    }
    builder.verify_cache(true).unwrap();
    lab.check_store(&builder);
    assert!(lab.store().join("quarantine").read_dir().unwrap().count() > 5);
    let built = lab.build(&builder, 1).unwrap();
    assert!(built.executed > 0);
    lab.check_files(&built.image, 1);
    lab.export(&built.image, "exported.tar").unwrap();
    lab.check_store(&builder);
}

#[test]
fn verify_finds_every_flipped_bit_and_repairs_it() {
    verify_finds_every_flipped_bit(Kind::Copies);
}

#[test]
#[ignore = "needs root"]
fn privileged_verify_finds_every_flipped_bit_of_unpacked_layers() {
    verify_finds_every_flipped_bit(Kind::Commands);
}

/// Builds, exports and reads what was made, once more if something turned out to be damaged: as the
/// command does.
fn use_all(lab: &Lab, number: u64) {
    let builder = lab.open().unwrap();
    let attempt = || {
        let built = lab.build(&builder, number).unwrap();
        lab.export(&built.image, "again.tar")?;
        lab.read_files(&built.image).map(|files| (built, files))
    };
    let (built, files) = attempt()
        .or_else(|error| {
            assert!(builder.damage_seen() > 0, "{error:?}");
            attempt()
        })
        .unwrap();
    assert_eq!(
        builder.damage_seen() > 0,
        built.warned || !builder.take_warnings().is_empty()
    );
    lab.check_read(&files, number);
    lab.check_files(&built.image, number);
    builder.verify_cache(true).unwrap();
    lab.check_store(&builder);
}

/// What a build meets that is damaged it never serves, and needs nobody's help to make it again.
fn a_build_makes_again_what_is_damaged(kind: Kind, wanted: impl Fn(&Path) -> bool) {
    let folder = lab::folder(kind);
    let lab = built_lab(&folder.path().join("whole"), kind);
    for (n, path) in (0..).zip(files(&lab)) {
        if !wanted(&path) {
            continue;
        }
        let root = folder.path().join("damaged");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(&lab.root)
            .arg(&root)
            .status();
        assert!(copied.unwrap().success());
        let damaged = Lab::at(&root, kind);
        flip(&root.join(path.strip_prefix(&lab.root).unwrap()), n);
        // One that shares a part with what is there, and one that is there.
        use_all(&damaged, 2);
        use_all(&damaged, 1);
        fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn a_build_makes_again_what_turns_out_to_be_damaged() {
    a_build_makes_again_what_is_damaged(Kind::Copies, |_| true);
}

/// Commands read files of unpacked layers through the kernel, which checks nothing: those are for
/// `cache verify`.
#[test]
#[ignore = "needs root"]
fn privileged_a_build_with_commands_makes_again_what_turns_out_to_be_damaged() {
    a_build_makes_again_what_is_damaged(Kind::Commands, |path| {
        !path.components().any(|part| part.as_os_str() == "fs")
    });
}

/// The layers of a base image that are damaged are taken from where they came.
#[test]
#[ignore = "needs root"]
fn privileged_a_base_image_that_is_damaged_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let lab = built_lab(folder.path(), Kind::Commands);
    let of_base = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains("/layers/sha256-") || name.contains("/blobs/")
    };
    let base: Vec<PathBuf> = files(&lab).into_iter().filter(of_base).collect();
    assert!(!base.is_empty(), "{:?}", files(&lab));
    for (n, path) in (0..).zip(base) {
        if path.exists() {
            flip(&path, n);
        }
    }
    let builder = lab.open().unwrap();
    builder.verify_cache(true).unwrap();
    let built = lab.build(&builder, 7).unwrap();
    lab.check_files(&built.image, 7);
    lab.check_store(&builder);
}

/// sled's files hold nothing that is not known otherwise.
#[test]
fn damage_in_the_index_costs_nothing() {
    let folder = lab::folder(Kind::Copies);
    let lab = built_lab(folder.path(), Kind::Copies);
    let builder = lab.open().unwrap();
    let known: BTreeSet<String> = names(&builder);
    for n in 0..60 {
        let mut sled = Vec::new();
        collect(&lab.store().join("index/sled-0.34"), &mut |path| {
            if fs::metadata(path).unwrap().len() > 0 {
                sled.push(path.to_owned());
            }
        });
        sled.sort();
        let path = &sled[usize::try_from(n).unwrap() % sled.len()];
        flip(path, n);
        if n % 3 == 0 {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        assert_eq!(names(&builder), known);
        let built = lab.build(&builder, 1).unwrap();
        assert_eq!(built.executed, 0);
        builder.verify_cache(true).unwrap();
        lab.check_store(&builder);
    }
    let aside = lab.store().join("index/damaged-0");
    assert!(aside.exists(), "what was damaged is kept aside");
}

fn names(builder: &stagewright::Builder) -> BTreeSet<String> {
    let uses = builder.layer_uses().unwrap();
    uses.into_iter().map(|layer| layer.id.to_string()).collect()
}

/// What explains a result is not what it is: without it the step need not run again.
#[test]
fn parts_and_documents_that_are_gone_are_written_again_and_run_nothing() {
    let folder = lab::folder(Kind::Copies);
    let lab = built_lab(folder.path(), Kind::Copies);
    let count = |name: &str| {
        let mut count = 0;
        collect(&lab.store().join(name), &mut |_| count += 1);
        count
    };
    let builder = lab.open().unwrap();
    let names = [
        ("parts", count("parts")),
        ("documents/place", count("documents/place")),
    ];
    for (name, _) in names {
        fs::remove_dir_all(lab.store().join(name)).unwrap();
        fs::create_dir(lab.store().join(name)).unwrap();
    }
    for n in 0..2 {
        assert_eq!(lab.build(&builder, n).unwrap().executed, 0);
    }
    for (name, before) in names {
        assert_eq!(count(name), before, "{name}");
    }
}

//! Operations of the store that fail: the build says so, and the store stays whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use stagewright_store::fault::{self, Fault, Operation};

use crate::lab::{self, Kind, Lab};

/// Tells the test binary that it is the one in which operations fail, and with what.
const ERROR: &str = "STAGEWRIGHT_TEST_FAULT";
pub(crate) const NO_SPACE: i32 = rustix::io::Errno::NOSPC.raw_os_error();
const IO: i32 = rustix::io::Errno::IO.raw_os_error();

/// Faults are counted over a process: a test that makes them has one to itself.
pub(crate) fn in_own_process(test: &str, error: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ERROR, error)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Returns what this process is to do, if it was started for a test.
pub(crate) fn chosen() -> Option<String> {
    std::env::var(ERROR).ok()
}

/// Builds in a new store with one fault at each operation in turn.
#[test]
fn failing() {
    let Some(error) = chosen() else {
        return;
    };
    let (name, number) = error.split_once(' ').unwrap();
    let number: i32 = number.parse().unwrap();
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let mut point = 0;
    loop {
        let fault = match name {
            "one" => Fault::Error(number),
            _ => Fault::ErrorFromHere(number),
        };
        let folder = lab::folder(Kind::Copies);
        let lab = Lab::make(folder.path(), Kind::Copies);
        fault::arm(Some((point, fault)));
        let built = lab.open().and_then(|builder| {
            let built = lab.build(&builder, 0)?;
            lab.export(&built.image, "exported.tar")?;
            // A build needs no index; who asks for it is told what is known without.
            builder.layer_uses().map(|_| built)
        });
        let passed = fault::passed();
        fault::arm(None);
        match built {
            Ok(built) => lab.check_files(&built.image, 0),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains(&text), "operation {point}: {message}");
            }
        }
        let builder = lab.open().unwrap();
        lab.check_store(&builder);
        let built = lab.build(&builder, 0).unwrap();
        lab.check_files(&built.image, 0);
        lab.export(&built.image, "exported.tar").unwrap();
        lab.check_store(&builder);
        if passed <= point {
            break;
        }
        point += 1;
    }
    assert!(point > 100, "only {point} operations were met");
}

#[test]
fn an_operation_that_fails_is_told_and_the_next_build_is_right() {
    in_own_process("faults::failing", &format!("one {IO}"));
}

#[test]
fn a_disk_that_is_full_from_any_operation_on_is_told_and_the_next_build_is_right() {
    in_own_process("faults::failing", &format!("all {NO_SPACE}"));
}

/// Reads the operations of a build and checks their order.
#[test]
fn tracing() {
    if chosen().is_none() {
        return;
    }
    let folder = lab::folder(Kind::Copies);
    let lab = Lab::make(folder.path(), Kind::Copies);
    fault::trace();
    let builder = lab.open().unwrap();
    lab.build(&builder, 0).unwrap();
    lab.build(&builder, 1).unwrap();
    let operations = fault::trace();
    let renames = operations.iter().filter(|o| o.name == "rename").count();
    assert!(renames > 10, "{operations:?}");
    check_order(&lab.store(), &operations);
}

/// Before an image gets a name, everything that was written has been made durable, and every name that was given, too. So is a
/// layer before its record gets its name.
fn check_order(store: &Path, operations: &[Operation]) {
    // Folders in which names were given.
    let mut unsynced_names: BTreeSet<PathBuf> = BTreeSet::new();
    let mut unsynced_bytes: BTreeSet<PathBuf> = BTreeSet::new();
    let mut recorded: BTreeSet<PathBuf> = BTreeSet::new();
    let mut named = 0;
    let [names, layers, temporary] =
        ["documents/tag", "layers", "tmp"].map(|folder| store.join(folder));
    // Leases end with their processes, and how large the store is can be measured again: neither has to outlive a crash.
    // What only explains a miss may be lost when the power goes.
    let fleeting = [
        "leases",
        "gc",
        "parts",
        "documents/place",
        "documents/stat-cache",
    ]
    .map(|folder| store.join(folder));
    for Operation { name, path } in operations {
        if fleeting.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let parent = path.parent().unwrap().to_owned();
        match *name {
            "write" if !path.ends_with("index/pending") => {
                unsynced_bytes.insert(path.clone());
            }
            "sync" => drop(unsynced_bytes.remove(path)),
            "sync file system" => {
                unsynced_bytes.clear();
                unsynced_names.clear();
            }
            "rename" => {
                if path.starts_with(&names) {
                    named += 1;
                    assert_eq!(unsynced_names, BTreeSet::new(), "before {path:?}");
                    assert_eq!(unsynced_bytes, BTreeSet::new(), "before {path:?}");
                }
                if path.starts_with(&layers) && path.ends_with("record") {
                    recorded.insert(path.clone());
                    assert!(!unsynced_names.contains(&parent), "before {path:?}");
                }
                unsynced_names.insert(parent);
            }
            "create directory" if !path.starts_with(&temporary) => {
                unsynced_names.insert(parent);
            }
            "sync directory" => drop(unsynced_names.remove(path)),
            _ => {}
        }
    }
    assert_eq!((unsynced_names, unsynced_bytes), Default::default());
    assert!(named >= 2 && recorded.len() >= 2, "{operations:?}");
}

#[test]
fn an_image_has_its_name_after_everything_that_it_needs_is_durable() {
    in_own_process("faults::tracing", "none");
}

/// A small file system, gone when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        Self(folder)
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Leaves so many bytes free.
    fn fill(&self, free: u64) {
        let room = rustix::fs::statvfs(self.0.path()).unwrap();
        let length = (room.f_bavail * room.f_frsize).saturating_sub(free).max(1);
        let file = fs_err::File::create(self.filler()).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays is seen by whoever runs the tests again.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_disk_that_fills_up_fails_builds_clearly_and_keeps_the_store() {
    let disk = SmallDisk::mount();
    for kind in [Kind::Copies, Kind::Commands] {
        let lab = Lab::make(&disk.0.path().join(format!("{kind:?}")), kind);
        let (mut failed, mut built) = (0, 0);
        for n in 0..50 {
            // Builds write between 60 and 300 KiB.
            disk.fill(4096 * (n * 31 % 97));
            let result = lab.open().and_then(|builder| {
                let built = lab.try_build(&builder, n)?;
                lab.export(&built.image, "exported.tar")?;
                builder.layer_uses().map(|_| ())
            });
            fs_err::remove_file(disk.filler()).unwrap();
            match result {
                Ok(()) => built += 1,
                Err(error) => {
                    failed += 1;
                    let message = error.to_string();
                    assert!(message.contains("No space left on device"), "{error:?}");
                }
            }
            let builder = lab.open().unwrap();
            lab.check_store(&builder);
            let again = lab.build(&builder, n).unwrap();
            lab.check_files(&again.image, n);
        }
        // Builds that find something to remove make room.
        assert!(failed > 2 && built > 5, "{failed} failed, {built} built");
    }
}

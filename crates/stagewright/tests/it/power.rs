//! A machine whose power is cut at any moment keeps what was reported.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use stagewright_store::fault;
use stagewright_testkit::{output, program};

use crate::crash::{Doomed, recover};
use crate::lab::{Kind, Lab};

/// How often the power is cut.
const CUTS: u64 = 40;
/// How long a killed builder's steps may keep the disk in use.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Has the file system of a folder lose whatever it has not written, as by a cut of the power: `EXT4_IOC_SHUTDOWN` with
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`, of the kernel's `fs/ext4/ext4.h`.
const CUT: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
";

/// An ext4 in a file in memory, mounted.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn make() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let disk = Self { folder };
        fs_err::File::create(disk.file())
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let mkfs = program("mkfs.ext4", "e2fsprogs");
        let _ = output(Command::new(mkfs).arg("-q").arg(disk.file())).success();
        fs_err::create_dir(disk.mount_point()).unwrap();
        disk.mount();
        disk
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(self.file());
        let _ = output(mount.arg(self.mount_point())).success();
    }

    fn cut_power(&self) {
        let mut cut = Command::new(program("python3", "python3"));
        let _ = output(cut.args(["-c", CUT]).arg(self.mount_point())).success();
    }

    /// Mounts what is left.
    fn start_again(&self) {
        let deadline = Instant::now() + WAIT_MAX;
        while !unmounted(&self.mount_point()) {
            assert!(Instant::now() < deadline, "the disk stays in use");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmounted(&self.mount_point());
    }
}

fn unmounted(folder: &Path) -> bool {
    output(Command::new("umount").arg(folder)).status.success()
}

fn lose_power_again_and_again(kind: Kind) {
    let (disk, folder) = (Disk::make(), tempfile::tempdir().unwrap());
    let lab = Lab::make(folder.path(), kind);
    let store = disk.mount_point().join("store");
    fs_err::create_dir(&store).unwrap();
    fs_err::os::unix::fs::symlink(&store, lab.store()).unwrap();
    let _ = output(&mut Command::new("sync")).success();
    let (mut first, mut all) = (0, Vec::new());
    for cut in 0..CUTS {
        let delay = Duration::from_micros(cut * 7919 % 60_000);
        let reports = Doomed::booted(&lab, kind, first, &format!("before-{cut}"))
            .end_after(delay, || disk.cut_power());
        disk.start_again();
        fault::begin_boot(&format!("after-{cut}"));
        first = recover(&lab, first, &reports, Lab::check_kept);
        all.extend(reports);
    }
    let builder = lab.open().unwrap();
    for (number, id) in &all {
        lab.check_kept(&builder, *number, id);
    }
    drop(builder);
}

#[test]
#[ignore = "needs root to mount"]
fn privileged_a_builder_whose_power_is_cut_loses_nothing_that_it_reported() {
    lose_power_again_and_again(Kind::Copies);
}

#[test]
#[ignore = "needs root to mount"]
fn privileged_a_builder_whose_power_is_cut_while_commands_run_loses_nothing_that_it_reported() {
    lose_power_again_and_again(Kind::Commands);
}

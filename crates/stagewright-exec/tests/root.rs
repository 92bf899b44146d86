//! Steps run as root in a BusyBox root file system.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use stagewright_exec::{
    CancelHandle, ExecError, Exit, Mount, Network, ProbeOptions, RootFs, Sandbox, Step, User,
};

struct World {
    directory: tempfile::TempDir,
    sandbox: Sandbox,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lower = directory.path().join("lower");
        for folder in ["bin", "etc", "tmp", "proc"] {
            fs::create_dir_all(lower.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "id", "ls", "sleep", "mount", "unshare", "hostname", "stat", "touch",
            "echo",
        ] {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        fs::set_permissions(&lower, std::fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(directory.path().join("draft/upper")).unwrap();
        fs::create_dir_all(directory.path().join("draft/work")).unwrap();
        Self {
            directory,
            sandbox: Sandbox::probe(ProbeOptions::default()).unwrap(),
        }
    }

    fn upper(&self) -> PathBuf {
        self.directory.path().join("draft/upper")
    }

    fn step(&self, script: &str) -> Step {
        let root = RootFs::Overlay {
            lowers: vec![self.directory.path().join("lower")],
            upper: self.upper(),
            work: self.directory.path().join("draft/work"),
        };
        let argv = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        Step {
            env: vec![("PATH".into(), "/bin".into())],
            ..Step::new(root, argv)
        }
    }

    fn run(&self, step: &Step) -> (Result<Exit, ExecError>, String) {
        // Each step has an upper and a work directory of its own.
        let draft = self.directory.path().join("draft");
        fs::remove_dir_all(&draft).unwrap();
        fs::create_dir_all(draft.join("upper")).unwrap();
        fs::create_dir_all(draft.join("work")).unwrap();
        let mut text = Vec::new();
        let cancel = CancelHandle::new().unwrap();
        let result = self
            .sandbox
            .run(step, &mut |_, bytes| text.extend_from_slice(bytes), &cancel);
        (result, String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn output(&self, script: &str) -> String {
        let (result, text) = self.run(&self.step(script));
        assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
        text
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs root"]
fn privileged_changes_land_in_the_upper_directory_and_nothing_else_does() {
    let world = World::new();
    let text = world.output(
        "echo hello > /made; cat /etc/hosts /etc/resolv.conf > /dev/null; hostname; ls /dev",
    );
    assert!(
        text.starts_with("buildkitsandbox\n") && text.contains("urandom"),
        "{text}"
    );
    let kept: Vec<String> = names(&world.upper())
        .into_iter()
        .filter(|name| name != "etc")
        .collect();
    assert_eq!(kept, ["made"]);
    // The stubs for the network files are gone; the folder that they were in was copied up.
    assert!(names(&world.upper().join("etc")).is_empty());
    assert_eq!(
        fs::metadata(world.upper().join("made")).unwrap().mode() & 0o777,
        0o644
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_exits_are_told_as_they_are() {
    let world = World::new();
    assert_eq!(world.run(&world.step("exit 7")).0.unwrap(), Exit::Code(7));
    assert_eq!(
        world.run(&world.step("kill -9 $$")).0.unwrap(),
        Exit::Signal(9)
    );
    let mut step = world.step("");
    step.argv = vec!["no-such-program".into()];
    let error = world.run(&step).0.unwrap_err();
    assert_eq!(error.shell_code(), Some(127), "{error}");
    step.argv = vec!["/etc".into()];
    assert_eq!(world.run(&step).0.unwrap_err().shell_code(), Some(126));
}

#[test]
#[ignore = "needs root"]
fn privileged_users_and_rights_are_limited() {
    let world = World::new();
    let mut step = world.step("id; touch /denied");
    step.user = User {
        uid: 1000,
        gid: 1001,
        groups: vec![29],
    };
    let (result, text) = world.run(&step);
    assert_ne!(result.unwrap(), Exit::Code(0));
    assert!(text.contains("uid=1000 gid=1001 groups=29"), "{text}");
    for refused in [
        "mount -t tmpfs x /tmp",
        "unshare -m true",
        "echo 1 > /proc/sys/vm/swappiness",
    ] {
        let (result, text) = world.run(&world.step(refused));
        assert_ne!(result.unwrap(), Exit::Code(0), "{refused}: {text}");
    }
    assert_eq!(world.output("cat /proc/interrupts"), "");
}

#[test]
#[ignore = "needs root"]
fn privileged_no_network_means_loopback_only() {
    let world = World::new();
    let mut step = world.step("cat /proc/net/dev; cat /sys/class/net/lo/flags");
    step.network = Network::None;
    let (result, text) = world.run(&step);
    assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
    assert!(text.contains("lo:") && !text.contains("eth0"), "{text}");
    assert!(
        text.contains("0x9") || text.contains("0x49"),
        "the loopback interface is up: {text}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_secrets_are_seen_and_leave_nothing() {
    let world = World::new();
    let mut step =
        world.step("cat /run/secrets/key; stat -c %a /run/secrets/key; touch /run/secrets/key");
    step.mounts = vec![Mount::Secret {
        bytes: b"sesame\n".to_vec(),
        target: "/run/secrets/key".into(),
        mode: 0o400,
        uid: 0,
        gid: 0,
    }];
    let (_, text) = world.run(&step);
    assert!(text.starts_with("sesame\n400\n"), "{text}");
    assert!(!names(&world.upper()).contains(&"run".to_owned()));
}

#[test]
#[ignore = "needs root"]
fn privileged_layers_are_read_only_or_thrown_away() {
    let world = World::new();
    let source = world.directory.path().join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/file"), "bound").unwrap();
    let layers = |scratch| Mount::Layers {
        lowers: vec![source.clone()],
        source: "/sub".into(),
        target: "/mnt/x".into(),
        scratch,
    };
    let mut step = world.step("cat /mnt/x/file; echo > /mnt/x/new");
    step.mounts = vec![layers(None)];
    let (result, text) = world.run(&step);
    assert!(
        text.starts_with("bound") && result.unwrap() != Exit::Code(0),
        "{text}"
    );
    let scratch = world.directory.path().join("scratch");
    fs::create_dir_all(scratch.join("upper")).unwrap();
    fs::create_dir_all(scratch.join("work")).unwrap();
    step.mounts = vec![layers(Some((scratch.join("upper"), scratch.join("work"))))];
    assert_eq!(world.run(&step).0.unwrap(), Exit::Code(0));
    assert_eq!(names(&source.join("sub")), ["file"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_cancelling_ends_everything() {
    let world = World::new();
    let cancel = CancelHandle::new().unwrap();
    let handle = cancel.clone();
    let mark = format!("{}", 100_000 + std::process::id());
    let step = world.step(&format!("sleep {mark} & sleep {mark} & echo started; wait"));
    let error = world
        .sandbox
        .run(&step, &mut |_, _| handle.cancel(), &cancel)
        .unwrap_err();
    assert!(matches!(error, ExecError::Cancelled), "{error}");
    let left = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&mark))
        .count();
    assert_eq!(left, 0);
}

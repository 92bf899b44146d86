//! Steps run as root in a BusyBox root file system.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use fs_err as fs;
use stagewright_exec::{CancelHandle, ExecError, Exit, Mount, Network, User};
use world::World;

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
fn privileged_what_mounts_hide_of_the_root_stays() {
    let world = World::new();
    let lower = world.directory.path().join("lower");
    // As Debian's images have them.
    for folder in ["dev/pts", "dev/shm", "cache/empty"] {
        fs::create_dir_all(lower.join(folder)).unwrap();
    }
    let mut step = world.step("echo x > /cache/made && echo x > /cache/empty/made");
    let tmpfs = |target: &str| Mount::Tmpfs {
        target: target.into(),
        size_bytes: None,
        mode: 0o755,
    };
    step.mounts = vec![tmpfs("/cache"), tmpfs("/cache/empty")];
    let (result, text) = world.run(&step);
    assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
    for folder in ["dev", "cache"] {
        assert!(!world.upper().join(folder).exists(), "{folder} was changed");
    }
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

#[test]
#[ignore = "needs root"]
fn privileged_devices_that_a_step_makes_cannot_be_used() {
    let world = World::new();
    let mut step = world.step(
        "for at in /tmp /dev /mnt/cache /dev/shm; do \
         mknod $at/node c 1 7 && echo made; head -c 1 $at/node && echo READ $at; done; \
         head -c 3 /dev/zero | cat > /dev/null && cat /proc/interrupts && echo fine",
    );
    let cache = world.directory.path().join("cache");
    fs::create_dir_all(&cache).unwrap();
    step.mounts = vec![Mount::Bind {
        source: cache,
        target: "/mnt/cache".into(),
        readonly: false,
    }];
    let (result, text) = world.run(&step);
    assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
    // Packages make nodes, so that making them works; all are closed to the step.
    assert!(text.contains("made") && text.contains("fine"), "{text}");
    assert!(!text.contains("READ"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn privileged_mount_targets_follow_links_inside_the_root_only() {
    let world = World::new();
    let outside = world.directory.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let lower = world.directory.path().join("lower");
    symlink(&outside, lower.join("absolute")).unwrap();
    symlink("../../../../../..", lower.join("up")).unwrap();
    symlink("nowhere/at/all", lower.join("dangling")).unwrap();
    symlink("loop", lower.join("loop")).unwrap();
    let mut step = world.step("cat /nowhere/at/all/z /y");
    step.mounts = ["up/y", "dangling/z"]
        .iter()
        .map(|target| Mount::Secret {
            bytes: target.as_bytes().to_vec(),
            target: Path::new("/").join(target),
            mode: 0o400,
            uid: 0,
            gid: 0,
        })
        .collect();
    step.mounts.push(Mount::Tmpfs {
        target: "/absolute/x".into(),
        size_bytes: None,
        mode: 0o755,
    });
    let (result, text) = world.run(&step);
    assert_eq!(result.unwrap(), Exit::Code(0), "{text}");
    assert_eq!(text, "dangling/zup/y");
    assert!(names(&outside).is_empty());
    let left = names(&world.upper());
    assert!(
        !left.contains(&"nowhere".to_owned()) && !left.contains(&"y".to_owned()),
        "{left:?}"
    );
    step.mounts = vec![Mount::Tmpfs {
        target: "/loop".into(),
        size_bytes: None,
        mode: 0o755,
    }];
    assert!(matches!(world.run(&step).0, Err(ExecError::Setup { .. })));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_single_file_is_written_and_thrown_away() {
    let world = World::new();
    let path = |name: &str| world.directory.path().join(name);
    fs::write(path("file"), "old").unwrap();
    for folder in ["u", "w"] {
        fs::create_dir(path(folder)).unwrap();
    }
    let mut step = world.step("echo -n new >> /mnt; cat /mnt");
    step.mounts = vec![Mount::BindDiscard {
        source: path("file"),
        target: "/mnt".into(),
        upper: path("u"),
        work: path("w"),
    }];
    let (result, text) = world.run(&step);
    assert_eq!((result.unwrap(), text.as_str()), (Exit::Code(0), "oldnew"));
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "old");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_panic_of_the_caller_ends_the_step_and_leaves_no_zombie() {
    let world = World::new();
    let children = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let lists =
            tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok());
        lists.collect::<String>()
    };
    let mark = format!("{}", 200_000 + std::process::id());
    let step = world.step(&format!("echo now; sleep {mark}"));
    let cancel = CancelHandle::new().unwrap();
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world
            .sandbox
            .run(&step, &mut |_, _| panic!("{}", children()), &cancel)
    }));
    let child = ran.unwrap_err().downcast::<String>().unwrap();
    for pid in child.split_whitespace() {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!line.contains(&mark) && !state.contains(") Z "), "{state}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_that_cannot_be_set_are_refused() {
    let world = World::new();
    let mut step = world.step("true");
    step.limits.memory_swap_bytes = Some(1 << 30);
    assert!(matches!(world.run(&step).0, Err(ExecError::InvalidStep(_))));
    let mut step = world.step("true");
    step.cgroup_parent = Some("../builds".into());
    assert!(matches!(world.run(&step).0, Err(ExecError::InvalidStep(_))));
    let mut step = world.step("true");
    step.limits.cpuset_cpus = Some("100000".into());
    assert!(matches!(world.run(&step).0, Err(ExecError::Setup { .. })));
}

#[test]
#[ignore = "needs root"]
fn privileged_the_steps_own_name_is_known() {
    let text = World::new().output("cat /etc/hosts");
    assert!(
        text.contains("127.0.0.1\tlocalhost buildkitsandbox\n"),
        "{text}"
    );
}

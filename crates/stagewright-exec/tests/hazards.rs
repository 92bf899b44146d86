//! What a host program may do with its children and signals, and what steps must not do to it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use stagewright_exec::{CancelHandle, ExecError, Exit, Mount, RootFs, Step, User};
use stagewright_testkit::process_state;
use world::World;

/// Says that this process was started by a test to be the host.
const INSIDE: &str = "STAGEWRIGHT_TEST_HOST";
/// How often a step runs where a host's threads race with it.
const RUNS: i32 = 30;

/// Runs a test as a process of its own, since it changes what belongs to the whole process: `prepare`
/// is the program with its options that starts it, if it is not started directly.
fn alone(name: &str, prepare: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let out = Command::new("/bin/sh")
        .args(["-c", &format!("exec {prepare} \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[track_caller]
fn every_exit_is_right(world: &World) {
    for code in 0..RUNS {
        let (result, said) = world.run(&world.step(&format!("echo run {code}; exit {code}")));
        assert_eq!(result.unwrap(), Exit::Code(code));
        assert_eq!(said, format!("run {code}\n"));
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_host_that_waits_for_every_child_gets_right_exits() {
    let name = "privileged_a_host_that_waits_for_every_child_gets_right_exits";
    alone(name, "", || {
        let world = World::new();
        let ended = AtomicBool::new(false);
        let reaped = std::thread::scope(|scope| {
            let reaper = scope.spawn(|| {
                let mut reaped = 0;
                while !ended.load(Ordering::Relaxed) {
                    let options = rustix::process::WaitOptions::NOHANG;
                    if let Ok(Some(_)) = rustix::process::wait(options) {
                        reaped += 1;
                    }
                }
                reaped
            });
            every_exit_is_right(&world);
            ended.store(true, Ordering::Relaxed);
            reaper.join().unwrap()
        });
        assert!(reaped > 0, "the host took no child: nothing was tried");
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_a_host_that_ignores_the_end_of_children_gets_right_exits() {
    let name = "privileged_a_host_that_ignores_the_end_of_children_gets_right_exits";
    alone(name, "env --ignore-signal=CHLD", || {
        let ignored = status("SigIgn");
        let mask = u64::from_str_radix(&ignored, 16).unwrap();
        assert!(
            mask & 1 << (17 - 1) != 0,
            "SIGCHLD is not ignored: {ignored}"
        );
        every_exit_is_right(&World::new());
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_threads_that_end_and_run_at_once_do_not_disturb_steps() {
    const THREADS: i32 = 8;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let world = World::new();
                for run in 0..8 {
                    let code = thread * 8 + run;
                    // Each step is started by a thread that ends right after it.
                    let script = format!("echo {code}; exit {code}");
                    let (result, said) = std::thread::scope(|scope| {
                        let run = scope.spawn(|| world.run(&world.step(&script)));
                        run.join().unwrap()
                    });
                    assert_eq!(result.unwrap(), Exit::Code(code));
                    assert_eq!(said, format!("{code}\n"));
                }
            });
        }
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_executable_is_told_and_takes_the_step_with_it() {
    let name = "privileged_a_killed_executable_is_told_and_takes_the_step_with_it";
    alone(name, "", || {
        let world = World::new();
        let seconds = format!("9{:07}.5", std::process::id());
        let script = format!("echo ready; setsid sleep {seconds} & sleep {seconds}");
        kill_the_executable(&world, &world.step(&script));
        // The end of the step's output, which was waited for, is the end of its last process.
        assert_eq!(running(&seconds), 0);
    });
}

/// Starts a test in a user namespace in which no other namespaces can be made, as in a container that
/// forbids them.
const NO_NAMESPACES: &str = "unshare --user --map-root-user --mount sh -c \
    'for kind in mnt pid user; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec \"$0\" \"$@\"'";

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_executable_leaves_nothing_where_there_are_no_namespaces() {
    let name = "privileged_a_killed_executable_leaves_nothing_where_there_are_no_namespaces";
    alone(name, NO_NAMESPACES, || {
        let world = World::without_namespaces();
        let root = world.directory.path().join("lower");
        let cache = world.directory.path().join("cache");
        fs::create_dir(&cache).unwrap();
        let seconds = format!("8{:07}.5", std::process::id());
        // One in the step's session, one out of it, one that nobody waits for, and none that holds
        // the step's output but the program itself.
        let script = format!(
            "echo x > /cache/file; sleep {seconds} >/dev/null 2>&1 & setsid sleep {seconds} >/dev/null 2>&1 & \
             (setsid sleep {seconds} >/dev/null 2>&1 &) ; echo ready; sleep {seconds}"
        );
        let mut step = world.step(&script);
        step.root = RootFs::Directory(root.clone());
        step.mounts = vec![Mount::Bind {
            source: cache.clone(),
            target: "/cache".into(),
            readonly: false,
        }];
        let before = names(&root);
        kill_the_executable(&world, &step);
        assert_eq!(running(&seconds), 0);
        // What was put in place of the root's own files is away, and what was borrowed is back.
        assert_eq!(names(&root), before);
        assert!(cache.join("file").exists());
        assert!(!world.directory.path().join("aside").exists());
    });
}

/// Runs a step, and kills the executable that started it when the step says `ready`.
fn kill_the_executable(world: &World, step: &Step) {
    let mut killed = false;
    let mut kill = |_, bytes: &[u8]| {
        if bytes.starts_with(b"ready") {
            let ours = children("");
            assert_eq!(ours.len(), 1, "{ours:?}");
            let pid = rustix::process::Pid::from_raw(ours[0]).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            killed = true;
        }
    };
    let cancel = CancelHandle::new().unwrap();
    let result = world.sandbox.run(step, &mut kill, &cancel);
    assert!(matches!(result, Err(ExecError::Lost)), "{result:?}");
    assert!(killed);
}

fn names(folder: &std::path::Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// Counts the processes with a word in their command lines.
fn running(word: &str) -> usize {
    let has_it = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    processes().filter(has_it).count()
}

/// Returns the processes of the machine.
fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

/// Returns the children of this process with a name.
fn children(name: &str) -> Vec<i32> {
    let own = std::process::id().to_string();
    let is_ours = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            let (head, tail) = stat.rsplit_once(')').unwrap();
            head.contains(name) && tail.split_whitespace().nth(1) == Some(&own)
        })
    };
    processes().filter(is_ours).collect()
}

/// Returns a field of what the kernel says of this process.
fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

/// Everything of this process that a library could have changed.
fn state() -> Vec<String> {
    let mut state = process_state();
    for file in ["personality", "timerslack_ns", "mountinfo"] {
        let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap();
        state.push(format!("{file} {text}"));
    }
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    state.push(format!("dumpable {dumpable:?}"));
    let death = rustix::process::parent_process_death_signal().unwrap();
    state.push(format!("signal of the parent's death {death:?}"));
    let mut files: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            Some(
                fs::read_link(entry.ok()?.path())
                    .ok()?
                    .display()
                    .to_string(),
            )
        })
        .filter(|file| !file.contains("/fd"))
        .collect();
    files.sort();
    state.push(format!("files {files:?}"));
    state
}

/// Says whether orphans of this process's children become its own.
fn takes_orphans() -> bool {
    let out = Command::new("/bin/sh")
        .args(["-c", "sleep 600 > /dev/null 2>&1 & echo $!"])
        .output()
        .unwrap();
    let pid = String::from_utf8(out.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let taken = children("sleep").contains(&pid);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    taken
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_change_nothing_of_their_host() {
    let name = "privileged_steps_change_nothing_of_their_host";
    // What others mount meanwhile is not seen.
    alone(name, "unshare --mount", || {
        // What is made once and stays is made before.
        let world = World::new();
        let _ = world.run(&world.step("true"));
        let before = state();
        assert!(!takes_orphans());
        for (script, uid) in [("true", 0), ("kill -9 $$", 0), ("exit 3", 1000)] {
            let mut step = world.step(script);
            step.user = User {
                uid,
                gid: uid,
                groups: vec![5, 6],
            };
            let _ = world.run(&step);
        }
        let mut step = world.step("sleep 86399.5");
        step.timeout = Some(std::time::Duration::from_millis(50));
        assert!(matches!(world.run(&step).0, Err(ExecError::TimedOut(_))));
        assert_eq!(state(), before);
        assert!(!takes_orphans());
        assert_eq!(children(""), [0; 0]);
    });
}

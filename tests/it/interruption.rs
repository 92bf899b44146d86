//! A build that is stopped from outside leaves nothing running and nothing mounted.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stagewright_testkit::{Project, Stagewright, output};

use crate::account::Account;

/// How long something may take to come or to go on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Waits until the condition holds.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "{what} after {} s",
            WAIT_MAX.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns whether a process with this word in its command line runs.
fn runs(word: &str) -> bool {
    fs_err::read_dir("/proc").unwrap().any(|entry| {
        let command = entry.unwrap().path().join("cmdline");
        // A process may be gone by now, and most entries are no processes.
        fs_err::read(command).is_ok_and(|bytes| {
            bytes
                .split(|byte| *byte == 0)
                .any(|part| part == word.as_bytes())
        })
    })
}

fn mounts_below(folder: &Path) -> Vec<String> {
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    let folder = folder.display().to_string();
    mounts
        .lines()
        .filter(|line| line.contains(&folder))
        .map(str::to_owned)
        .collect()
}

/// A build in the middle of a step that would take hours.
struct LongBuild {
    stagewright: Stagewright,
    project: Project,
    process: Child,
    /// The argument that tells this step's processes from all others.
    seconds: String,
}

impl LongBuild {
    fn start() -> Self {
        Self::start_with("RUN sleep {seconds} & setsid sleep {seconds} & sleep {seconds}")
    }

    /// Starts one whose last instruction is `step`, with a word of its own for `{seconds}`.
    fn start_with(step: &str) -> Self {
        // No other test sleeps this long.
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let seconds = format!("9{:06}{number}", std::process::id());
        let stagewright = Stagewright::with_busybox();
        let step = step.replace("{seconds}", &seconds);
        let dockerfile = format!("FROM busybox\nRUN echo kept > /kept\n{step}\n");
        let project = Project::new().file("Dockerfile", dockerfile);
        let mut command = stagewright.build_command(&project, &[]);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let build = Self {
            stagewright,
            project,
            process,
            seconds,
        };
        wait_until("the step does not run", || runs(&build.seconds));
        build
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let _ = output(Command::new("kill").args([signal, &pid])).success();
    }

    fn assert_nothing_is_left(&self) {
        wait_until("processes of the step are left", || !runs(&self.seconds));
        let left = mounts_below(&self.stagewright.store());
        assert!(left.is_empty(), "mounts are left: {left:?}");
    }

    /// Builds again with a step that ends; what was finished before comes from the cache.
    fn assert_the_next_build_works(&self) {
        self.project.write(
            "Dockerfile",
            "FROM busybox\nRUN echo kept > /kept\nRUN true\n",
        );
        let executed = self
            .stagewright
            .build(&self.project, &[])
            .success()
            .executed();
        assert_eq!(executed, ["RUN true"]);
        let mut verify = self.stagewright.command("cache");
        let _ = output(
            verify
                .arg("verify")
                .arg("--store")
                .arg(self.stagewright.store()),
        )
        .success();
    }
}

impl Drop for LongBuild {
    fn drop(&mut self) {
        // For the test that failed before it ended the build.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_build_leaves_no_process_and_no_mount() {
    let mut build = LongBuild::start();
    build.signal("-KILL");
    let _ = build.process.wait().unwrap();
    build.assert_nothing_is_left();
    build.assert_the_next_build_works();
}

#[test]
#[ignore = "needs root"]
fn privileged_an_interrupted_build_ends_with_130_and_leaves_nothing() {
    for signal in ["-INT", "-TERM"] {
        let mut build = LongBuild::start();
        build.signal(signal);
        let status = build.process.wait().unwrap();
        let expected = if signal == "-INT" { 130 } else { 143 };
        assert_eq!(status.code(), Some(expected), "{signal}: {status}");
        build.assert_nothing_is_left();
        build.assert_the_next_build_works();
    }
}

/// Who waits for a step that another build runs sees that build die, and runs the step itself.
#[test]
#[ignore = "needs root"]
fn privileged_who_waits_for_a_step_takes_over_when_its_builder_dies() {
    let mut first = LongBuild::start_with(
        "RUN --mount=type=cache,target=/ran echo ran >> /ran/runs; [ $(wc -l < /ran/runs) = 2 ] || sleep {seconds}",
    );
    let mut second = first.stagewright.build_command(&first.project, &[]);
    let mut second = second
        .arg("--progress=rawjson")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(second.stdout.take().unwrap());
    let mut line = String::new();
    // It has the step before that from the store, and comes to the one that runs.
    while !(line.contains("vertex_started") && line.contains("/ran/runs")) {
        line.clear();
        assert_ne!(events.read_line(&mut line).unwrap(), 0, "it ended");
    }
    assert!(second.try_wait().unwrap().is_none(), "it waits for nobody");
    first.signal("-KILL");
    let _ = first.process.wait().unwrap();
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert!(second.wait().unwrap().success(), "{rest}");
    first.assert_nothing_is_left();
    let again = first.stagewright.build(&first.project, &[]).success();
    assert_eq!(again.executed(), [""; 0], "the second did not keep it");
}

#[test]
#[ignore = "needs root"]
fn privileged_readers_wait_for_no_step_that_runs() {
    let build = LongBuild::start();
    let stagewright = &build.stagewright;
    let kept = Project::new().file("Dockerfile", "FROM busybox\nRUN echo kept > /kept\n");
    let executed = stagewright.build(&kept, &["-t", "kept:1"]).success();
    assert_eq!(executed.executed(), [""; 0], "what is stored is found");
    let explained = stagewright.explain(&build.project, &[]);
    let verdicts: Vec<&str> = explained.iter().map(|step| &*step.verdict).collect();
    assert_eq!(verdicts, ["hit", "miss"], "{explained:?}");
    let verbs: [&[&str]; 7] = [
        &["images"],
        &["inspect", "kept:1"],
        &["sizes", "kept:1"],
        &["cache", "du"],
        &["cache", "verify"],
        &["cache", "prune", "--max-age=1h"],
        &["cache", "prune", "--all"],
    ];
    for verb in verbs {
        let mut command = stagewright.command(verb[0]);
        command
            .args(&verb[1..])
            .arg("--store")
            .arg(stagewright.store());
        let _ = output(&mut command).success();
    }
    assert!(runs(&build.seconds), "the step still runs");
}

/// Somebody who interrupts twice does not wait for anything.
#[test]
#[ignore = "needs root"]
fn privileged_a_second_interrupt_ends_the_build_at_once() {
    let mut build = LongBuild::start();
    build.signal("-STOP");
    // Both are there when it goes on: the second comes before the first could have been followed.
    build.signal("-INT");
    build.signal("-TERM");
    build.signal("-CONT");
    let code = build.process.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    build.assert_nothing_is_left();
    build.assert_the_next_build_works();
}

/// Returns the processes that a process has started, and those that they have.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let tasks = format!("/proc/{}/task", found[next]);
        for task in fs_err::read_dir(tasks).unwrap() {
            let children = fs_err::read_to_string(task.unwrap().path().join("children")).unwrap();
            found.extend(
                children
                    .split_whitespace()
                    .map(|pid| pid.parse::<u32>().unwrap()),
            );
        }
        next += 1;
    }
    found.split_off(1)
}

#[test]
#[ignore = "needs root"]
fn privileged_what_a_build_starts_runs_in_namespaces_of_its_own() {
    let build = LongBuild::start();
    let link = |pid: u32, name: &str| fs_err::read_link(format!("/proc/{pid}/{name}")).unwrap();
    let own = std::process::id();
    let mut of_steps = 0;
    for pid in descendants(build.process.id()) {
        let executable = link(pid, "exe").display().to_string();
        if executable.contains("stagewright-init") {
            continue;
        }
        of_steps += 1;
        for namespace in ["mnt", "pid", "ipc", "uts", "cgroup"] {
            let name = format!("ns/{namespace}");
            assert_ne!(link(pid, &name), link(own, &name), "{executable}: {name}");
        }
        // A root, and no capability that the host did not mean to give.
        let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{executable}: {status}");
        assert!(status.contains("CapBnd:\t00000000a80425fb\n"), "{status}");
    }
    // Two that sleep and a shell that waits for them, if it did not become one of them.
    assert!(of_steps >= 2, "{of_steps}");
}

/// How often a build is killed.
const KILLS: u64 = 100;

/// Kills builds, each a little later than the one before: while it prepares, while a step runs, while
/// a layer is stored. Returns the word that tells their steps' processes.
fn kill_at_any_point(project: &Project, name: &str, build: &dyn Fn() -> Command) {
    let word = format!("8{:07}{name}", std::process::id());
    for number in 0..KILLS {
        let step = format!("mkdir /d && for i in $(seq 20); do echo {number} > /d/$i; done");
        let dockerfile = format!(
            "FROM busybox\nCOPY a /b\nRUN {step}; (setsid sleep {word} &) ; sleep 0.02\nRUN rm -r /d\n"
        );
        project.write("Dockerfile", dockerfile);
        let mut process = build()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2 * number));
        process.kill().unwrap();
        let _ = process.wait().unwrap();
    }
    wait_until("processes of the steps are left", || !runs(&word));
    project.write("Dockerfile", "FROM busybox\nRUN rm -rf /tmp && mkdir /d\n");
}

#[track_caller]
fn assert_nothing_is_left_in(store: &Path) {
    let left = mounts_below(store);
    assert!(left.is_empty(), "mounts are left: {left:?}");
    let folders = fs_err::read_dir(store.join("tmp")).unwrap();
    let left: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    assert!(
        left.is_empty(),
        "folders of killed builds are left: {left:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_builds_killed_at_any_point_leave_nothing_that_the_next_does_not_clean() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("a", "a");
    kill_at_any_point(&project, ".1", &|| stagewright.build_command(&project, &[]));
    let _ = stagewright.build(&project, &[]).success();
    assert_nothing_is_left_in(&stagewright.store());
    let mut verify = stagewright.command("cache");
    let _ = output(verify.arg("verify").arg("--store").arg(stagewright.store())).success();
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_builds_killed_without_root_leave_nothing_that_the_next_does_not_clean() {
    let account = Account::new();
    let project = Project::new().file("a", "a");
    let context = format!(
        "--build-context=busybox=oci-layout://{}",
        account.path("busybox").display()
    );
    kill_at_any_point(&project, ".2", &|| {
        let mut build = account.command("build", &project);
        build.arg(&context).arg(project.path());
        build
    });
    let _ = account.build(&project, "image").success();
    assert_nothing_is_left_in(&account.path("store"));
    let _ = account.cache(&["verify"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_that_takes_too_long_is_ended_with_what_it_started() {
    let stagewright = Stagewright::with_busybox();
    let word = "86399.25";
    let project = Project::new().file(
        "Dockerfile",
        format!("FROM busybox\nRUN (setsid sleep {word} &) ; echo begun; sleep {word}\n"),
    );
    let build = stagewright.build(&project, &["--timeout=1s"]);
    let said = build.output.to_string();
    assert!(build.output.code() == Some(1), "{said}");
    assert!(said.contains("took longer than 1 s"), "{said}");
    assert!(!runs(word), "{said}");
    let quick = project.file("Dockerfile", "FROM busybox\nRUN true\n");
    let _ = stagewright.build(&quick, &["--timeout=1h"]).success();
    // It is no part of what a step is.
    let again = stagewright.build(&quick, &["--timeout=2h"]).success();
    assert_eq!(again.executed(), Vec::<String>::new());
}

//! The library lives in processes of others: builds change nothing of them, however large they are.

use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use stagewright::json::parse_request;
use stagewright::{Builder, BuilderOptions, Error, ErrorKind, Image};
use stagewright_testkit::{Project, output, process_state};

use crate::account::Account;

/// Says that this process was started by a test to be a host, and where its account's folder is.
const INSIDE: &str = "STAGEWRIGHT_TEST_HOST";

/// Runs a test's body in a process of its own, as a user or as the unprivileged one of the tests.
fn as_host(name: &str, user: Option<&str>, body: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return body(Path::new(&folder));
    }
    let account = match user {
        Some(user) => Account::of(user.to_owned()),
        None => Account::new(),
    };
    let program = account.path("host");
    fs_err::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let told = output(
        account
            .run_as("env", &Project::new())
            .arg(format!("{INSIDE}={}", account.folder().display()))
            .arg(program)
            .args([name, "--exact", "--ignored", "--nocapture"]),
    )
    .success();
    assert!(told.stdout.contains("1 passed"), "{told}");
}

fn build(builder: &Builder, folder: &Path, dockerfile: &str) -> Result<Image, Error> {
    let layout = folder.join("busybox").display().to_string();
    let json = serde_json::json!({
        "dockerfile_text": dockerfile,
        "build_contexts": { "busybox": format!("oci-layout://{layout}") },
    });
    builder.build(parse_request(&json.to_string())?).wait()
}

/// Everything of this process that a library could have changed and that the kernel tells.
fn state() -> Vec<String> {
    let mut state = process_state();
    // The files of a process that nobody may look at are root's.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs_err::metadata("/proc/self/environ").unwrap());
    state.push(format!("looked at by: {owner}"));
    state
}

/// What this process has open.
fn open_files() -> Vec<String> {
    let entries = fs_err::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| fs_err::read_link(entry.unwrap().path()).ok());
    let mut files: Vec<String> = targets
        .map(|target| target.display().to_string())
        // The directory that is being read.
        .filter(|target| !target.ends_with("/fd"))
        .collect();
    files.sort();
    files
}

/// Says whether orphans of this process's children become its own.
fn takes_orphans() -> bool {
    let script = "(sleep 600 > /dev/null 2>&1 & echo $!)";
    let told = output(Command::new("/bin/sh").args(["-c", script])).success();
    let pid = told.stdout.trim();
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let _ = output(Command::new("kill").args(["-9", pid])).success();
    let parent = format!("PPid:\t{}", std::process::id());
    status.lines().any(|line| line == parent)
}

fn builds_change_nothing(folder: &Path) {
    let before = state();
    assert!(!takes_orphans());
    let builder = Builder::open(BuilderOptions::at(folder.join("store"))).unwrap();
    // What a builder has open as long as it lives.
    build(&builder, folder, "FROM busybox\nRUN true\n").unwrap();
    let open = open_files();
    let dockerfile = "\
FROM busybox
WORKDIR /w
ENV A=1
RUN umask 077; cd /; trap '' CHLD; echo 1 > /one
COPY --from=busybox /bin /w/
";
    build(&builder, folder, dockerfile).unwrap();
    assert!(!takes_orphans());
    for script in ["exit 3", "kill -9 $$"] {
        let failed = build(&builder, folder, &format!("FROM busybox\nRUN {script}\n"));
        assert_eq!(failed.unwrap_err().kind, ErrorKind::StepFailed, "{script}");
    }
    assert_eq!(open_files(), open);
    drop(builder);
    assert_eq!(state(), before);
    // What others mount meanwhile is theirs.
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    assert!(!takes_orphans());
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_builds_without_root_change_nothing_of_their_host() {
    let name = "hosts::privileged_builds_without_root_change_nothing_of_their_host";
    as_host(name, None, builds_change_nothing);
}

#[test]
#[ignore = "needs root"]
fn privileged_builds_of_root_change_nothing_of_their_host() {
    let name = "hosts::privileged_builds_of_root_change_nothing_of_their_host";
    as_host(name, Some("root"), builds_change_nothing);
}

/// What a large host holds.
const HELD_BYTES: usize = 3 << 30;
const THREADS: usize = 500;
const FILES: usize = 700;

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_host_of_gigabytes_threads_and_files_runs_steps() {
    let name = "hosts::privileged_a_host_of_gigabytes_threads_and_files_runs_steps";
    as_host(name, None, |folder| {
        let held = vec![1_u8; HELD_BYTES];
        let files: Vec<_> = (0..FILES)
            .map(|_| fs_err::File::open("/dev/null").unwrap())
            .collect();
        let end = Barrier::new(THREADS + 1);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| end.wait());
            }
            let builder = Builder::open(BuilderOptions::at(folder.join("store"))).unwrap();
            let script = "test $(ls /proc/self/fd | wc -l) -le 4 && echo 1 > /one";
            let built = build(
                &builder,
                folder,
                &format!("FROM busybox\nRUN {script}\nRUN true\n"),
            );
            end.wait();
            built.unwrap();
        });
        assert_eq!((held.len(), files.len()), (HELD_BYTES, FILES));
    });
}

//! What programs ask of the kernel directly.

use std::process::Command;

use stagewright_testkit::{Build, Project, Stagewright, output};

use super::{Outside, confined};
use crate::account::Account;

/// Says of each call what came of it when it is not refused. `plant` runs a program with a key in its
/// session's keyring; `key` looks for that key alone, and `trace` tries process 1 alone.
const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
/* Refused is what is not permitted, and what the kernel is said not to know. */
static void tried(const char *name, long result) {
    if (result >= 0 || (errno != EPERM && errno != ENOSYS))
        printf("ESCAPE %s: %ld, %s\n", name, result, result < 0 ? strerror(errno) : "done");
    fflush(stdout);
}
#define TRY(name, ...) tried(name, syscall(__VA_ARGS__))
int main(int count, char **words) {
    if (count > 2 && !strcmp(words[1], "plant")) {
        if (syscall(SYS_keyctl, 1, "stagewright-escape") < 0) return 3;
        if (syscall(SYS_add_key, "user", "stagewright-escape", "x", 1, -3) < 0) return 4;
        execv(words[2], words + 2);
        return 5;
    }
    if (count > 1 && !strcmp(words[1], "key")) {
        long key = syscall(SYS_keyctl, 10, -3, "user", "stagewright-escape", 0);
        if (key < 0 && errno != ENOKEY) return printf("no keys here: %s\n", strerror(errno));
        puts(key >= 0 ? "ESCAPE a key of the host" : "all were tried");
        return 0;
    }
    char byte, handle[16] = { 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0 };
    struct iovec here = { &byte, 1 }, there = { (void *)0x400000, 1 };
    /* Other processes. */
    long attached = syscall(SYS_ptrace, PTRACE_ATTACH, 1, 0, 0);
    tried("ptrace of process 1", attached);
    if (attached >= 0) {
        /* It would stand still, and the step with it. */
        waitpid(1, 0, __WALL);
        syscall(SYS_ptrace, PTRACE_DETACH, 1, 0, 0);
    }
    TRY("memory of process 1", SYS_process_vm_readv, 1, &here, 1, &there, 1, 0);
    if (count > 1 && !strcmp(words[1], "trace")) {
        for (const char **file = (const char *[]) { "/proc/1/exe", "/proc/1/mem", "/proc/1/environ", 0 }; *file; file++)
            if (open(*file, O_RDONLY) >= 0) printf("ESCAPE %s\n", *file);
        puts("all were tried");
        return 0;
    }
    TRY("kcmp", SYS_kcmp, 1, getpid(), 0, 0, 0);
    /* The hole that was called Shocker: files by their number. */
    int here_fd = open("/", O_RDONLY);
    TRY("open_by_handle_at", SYS_open_by_handle_at, here_fd, handle, O_RDONLY);
    /* Namespaces and mounts; CVE-2022-0185 is behind fsopen, CVE-2021-41091 and others behind mount. */
    TRY("setns", SYS_setns, open("/proc/self/ns/net", O_RDONLY), 0);
    TRY("unshare of users", SYS_unshare, CLONE_NEWUSER);
    TRY("unshare of mounts", SYS_unshare, CLONE_NEWNS);
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    tried("clone of users", child);
    TRY("mount", SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
    TRY("fsopen", SYS_fsopen, "tmpfs", 0);
    TRY("open_tree", SYS_open_tree, -100, "/", 1);
    TRY("move_mount", SYS_move_mount, -100, "/", -100, "/tmp", 0);
    TRY("pivot_root", SYS_pivot_root, "/", "/tmp");
    /* Keys: those of the host, CVE-2016-0728 and others. */
    TRY("the keyring", SYS_keyctl, 0, -3, 0, 0, 0);
    long key = syscall(SYS_keyctl, 10, -3, "user", "stagewright-escape", 0);
    if (key >= 0) puts("ESCAPE a key of the host");
    TRY("add_key", SYS_add_key, "user", "mine", "x", 1, -3);
    TRY("request_key", SYS_request_key, "user", "mine", 0, 0);
    /* The kernel itself; all of these are harmless should they be let through. */
    TRY("bpf", SYS_bpf, 99, 0, 0);
    TRY("perf_event_open", SYS_perf_event_open, 0, 0, -1, -1, 0);
    TRY("userfaultfd", SYS_userfaultfd, 0xffff);
    TRY("io_uring_setup", SYS_io_uring_setup, 1, 0);
    TRY("init_module", SYS_init_module, 0, 0, "");
    TRY("delete_module", SYS_delete_module, "stagewright-escape", 0);
    TRY("kexec_load", SYS_kexec_load, 0, 1, 0, 0);
    TRY("reboot", SYS_reboot, 1, 2, 3, 0);
    TRY("swapon", SYS_swapon, "/nowhere", 0);
    TRY("acct", SYS_acct, "/nowhere");
    TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);
    TRY("clock_settime", SYS_clock_settime, 99, 0);
    TRY("iopl", SYS_iopl, 3);
    TRY("ioperm", SYS_ioperm, 0x80, 1, 1);
    puts("all were tried");
    return 0;
}
"#;

/// Returns a project with the program in it.
fn project(dockerfile: &str) -> Project {
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("calls.c", CALLS);
    let mut compile = Command::new("cc");
    compile
        .args(["-static", "-o", "calls", "calls.c"])
        .current_dir(project.path());
    let _ = output(&mut compile).success();
    project
}

#[track_caller]
fn all_were_refused(build: &Build) {
    let said = build.log();
    assert!(said.contains("all were tried"), "{said}");
    assert!(!said.contains("ESCAPE"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn privileged_calls_of_the_kernel_are_refused() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let steps = "RUN /calls\nUSER 1000\nRUN /calls\n";
    let project = project(&format!(
        "FROM busybox\nRUN mkdir -p /tmp\nCOPY calls /\n{steps}"
    ));
    let build = confined(&stagewright, &outside, &project, &[]).success();
    all_were_refused(&build);
    assert_eq!(build.log().matches("all were tried").count(), 2);
}

/// Runs a build by a program that has a key, and these files of the outside open.
fn build_with_open(stagewright: &Stagewright, project: &Project, open: &str) -> Build {
    let arguments = ["--progress=rawjson", "--allow=security.insecure"];
    let build = stagewright.build_command(project, &arguments);
    let mut planted = Command::new("/bin/sh");
    planted
        .args(["-c", &format!("exec {open}; exec \"$@\""), "sh"])
        .arg(project.path().join("calls"))
        .arg("plant")
        .arg(build.get_program())
        .args(build.get_args());
    for (name, value) in build.get_envs() {
        match value {
            Some(value) => planted.env(name, value),
            None => planted.env_remove(name),
        };
    }
    Build {
        output: output(&mut planted),
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_the_host_has_open_is_not_the_steps() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let project = project(
        "FROM busybox\nRUN mkdir -p /tmp\nCOPY calls /\n\
         RUN for i in $(seq 3 40); do cat /proc/self/fd/$i <&$i; done 2>/dev/null; true\n\
         RUN /calls\n",
    );
    let path = outside.path();
    let open = format!("8<{path}/secret 9<{path}/secret");
    let build = build_with_open(&stagewright, &project, &open).success();
    all_were_refused(&build);
    let said = build.output.to_string();
    assert!(!said.contains(super::SECRET), "{said}");
}

/// A step that no filter keeps from asking for keys has none of the host's.
#[test]
#[ignore = "needs root"]
fn privileged_keys_of_the_host_are_not_an_insecure_steps() {
    let stagewright = Stagewright::with_busybox();
    let project = project("FROM busybox\nCOPY calls /\nRUN --security=insecure /calls key\n");
    all_were_refused(&build_with_open(&stagewright, &project, "8</dev/null").success());
}

/// CVE-2016-9962: root of a user namespace with all rights in it does not trace process 1, which came
/// from outside of it.
#[test]
#[ignore = "needs root to become another user"]
fn privileged_process_one_is_not_traced_by_an_insecure_step_without_root() {
    let project = project("FROM busybox\nCOPY calls /\nRUN --security=insecure /calls trace\n");
    let allow = ["--allow=security.insecure"];
    let output = Account::new().build_with(&project, "image", &allow);
    all_were_refused(&Build { output }.success());
}

/// CVE-2024-21626: directories that are open for the step's own sake, those of its control groups.
#[test]
#[ignore = "needs root"]
fn privileged_directories_of_the_sandbox_are_not_entered() {
    let stagewright = Stagewright::with_busybox();
    for number in 0..16 {
        let dockerfile = format!(
            "FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN ! test -e ./cgroup.procs || echo ESCAPE\n"
        );
        let project = Project::new().file("Dockerfile", dockerfile);
        let build = stagewright.build(&project, &["--memory=64m"]);
        let said = build.log();
        assert!(!said.contains("ESCAPE"), "descriptor {number}: {said}");
    }
}

/// CVE-2024-21626, with a directory that the host itself left open.
#[test]
#[ignore = "needs root"]
fn privileged_directories_of_the_host_are_not_entered() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let project =
        project("FROM busybox\nWORKDIR /proc/self/fd/7\nRUN cat ./secret; touch ./made; true\n");
    let before = outside.listing();
    let build = build_with_open(&stagewright, &project, &format!("7<{}", outside.path()));
    let said = build.output.to_string();
    assert!(!said.contains(super::SECRET), "{said}");
    assert_eq!(outside.listing(), before, "{said}");
}

//! What steps try on the kernel and on other processes.

use stagewright_testkit::{Build, Project, Stagewright};

use super::{Outside, confined};
use crate::account::Account;

/// Commands that must fail. What they would do to the host must be harmless should they succeed.
const REFUSED: &[&str] = &[
    // CVE-2016-9962, CVE-2019-5736: process 1 is of the host's executable.
    "cat /proc/1/exe",
    ": > /proc/1/exe",
    // The numbers of its descriptors are seen, and nothing of what they are.
    "readlink /proc/1/fd/0",
    "ls /proc/1/fd/3/",
    "ls /proc/1/root/",
    "ls /proc/1/cwd/",
    "cat /proc/1/mem",
    "cat /proc/1/environ",
    // CVE-2025-31133, CVE-2025-52881: files of the kernel.
    "f=/proc/sys/kernel/core_pattern; was=$(cat $f) && echo \"$was\" > $f",
    "f=/proc/sys/vm/swappiness; was=$(cat $f) && echo $was > $f",
    "echo h > /proc/sysrq-trigger",
    "f=/sys/kernel/uevent_helper; was=$(cat $f) && echo $was > $f",
    "touch /sys/kernel/made",
    // CVE-2023-25809: control groups that can be written.
    "mkdir /sys/fs/cgroup/made",
    "f=/sys/fs/cgroup/cgroup.procs; test -e $f && echo $$ > $f",
    "umount /proc/sys",
    "umount /proc/interrupts",
    "mount -o remount,rw /proc/sys",
    "mount -o remount,rw /sys",
    "mount -o remount,dev /",
    "mount -t proc proc /tmp",
    // CVE-2022-0492: a release agent of a control group of one's own.
    "mount -t cgroup none /tmp",
    "mount -t cgroup2 none /tmp",
    "unshare -r true",
    "unshare -m true",
    "unshare -n true",
    // Mounts that would be seen outside.
    "mount --make-rshared /",
    "mount --bind / /tmp",
    "mount -t tmpfs none /tmp",
    "mount -t overlay none -o lowerdir=/bin:/etc /tmp",
    // Namespaces of others.
    "nsenter -t 1 -m true",
    "nsenter -t 1 -n true",
    "pivot_root / /tmp",
    "hostname changed",
    "chroot /proc/1/root true",
    "dmesg",
    // Nodes of devices may be made and not opened: memory, and the first disks.
    "set -- $(sed -n 3p /proc/partitions); mknod /tmp/disk b $1 $2 && head -c 1 /tmp/disk",
    "mknod /tmp/zero c 1 5 && head -c 1 /tmp/zero",
    "mknod /dev/other c 1 5 && head -c 1 /dev/other",
    "mknod /dev/shm/zero c 1 5 && head -c 1 /dev/shm/zero",
    "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem",
    "mknod /dev/kmsg c 1 11 && head -c 1 /dev/kmsg",
    "ls -A /sys/firmware | grep .",
    "grep . /proc/keys",
    "grep . /proc/timer_list",
];

/// Returns a project whose step tries all of them.
fn all_tried() -> Project {
    let tools = "cat grep mount umount unshare nsenter pivot_root hostname chroot dmesg mknod sed head readlink";
    let mut script = format!(
        "#!/bin/sh\nfor tool in {tools}; do command -v $tool > /dev/null || exit 9; done\n"
    );
    for (number, command) in REFUSED.iter().enumerate() {
        script += &format!(
            "rm -rf /tmp/*; if ( {command} ) > /dev/null 2>&1; then echo ESCAPE {number}; fi\n"
        );
    }
    // That the shell and its applets work is seen by what comes last.
    script += "head -c 1 /dev/zero > /dev/null && echo all were tried\n";
    let dockerfile = "FROM busybox\nCOPY --chmod=755 try /try\nRUN mkdir -p /tmp && /try\n";
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("try", script)
}

#[track_caller]
fn none_worked(build: &Build) {
    let said = build.log();
    assert!(said.contains("all were tried"), "{said}");
    for (number, command) in REFUSED.iter().enumerate() {
        assert!(
            !said.contains(&format!("ESCAPE {number}\n")),
            "`{command}` worked: {said}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_the_kernel_and_other_processes_are_out_of_reach() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let project = all_tried();
    none_worked(&confined(&stagewright, &outside, &project, &[]).success());
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_the_kernel_and_other_processes_are_out_of_reach_without_root() {
    let output = Account::new().build(&all_tried(), "image");
    none_worked(&Build { output }.success());
}

/// CVE-2019-5736: a program that is `/proc/self/exe` is the runtime's own executable.
#[test]
#[ignore = "needs root"]
fn privileged_the_executable_cannot_be_overwritten() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let script = "#!/proc/self/exe\n";
    let again = "for pid in /proc/[0-9]*; do echo x 2>/dev/null > $pid/exe; done; true";
    let dockerfile = format!(
        "FROM busybox\nCOPY --chmod=755 run /run-me\nRUN (sleep 1; {again}) & {again}\n\
         RUN [\"/proc/self/exe\"]\nRUN [\"/run-me\"]\n"
    );
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("run", script);
    let _ = confined(&stagewright, &outside, &project, &[]);
    // The executable still runs steps.
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN echo fine\n");
    let _ = confined(&stagewright, &outside, &project, &[]).success();
}

/// CVE-2024-21626: a working directory that is a descriptor of the runtime.
#[test]
#[ignore = "needs root"]
fn privileged_working_directories_are_inside() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let up = "../".repeat(12);
    let path = outside.path();
    for number in 0..12 {
        for process in ["self", "1", "thread-self"] {
            let dockerfile = format!(
                "FROM busybox\nWORKDIR /proc/{process}/fd/{number}\nRUN cat {up}{path}/secret; rm -r {up}{path}; true\n"
            );
            let project = Project::new().file("Dockerfile", dockerfile);
            let _ = confined(&stagewright, &outside, &project, &[]);
        }
    }
}

/// A step sees its three descriptors and no other.
#[test]
#[ignore = "needs root"]
fn privileged_no_descriptor_leaks() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN set -- /proc/$$/fd/*; for fd; do readlink $fd; done > /fds; grep -q /dev/null /fds && ! grep -v 'pipe:\\|^/dev/null$\\|^/fds$' /fds\n",
    );
    let outside = Outside::new();
    let _ = confined(&stagewright, &outside, &project, &[]).success();
}

const CALLS: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    for (int family = 0; family < 64; family++) {
        int made = socket(family, SOCK_SEQPACKET, 0);
        if (made < 0 && errno == EPERM) printf("%d ", family);
        if (made >= 0) close(made);
    }
    /* statmount, listmount; open_tree_attr is newer than the profile. */
    for (int call = 457; call <= 458; call++)
        if (syscall(call, 0, 0, 0, 0) < 0 && errno == EPERM) printf("call %d ", call);
    puts("are refused");
    return 0;
}
"#;

/// The families of sockets that Docker's profile leaves out.
#[test]
#[ignore = "needs root"]
fn privileged_sockets_are_of_the_families_that_the_profile_allows() {
    let stagewright = Stagewright::with_busybox();
    let outside = Outside::new();
    let project = Project::new()
        .file("Dockerfile", "FROM busybox\nCOPY calls /\nRUN /calls\n")
        .file("calls.c", CALLS);
    let (source, program) = ("calls.c", "calls");
    let mut compile = std::process::Command::new("cc");
    compile
        .args(["-static", "-o", program, source])
        .current_dir(project.path());
    let _ = stagewright_testkit::output(&mut compile).success();
    let build = confined(&stagewright, &outside, &project, &[]).success();
    let said = build.output.to_string();
    let refused = "12 19 20 23 25 34 37 38 40 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 are refused";
    assert!(said.contains(&format!("\"{refused}")), "{said}");
}

//! Limits of memory and processors, and the cgroups that they need.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stagewright_testkit::{Project, Stagewright, output};

use crate::account::Account;

/// A cgroup for the steps of one test, in every hierarchy that has limits.
struct Parent {
    name: String,
    memory: PathBuf,
}

impl Parent {
    fn new(test: &str) -> Self {
        let name = format!("stagewright-test-{test}-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let top = if first.is_dir() {
            first
        } else {
            Path::new("/sys/fs/cgroup")
        };
        Self {
            memory: top.join(&name),
            name,
        }
    }

    /// Removes it where it still is.
    fn remove(&self) {
        for hierarchy in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let place = hierarchy.path().join(&self.name);
            if place.exists() {
                fs_err::remove_dir(&place).unwrap();
            }
        }
    }

    fn argument(&self) -> String {
        format!("--cgroup-parent=/{}", self.name)
    }
}

fn cgroups_left() -> Vec<String> {
    let found = output(Command::new("find").args(["/sys/fs/cgroup", "-name", "stagewright-*"]));
    let own = format!("stagewright-{}-", std::process::id());
    found
        .stdout
        .lines()
        .filter(|line| line.contains(&own))
        .map(str::to_owned)
        .collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_has_the_limits_that_are_asked_for() {
    let stagewright = Stagewright::with_busybox();
    let parent = Parent::new("has");
    // Of the first version or of the second, whichever a controller is in.
    let dockerfile = "\
FROM busybox
RUN --security=insecure mkdir /c /c/1 /c/2 /out && mount -t cgroup2 x /c/2 || true; \\
    for c in memory cpu cpuset; do mkdir -p /c/1/$c && mount -t cgroup -o $c x /c/1/$c 2> /dev/null; done; \\
    for f in memory.limit_in_bytes memory.max; do cat /c/1/memory/$f /c/2/$f 2> /dev/null; done > /out/memory; \\
    for f in cpu.cfs_quota_us cpu.max; do cat /c/1/cpu/$f /c/2/$f 2> /dev/null; done > /out/quota; \\
    for f in cpu.shares cpu.weight; do cat /c/1/cpu/$f /c/2/$f 2> /dev/null; done > /out/shares; \\
    cat /c/1/cpuset/cpuset.cpus /c/2/cpuset.cpus 2> /dev/null > /out/cpus; \\
    cat /proc/self/cgroup > /out/own; umount /c/1/* /c/2; true
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let out = tempfile::tempdir().unwrap();
    let dest = format!("type=local,dest={}", out.path().display());
    let parent_argument = parent.argument();
    let arguments = [
        "--allow=security.insecure",
        "--memory=64m",
        "--memory-swap=64m",
        "--cpu-quota=50000",
        "--cpu-shares=512",
        "--cpuset-cpus=0",
        &parent_argument,
        "-o",
        &dest,
    ];
    let _ = stagewright.build(&project, &arguments).success();
    let read = |name: &str| {
        fs_err::read_to_string(out.path().join("out").join(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory"), "67108864");
    assert!(
        ["50000", "50000 100000"].contains(&read("quota").as_str()),
        "{}",
        read("quota")
    );
    assert!(
        ["512", "20"].contains(&read("shares").as_str()),
        "{}",
        read("shares")
    );
    assert_eq!(read("cpus"), "0");
    // In a cgroup namespace of its own, the step is at the top.
    let own = read("own");
    assert!(
        own.lines()
            .filter(|line| line.contains("memory") || line.starts_with("0:"))
            .all(|line| line.ends_with(":/")),
        "{own}"
    );
    assert!(
        !parent.memory.exists(),
        "the parent was made for the build and stayed"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_that_needs_too_much_memory_is_told_so() {
    let stagewright = Stagewright::with_busybox();
    let fat = "FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n";
    let project = Project::new().file("Dockerfile", fat);
    let failed = stagewright
        .build(&project, &["--memory=32m", "--memory-swap=32m"])
        .output
        .failure(1);
    assert!(
        failed.to_string().contains("more memory than it may have"),
        "{failed}"
    );
    // With enough it runs, and the limit is no part of what it is.
    let built = stagewright.build(&project, &["--memory=400m"]).success();
    assert_eq!(built.executed().len(), 1);
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        [""; 0]
    );
    assert_eq!(cgroups_left(), [""; 0]);
}

#[test]
#[ignore = "needs root"]
fn privileged_cgroups_go_when_the_build_is_killed() {
    let stagewright = Stagewright::with_busybox();
    let parent = Parent::new("killed");
    // A parent that was there before is not removed.
    fs_err::create_dir(&parent.memory).unwrap();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN echo started && sleep 1000\n",
    );
    let mut build = stagewright.build_command(
        &project,
        &["--progress=plain", "-m", "64m", &parent.argument()],
    );
    let mut running = build.stderr(Stdio::piped()).spawn().unwrap();
    let said = running.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(said));
    assert!(lines.any(|line| line.unwrap().ends_with(" started")));
    let made = |place: &Path| {
        let entries = fs_err::read_dir(place).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    assert_eq!(made(&parent.memory), 1);
    running.kill().unwrap();
    running.wait().unwrap();
    // What watched the step holds the pipe until it is done.
    drop(lines);
    let other = Project::new().file("Dockerfile", "FROM busybox\nRUN true\n");
    let arguments = ["-m", "64m", &parent.argument()];
    let _ = output(&mut stagewright.build_command(&other, &arguments)).success();
    for _ in 0..1000 {
        if made(&parent.memory) == 0 {
            break;
        }
        std::thread::yield_now();
    }
    fs_err::remove_dir(&parent.memory).unwrap();
    // The killed build could not take away the parents that it had made elsewhere.
    parent.remove();
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_user_limits_steps_in_a_cgroup_that_was_given_away() {
    let account = Account::new();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1\n",
    );
    let refused = account
        .build_with(&project, "image", &["--memory=32m"])
        .failure(1);
    assert!(
        refused.to_string().contains("no cgroup can be made in"),
        "{refused}"
    );
    assert!(refused.to_string().contains("Delegate=yes"), "{refused}");

    let parent = Parent::new("delegated");
    if !parent.memory.starts_with("/sys/fs/cgroup/memory") {
        // The second version gives a process away only below a cgroup that both are in.
        return;
    }
    for hierarchy in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let place = hierarchy.path().join(&parent.name);
        if hierarchy.path().join("cgroup.procs").exists() && fs_err::create_dir(&place).is_ok() {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs_err::read(hierarchy.path().join(file)) {
                    fs_err::write(place.join(file), value).unwrap();
                }
            }
            let owned = Command::new("chown")
                .args(["-R", account.user()])
                .arg(&place)
                .status();
            assert!(owned.unwrap().success());
        }
    }
    let failed = account
        .build_with(
            &project,
            "image",
            &["--memory=32m", "--memory-swap=32m", &parent.argument()],
        )
        .failure(1);
    parent.remove();
    assert!(
        failed.to_string().contains("more memory than it may have"),
        "{failed}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_sizes_hosts_and_limits_of_processes_are_those_asked_for() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "\
FROM busybox
RUN test \"$(df -k /dev/shm | tail -1 | awk '{print $2}')\" = 2048 && grep -q '^1.2.3.4.db$' /etc/hosts
RUN test \"$(ulimit -Sn):$(ulimit -Hn)\" = 100:200
RUN grep -q db /etc/hosts && echo lost >> /etc/hosts
RUN ! grep -q lost /etc/hosts
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let arguments = [
        "--shm-size=2m",
        "--add-host=db:1.2.3.4",
        "--ulimit=nofile=100:200",
    ];
    let _ = stagewright.build(&project, &arguments).success();

    // Never more than the caller has.
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN test \"$(ulimit -Hn)\" = 300\n",
    );
    let build = stagewright.build_command(&project, &["--ulimit=nofile=5000:6000"]);
    let words = std::iter::once(build.get_program()).chain(build.get_args());
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"])
        .args(words);
    let _ = output(&mut limited).success();
}

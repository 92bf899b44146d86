//! Where overlayfs cannot be mounted, and where no namespaces can be made.

use std::path::Path;

use serde_json::json;
use stagewright_testkit::{Build, Image, Project, SshAgent, Stagewright, differences, output};

use crate::account::Account;
use crate::nested::{HERE, Podman};
use crate::ssh::{CLONE, ED25519, Remote};

/// Steps that make, change, replace and remove all kinds of things, and use every mount.
const STEPS: &str = "\
FROM busybox AS base
RUN mkdir -p /srv/a /srv/b && echo 1 > /srv/a/f && ln /srv/a/f /srv/a/g && echo gone > /srv/b/gone \\
    && chown 33:34 /srv/a/f && chown 5:6 /srv/b && chmod 4755 /srv/a/f && chmod 700 /srv/b
RUN rm /srv/a/g && rm -rf /srv/b && mkdir /srv/b && chown 1000:1000 /srv/b && ln -s a /srv/link
RUN mkdir -p /t/dir /t/old && echo a > /t/file && echo b > /t/dir/in && echo c > /t/old/c && mkfifo /t/pipe
RUN rm /t/file && mkdir /t/file && echo x > /t/file/x && rm -r /t/dir && echo y > /t/dir \\
    && rm -r /t/old && mkdir /t/old && echo 1 > /t/old/1 && mv /t/pipe /t/moved
RUN touch /t/dir && chmod 600 /etc/passwd && echo x:x:9: >> /etc/group && chmod 644 /etc/passwd
RUN echo 1.2.3.4 evil >> /etc/hosts; echo evil >> /etc/resolv.conf; echo x > /dev/null && echo x > /dev/shm/x
RUN sleep 1000 & sleep 1001 & test -e /etc/hosts
RUN ls / > /dev/null
RUN --mount=type=cache,target=/var/cache/x echo 1 >> /var/cache/x/n
RUN --mount=type=cache,target=/var/cache/x cat /var/cache/x/n > /n && test \"$(cat /n)\" = 1
RUN --mount=type=secret,id=s test \"$(cat /run/secrets/s)\" = hidden
RUN --mount=type=tmpfs,target=/scratch/deep touch /scratch/deep/x
RUN --mount=type=bind,target=/c test -f /c/Dockerfile
USER 1000:1000
RUN echo mine > /srv/b/x && chmod 600 /srv/b/x && test ! -e /srv/b/gone && test \"$(id -u):$(id -g)\" = 1000:1000
FROM busybox
COPY --from=base --chown=7:8 /srv/a /a
COPY --from=base /srv/b /b
COPY --from=base /t /t
RUN --mount=type=bind,from=base,source=/srv,target=/m test -d /m/b && test \"$(stat -c %u /m/b)\" = 1000
RUN --mount=type=bind,from=base,source=/srv,target=/m,rw echo 1 > /m/a/lost && rm -r /m/b
RUN test \"$(stat -c %u:%g:%a /b/x)\" = 1000:1000:600 && rm -r /a
";

/// What Docker's usual filter of system calls forbids to who may not mount.
pub(crate) fn no_namespaces(folder: &Path) -> String {
    let names = [
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "fsopen",
        "fsmount",
        "open_tree",
        "move_mount",
        "mount_setattr",
    ];
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
    });
    let file = folder.join("filter.json");
    fs_err::write(&file, profile.to_string()).unwrap();
    format!("--security-opt=seccomp={}", file.display())
}

/// Returns root's container without namespaces, with the image that steps start from.
fn bare_container<'a>(account: &'a Account, project: &'a Project) -> Podman<'a> {
    let podman = Podman {
        options: vec![no_namespaces(account.folder())],
        ..Podman::new(account, project, true)
    };
    podman.import();
    podman
}

#[track_caller]
fn assert_no_drafts(account: &Account) {
    let left = fs_err::read_dir(account.path("store/tmp")).unwrap();
    assert_eq!(left.count(), 0);
}

/// What says that steps are less apart, or slower, than they could be.
const WARNING: &str = "`stagewright doctor` says what to change";

/// Builds the steps in a container and as root, and compares the images. Returns what `doctor` and
/// the build said.
#[track_caller]
fn makes_the_image_of_root(podman: &Podman<'_>, mode: &str) -> (String, String) {
    let secret = podman.account.path("secret");
    fs_err::write(&secret, "hidden").unwrap();
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let root = Stagewright::with_busybox();
    let arguments = [format!("--secret=id=s,src={}", secret.display())];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _ = root
        .build_into(podman.project, &theirs, &arguments)
        .success();

    podman.import();
    let store = format!("--store={}", podman.store);
    let doctor = podman.run(&["doctor", &store]).success();
    assert!(
        doctor.stdout.starts_with(&format!("mode: {mode} (")),
        "{doctor}"
    );
    let told = podman.build_with("image", &[&format!("--secret=id=s,src={HERE}/secret")]);
    let told = told.success();
    let mode = format!("[internal] steps run in mode {mode}");
    assert!(told.stdout.contains(&mode), "{told}");
    let image = Image::read(&podman.account.path("image"));
    let different = differences(&image, &Image::read(&theirs));
    assert!(different.is_empty(), "{}", different.join("\n"));
    (doctor.stdout, told.stdout)
}

/// As [`makes_the_image_of_root`], with a store that outlives the container: it is all clean.
#[track_caller]
fn makes_it_and_leaves_nothing(podman: &Podman<'_>, mode: &str) {
    let (_, told) = makes_the_image_of_root(podman, mode);
    assert_eq!(told.matches(WARNING).count(), 1, "{told}");
    let again = Build {
        output: podman
            .build_with("again", &[&format!("--secret=id=s,src={HERE}/secret")])
            .success(),
    };
    assert_eq!(again.executed(), [""; 0]);
    assert_no_drafts(podman.account);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_store_on_a_containers_own_files_is_worked_on_by_copies() {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", STEPS);
    let podman = Podman {
        storage: "overlay",
        store: "/var/store".to_owned(),
        ..Podman::new(&account, &project, true)
    };
    let (doctor, told) = makes_the_image_of_root(&podman, "nested");
    assert!(doctor.contains("package fuse-overlayfs"), "{doctor}");
    assert_eq!(told.matches(WARNING).count(), 1, "{told}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_store_on_a_containers_own_files_is_stacked_by_fuse_overlayfs() {
    let account = Account::new();
    // Of a pipe in a lower layer that is moved, the program makes an empty file.
    let steps = STEPS.replace(" && mv /t/pipe /t/moved", "");
    let project = Project::new().file("Dockerfile", steps);
    let mut podman = Podman {
        storage: "overlay",
        store: "/var/store".to_owned(),
        programs: &["fuse-overlayfs"],
        options: vec!["--device=/dev/fuse".to_owned()],
        ..Podman::new(&account, &project, true)
    };
    let (doctor, told) = makes_the_image_of_root(&podman, "nested");
    assert!(doctor.contains("and fuse-overlayfs)"), "{doctor}");
    assert!(!told.contains(WARNING), "{told}");

    // Nothing of a step is there after it; nor after a kill, which leaves a store that is used on.
    let script = "\
mkdir /w /x && printf 'FROM busybox\\nRUN mkdir /a && echo 1 > /a/f\\nRUN rm -r /a && mkdir /a\\nRUN echo started && sleep 1000\\n' > /w/Dockerfile
printf 'FROM busybox\\nRUN mkdir /a && echo 1 > /a/f\\nRUN rm -r /a && mkdir /a\\nRUN test ! -e /a/f\\n' > /x/Dockerfile
set -- build --progress=plain --store=/var/store --build-context=busybox=oci-layout:///here/busybox
stagewright \"$@\" /w > /log 2>&1 & pid=$!
until grep -q ' started$' /log; do :; done
cat /proc/[0-9]*/comm | grep fuse-overlay && kill -9 $pid || exit 1
while grep -q -s -e sleep -e fuse-overlay /proc/[0-9]*/comm; do :; done
stagewright \"$@\" /x && ! grep -s fuse /proc/[0-9]*/comm /proc/self/mountinfo && stagewright cache verify --store=/var/store";
    let _ = podman.run_program(&["sh", "-c", script]).success();

    // Without the device it is copies again, and what to give is said.
    podman.options.clear();
    let told = podman.run(&["doctor", "--store=/var/store"]).success();
    assert!(told.stdout.contains("--device=/dev/fuse"), "{told}");
    assert!(told.stdout.contains("a copy of the root"), "{told}");
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_users_container_without_namespaces_makes_the_same_image() {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", STEPS);
    let podman = Podman {
        options: vec![no_namespaces(account.folder())],
        ..Podman::new(&account, &project, false)
    };
    makes_it_and_leaves_nothing(&podman, "chroot");
}

#[test]
#[ignore = "needs root"]
fn privileged_roots_container_without_namespaces_makes_the_same_image() {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", STEPS);
    let podman = Podman {
        options: vec![
            no_namespaces(account.folder()),
            "--cap-add=mknod".to_owned(),
        ],
        ..Podman::new(&account, &project, true)
    };
    makes_it_and_leaves_nothing(&podman, "chroot");
}

#[test]
#[ignore = "needs root"]
fn privileged_without_namespaces_what_cannot_be_had_is_said() {
    let account = Account::new();
    let dockerfile = "\
FROM busybox
RUN sleep 1000 & setsid sleep 1001 & (sleep 1002 &) ; sleep 1003 & true
RUN test ! -e /proc/self && ! chroot / true 2> /dev/null && grep -q '^search a.example$' /etc/resolv.conf
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let mut podman = bare_container(&account, &project);
    // Nothing of a step is there after it, not even what left its session.
    let build = format!(
        "stagewright build --progress=none --dns-search=a.example --store={HERE}/store --build-context=busybox=oci-layout://{HERE}/busybox /project && for p in /proc/[0-9]*; do cat $p/comm; done"
    );
    let left = podman.run_program(&["sh", "-c", &build]).success();
    assert!(!left.stdout.contains("sleep"), "{left}");
    let failed = podman.build_with("image", &["--network=none"]).failure(1);
    assert!(
        failed
            .to_string()
            .contains("a network other than the host's"),
        "{failed}"
    );

    // Not even root's right to change the root directory is there.
    podman.options.push("--cap-drop=sys_chroot".to_owned());
    let failed = podman
        .run(&["doctor", &format!("--store={HERE}/other")])
        .failure(1);
    assert!(
        failed.to_string().contains("seccomp=unconfined"),
        "{failed}"
    );
}

/// Steps that need one id and no rights, on files of others.
const MEEK: &str = "\
FROM busybox
COPY --chown=33:34 Dockerfile /srv/d
RUN echo 1 > /one && mkdir -p /a/b && rm /etc/group && chmod 600 /srv/d && mv /one /a/b
";

#[test]
#[ignore = "needs root"]
fn privileged_containers_without_rights_keep_owners_that_they_cannot_give() {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", MEEK);
    let out = tempfile::tempdir().unwrap();
    let theirs = out.path().join("image");
    let root = Stagewright::with_busybox();
    let _ = root.build_into(&project, &theirs, &[]).success();
    let theirs = Image::read(&theirs);
    let bare = vec![
        "--cap-drop=all".to_owned(),
        "--cap-add=sys_chroot".to_owned(),
        no_namespaces(account.folder()),
    ];
    let none = vec!["--cap-drop=all".to_owned()];
    let podman = Podman {
        options: none.clone(),
        ..Podman::new(&account, &project, true)
    };
    podman.import();
    let store = format!("--store={}", podman.store);
    let refused = podman.run(&["doctor", &store]).failure(1);
    assert!(
        refused.to_string().contains("--cap-add=setfcap"),
        "{refused}"
    );
    let one = [none, vec!["--cap-add=setfcap".to_owned()]].concat();
    for (mode, options) in [("chroot", bare), ("rootless with one id", one)] {
        let podman = Podman {
            options,
            store: format!("{HERE}/store-{}", mode.replace(' ', "-")),
            ..Podman::new(&account, &project, true)
        };
        let told = podman.build(&mode.replace(" ", "-")).success();
        assert!(
            told.stdout.contains(&format!("steps run in mode {mode}")),
            "{told}"
        );
        let different = differences(
            &Image::read(&account.path(&mode.replace(" ", "-"))),
            &theirs,
        );
        assert!(different.is_empty(), "{mode}: {}", different.join("\n"));
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_without_namespaces_a_killed_build_leaves_nothing_behind() {
    let account = Account::new();
    let dockerfile = "\
FROM busybox
RUN --mount=type=cache,target=/cache echo kept > /cache/file
RUN --mount=type=cache,target=/cache test -e /cache/file && { setsid sleep 1001 & } && (sleep 1002 &) ; echo started && sleep 1003
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let podman = bare_container(&account, &project);
    let script = format!(
        "set -- build --progress=plain --store={HERE}/store --build-context=busybox=oci-layout://{HERE}/busybox
        stagewright \"$@\" /project > {HERE}/log 2>&1 & pid=$!
        until grep -q ' started$' {HERE}/log; do :; done
        kill -9 $pid
        while grep -q -s sleep /proc/[0-9]*/comm; do :; done
        until test -e {HERE}/store/mounts/*/*/file; do :; done
        mkdir /other && printf 'FROM busybox\\nRUN --mount=type=cache,target=/cache grep kept /cache/file\\n' > /other/Dockerfile
        stagewright \"$@\" /other"
    );
    let _ = podman.run_program(&["sh", "-c", &script]).success();
    assert_no_drafts(&account);
}

#[test]
#[ignore = "needs root"]
fn privileged_without_namespaces_both_processes_of_the_sandbox_can_be_killed() {
    let account = Account::new();
    let dockerfile = "\
FROM busybox
RUN --mount=type=cache,target=/cache { setsid sleep 1001 & } ; (sleep 1002 &) ; echo started && sleep 1003
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let podman = bare_container(&account, &project);
    // First the two alone, and then with their caller: only the next build can end what is left of that.
    let script = format!(
        "set -- build --progress=plain --store={HERE}/store --build-context=busybox=oci-layout://{HERE}/busybox
        mkdir /other && printf 'FROM busybox\\nRUN --mount=type=cache,target=/cache echo 1 > /cache/file\\n' > /other/Dockerfile
        kill_both() {{
            until grep -q ' started$' {HERE}/log; do :; done
            both=$(for p in /proc/[0-9]*; do busybox readlink $p/exe | grep -q stagewright-init && echo ${{p#/proc/}}; done)
            test $(echo $both | busybox wc -w) = 2 && grep -q sleep /proc/[0-9]*/comm && kill -9 $1 $both
        }}
        # Whose parent has not asked for them yet are there, and run no more.
        any_runs() {{
            for p in /proc/[0-9]*; do
                grep -q -s '^State:.[^Z]' $p/status && grep -s sleep $p/comm && return 0
            done
            return 1
        }}
        stagewright \"$@\" /project > {HERE}/log 2>&1 & pid=$!
        kill_both || exit 1
        wait $pid && exit 1
        any_runs && exit 1
        : > {HERE}/log
        stagewright \"$@\" /project > {HERE}/log 2>&1 & pid=$!
        kill_both $pid || exit 1
        # It holds its locks until it has ended.
        wait $pid && exit 1
        stagewright \"$@\" /other && ! any_runs"
    );
    let _ = podman.run_program(&["sh", "-c", &script]).success();
    assert_no_drafts(&account);
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_plain_user_without_namespaces_is_told_what_to_do() {
    let account = Account::new();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN true\n");
    let podman = Podman {
        options: vec![no_namespaces(account.folder()), "--user=1:1".to_owned()],
        store: "/tmp/store".to_owned(),
        ..Podman::new(&account, &project, true)
    };
    podman.import();
    let failed = podman.run(&["doctor", "--store=/tmp/store"]).failure(1);
    let told = failed.to_string();
    assert!(told.contains("no way of running a step"), "{failed}");
    assert!(told.contains("run as root"), "{failed}");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_kernels_refusal_of_namespaces_leads_to_chroot() {
    // As on a host whose limit is used up: no container is in play.
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN echo 1 > /one && test ! -e /proc/self\n",
    );
    let stagewright = Stagewright::with_busybox();
    let build = stagewright.build_command(&project, &["--progress=plain"]);
    let told = output(&mut without_namespaces(&build)).success();
    assert!(told.to_string().contains("in mode chroot"), "{told}");
}

/// Returns a command that runs another where the kernel makes no namespaces.
pub(crate) fn without_namespaces(build: &std::process::Command) -> std::process::Command {
    let words = std::iter::once(build.get_program()).chain(build.get_args());
    let mut limited = std::process::Command::new("unshare");
    limited
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("for kind in mnt pid user; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec \"$@\"")
        .arg("sh")
        .args(words);
    limited
}

#[test]
#[ignore = "needs root"]
fn privileged_git_clones_with_an_agent_where_there_are_no_namespaces() {
    let remote = Remote::new();
    let agent = SshAgent::start(&remote.server.key("key", ED25519));
    let steps = format!(
        "RUN --mount=type=ssh,required=true ssh-add -l | grep ED25519\n{CLONE}\
         RUN test ! -e /run/buildkit && test -z \"$SSH_AUTH_SOCK\" && ! git clone -q $URL /again\n"
    );
    let project = remote.project(&steps);
    let account = Account::new();
    let socket = agent.socket();
    let folder = socket.parent().unwrap_or(&socket).display().to_string();
    let podman = Podman {
        options: vec![
            no_namespaces(account.folder()),
            "--cap-add=mknod".to_owned(),
            format!("--volume={folder}:{folder}"),
        ],
        ..Podman::new(&account, &project, true)
    };
    podman.import();
    let ssh = format!("--ssh=default={}", socket.display());
    let told = podman.build_with("image", &["--progress=plain", &ssh]);
    let told = told.success().to_string();
    assert!(told.contains("in mode chroot"), "{told}");
    assert!(told.contains("from the repository"), "{told}");
}

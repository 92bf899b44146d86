//! What a step finds around itself.

use stagewright_testkit::{Project, Stagewright};

/// A check a line: each is one step that fails when it does not hold.
const ENVIRONMENT: &str = r#"
FROM busybox
# The environment: nothing of the caller's.
RUN test "$HOME" = /root && test "$PATH" = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN ! env | grep -v -E '^(HOME|PATH|PWD|SHLVL|OLDPWD|_)='
RUN test "$(umask)" = 0022 && test "$(pwd)" = /
RUN test "$(hostname)" = buildkitsandbox && ! grep -q buildkitsandbox /etc/hostname 2> /dev/null
# Standard input is empty, there is no terminal, and no descriptor but three is open.
RUN test -z "$(cat)" && test "$(readlink /proc/self/fd/0)" = /dev/null
RUN ! (: < /dev/tty) 2> /dev/null && ! tty
RUN set -- /proc/$$/fd/*; test $# -le 4
# Processes, and what is hidden and protected of the kernel's files.
RUN test $$ -lt 10 && test "$(ls -d /proc/[0-9]* | wc -l)" -lt 8
RUN for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do test ! -e $f || test -z "$(head -c 1 $f 2> /dev/null)" || exit 1; done
RUN for d in /proc/acpi /proc/scsi /sys/firmware; do test ! -e $d || test -z "$(ls $d)" || exit 1; done
RUN for f in /proc/sys/kernel/domainname /proc/sysrq-trigger; do ! (echo x > $f) 2> /dev/null || exit 1; done
RUN grep -E ' /sys sysfs ro,' /proc/mounts && ! mkdir /sys/x 2> /dev/null && ! (echo 1 > /sys/kernel/mm/ksm/run) 2> /dev/null
# Devices.
RUN echo x > /dev/null && test "$(head -c 4 /dev/zero | wc -c)" = 4 && ! echo x > /dev/full 2> /dev/null
RUN test "$(head -c 9 /dev/urandom | wc -c)" = 9 && test "$(head -c 9 /dev/random | wc -c)" = 9
RUN test "$(ls /dev | sort | tr '\n' ' ')" = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "
RUN grep -q ' /dev/pts devpts .*ptmxmode=666' /proc/mounts && test "$(readlink /dev/ptmx)" = pts/ptmx
RUN grep -q ' /dev/shm tmpfs .*noexec.*size=65536k' /proc/mounts && test "$(stat -c %a /dev/shm)" = 1777 && touch /dev/shm/x
RUN grep -q ' /dev/mqueue mqueue ' /proc/mounts
RUN test "$(readlink /dev/fd)" = /proc/self/fd && echo through | cat /dev/stdin | grep -q through
# Rights: Docker's fourteen, of root; a filter of system calls.
RUN grep -q '^CapEff:.*00000000a80425fb$' /proc/self/status && grep -q '^CapBnd:.*00000000a80425fb$' /proc/self/status
RUN grep -q '^CapInh:.*0000000000000000$' /proc/self/status && grep -q '^Seccomp:.*2$' /proc/self/status && grep -q '^NoNewPrivs:.*0$' /proc/self/status
RUN ! mount -t tmpfs x /tmp 2> /dev/null && ! unshare -n true 2> /dev/null
USER www
RUN test "$(id -u):$(id -g)" = 33:33 && test "$HOME" = /var/www && id -G | grep -qw 50
RUN grep -q '^CapEff:.*0000000000000000$' /proc/self/status && ! touch /x 2> /dev/null
RUN test "$(cat /proc/self/status | grep '^Uid:' | tr -d '\t ')" = Uid:33333333
USER 1234
RUN test "$(id -u):$(id -g)" = 1234:0 && test "$HOME" = /
USER 33:50
RUN test "$(id -u):$(id -g):$(id -G)" = 33:50:50
USER root
RUN test ! -e /run/secrets
"#;

#[test]
#[ignore = "needs root"]
fn privileged_a_step_has_the_environment_that_buildkit_gives() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", ENVIRONMENT.trim_start());
    let mut build = stagewright.build_command(&project, &["--progress=plain"]);
    build.env("LEAKED", "1").env("SHELL", "/bin/false");
    let _ = stagewright_testkit::output(&mut build).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_shown_to_a_step_is_not_in_its_layer() {
    let stagewright = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    let dest = format!("type=local,dest={}", out.path().display());
    let dockerfile = "\
FROM scratch
COPY --from=busybox /bin /bin
RUN [\"/bin/sh\", \"-c\", \"cat /etc/hosts /etc/resolv.conf > /dev/null && test -d /proc/self && test -d /sys/kernel && ls /dev > /dev/null\"]
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright.build(&project, &["-o", &dest]).success();
    let left: Vec<_> = fs_err::read_dir(out.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["bin"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_setuid_program_gives_its_owners_rights() {
    let stagewright = Stagewright::with_busybox();
    // BusyBox gives up what it does not need, but for su.
    let dockerfile = "\
FROM busybox
RUN cp /bin/busybox /bin/busybox-su && chmod 4755 /bin/busybox-su && sed -i 's,^root:x:,root::,' /etc/passwd
USER www
RUN test \"$(/bin/busybox-su su root -c 'id -u')\" = 0
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright.build(&project, &[]).success();
}

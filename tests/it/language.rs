//! What instructions do in a build: each Dockerfile checks itself, in its steps.

use stagewright_testkit::{Image, Project, Stagewright, WebFile, WebServer};

/// Builds a Dockerfile on BusyBox whose steps fail where something is not as it must be.
#[track_caller]
fn holds(dockerfile: &str, arguments: &[&str]) {
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("a.txt", "a\n")
        .file("b.txt", "b\n");
    let built = Stagewright::with_busybox().build(&project, arguments);
    let _ = built.success();
}

#[test]
#[ignore = "needs root"]
fn privileged_bind_mounts_show_files_and_forget_what_is_written() {
    holds(
        r#"FROM busybox AS made
RUN mkdir /out && echo made > /out/file
FROM busybox
ENV FILE=b.txt
RUN --mount=target=/context [ "$(cat /context/a.txt)" = a ] && ! touch /context/x
RUN --mount=from=made,src=out,target=/out,rw echo more > /out/new && [ "$(cat /out/file)" = made ]
RUN --mount=from=made,src=out,target=/out,rw [ ! -e /out/new ]
RUN [ ! -e /context ] && [ ! -e /out ]
RUN --mount=source=.,target=/two --mount=source=$FILE,target=/two/a.txt [ "$(cat /two/a.txt)" = b ]
RUN --mount=from=busybox,source=/etc,target=/theirs grep -q root /theirs/passwd
"#,
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_tmpfs_mounts_are_empty_and_as_large_as_they_say() {
    holds(
        "FROM busybox\n\
         RUN --mount=type=tmpfs,target=/t touch /t/x\n\
         RUN --mount=type=tmpfs,target=/t,size=128m [ ! -e /t/x ] && mount | grep ' /t ' | grep size=131072k\n\
         RUN [ ! -e /t ]\n",
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_caches_are_found_by_their_id_and_belong_to_whom_they_say() {
    holds(
        r#"FROM busybox
ENV WHERE=/one ID=named
RUN --mount=type=cache,target=/one touch /one/x
RUN --mount=type=cache,target=/two [ ! -e /two/x ]
RUN --mount=type=cache,target=$WHERE [ -e /one/x ]
RUN --mount=type=cache,id=named,target=/a touch /a/y
RUN --mount=type=cache,id=$ID,target=/b [ -e /b/y ]
RUN --mount=type=cache,id=named,target=/b,ro [ -e /b/y ] && ! touch /b/z
RUN --mount=type=cache,target=/owned,uid=1001,gid=1002,mode=0751 [ "$(stat -c '%u %g %a' /owned)" = '1001 1002 751' ]
"#,
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_locked_cache_is_of_one_step_at_a_time_and_a_private_one_of_each() {
    // Two stages run at once: each adds a line, looks away, and finds what sharing allows.
    let stages = |sharing: &str, check: &str| {
        let stage = |name: &str| {
            format!(
                "FROM busybox AS {name}\nRUN --mount=type=cache,id=c,target=/c,sharing={sharing} \
                 before=$(ls /c | wc -l); touch /c/{name}; for i in $(seq 200); do ls /c > /seen; done; \
                 after=$(ls /c | wc -l); {check}; echo {name} > /{name}\n"
            )
        };
        format!(
            "{}{}FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
            stage("one"),
            stage("two")
        )
    };
    let alone = "[ $after = $((before + 1)) ]";
    holds(&stages("locked", alone), &[]);
    holds(&stages("private", alone), &[]);
    holds(&stages("shared", "[ $after -ge 1 ]"), &[]);
}

#[test]
#[ignore = "needs root"]
fn privileged_secrets_are_files_and_variables_of_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs_err::write(&file, "value").unwrap();
    let secret = format!("--secret=id=token,src={}", file.display());
    holds(
        r#"FROM busybox
RUN --mount=type=secret,id=token [ "$(cat /run/secrets/token)" = value ] && [ "$(stat -c '%a %u' /run/secrets/token)" = '400 0' ]
RUN --mount=type=secret,id=token,env=TOKEN [ "$TOKEN" = value ] && [ ! -e /run/secrets/token ]
RUN --mount=type=secret,id=token,target=/x/y,env=TOKEN,mode=741,uid=100,gid=102 [ "$(cat /x/y)$TOKEN" = valuevalue ] && [ "$(stat -c '%a %u %g' /x/y)" = '741 100 102' ]
RUN --mount=type=secret,target=/else/token [ "$(cat /else/token)" = value ]
RUN --mount=type=secret,id=absent [ ! -e /run/secrets/absent ]
RUN [ -z "$TOKEN" ] && [ ! -e /run/secrets ] && [ ! -e /x ]
"#,
        &[&secret],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_heredocs_are_scripts_programs_and_input() {
    holds(
        r#"FROM busybox
ARG name=world
WORKDIR /dest
RUN <<EOF
name="new $name"
echo "$name" > plain
EOF
RUN <<-EOF
	echo "
	tab" > tabs
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN { print "from awk" > "program" }
EOF
RUN cat <<ONE | tr a-z A-Z > piped; cat <<TWO > second
one
ONE
two
TWO
RUN <<EOF 3<<IN awk -f -
BEGIN { while ((getline line < "/proc/self/fd/3") > 0) print toupper(line) > "third" }
EOF
from three
IN
RUN cat <<'EOF' > quoted
$name
EOF
SHELL ["/bin/awk"]
RUN <<EOF
BEGIN { print "no shell" > "other" }
EOF
SHELL ["/bin/sh", "-c"]
RUN [ "$(cat plain)" = 'new world' ] && [ "$(cat tabs)" = "$(printf '\ntab')" ] && [ "$(cat program)" = 'from awk' ] && [ ! -e /dev/pipes ]
RUN [ "$(cat piped second third quoted other)" = "$(printf 'ONE\ntwo\nFROM THREE\n$name\nno shell')" ]
"#,
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_user_has_the_groups_that_the_image_says() {
    holds(
        r#"FROM busybox
RUN echo 'own:x:1001:1001::/:/bin/sh' >> /etc/passwd && printf 'own:x:1001:\nmore:x:1002:own\n' >> /etc/group
USER own
RUN [ "$(id -u):$(id -g):$(id -G)" = '1001:1001:1001 1002' ]
USER 1001
RUN [ "$(id -u):$(id -g):$(id -G)" = '1001:1001:1001 1002' ]
USER own:own
RUN [ "$(id -u):$(id -g):$(id -G)" = '1001:1001:1001' ]
USER own:more
RUN [ "$(id -u):$(id -g):$(id -G)" = '1001:1002:1002' ]
USER 1042:1043
RUN [ "$(id -u):$(id -g):$(id -G)" = '1042:1043:1043' ]
USER own
WORKDIR /theirs
RUN [ "$(stat -c '%u %g' /theirs)" = '1001 1001' ]
"#,
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_written_into_a_volume_is_kept() {
    holds(
        "FROM busybox AS made\nVOLUME /data\nRUN mkdir -p /data && echo 1 > /data/one\n\
         FROM made\nRUN [ \"$(cat /data/one)\" = 1 ] && echo 2 > /data/two\nRUN [ -e /data/two ]\n",
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_the_name_of_the_host_can_be_given() {
    holds(
        "FROM busybox\nRUN [ \"$(hostname)\" = buildkitsandbox ] && grep -q buildkitsandbox /etc/hosts\n",
        &[],
    );
    holds(
        "FROM busybox\nRUN [ \"$(hostname)\" = here ] && grep -q here /etc/hosts\n",
        &["--build-arg=BUILDKIT_SANDBOX_HOSTNAME=here"],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_arguments_and_variables_reach_steps_as_they_should() {
    holds(
        r#"ARG GLOBAL="one two" UNSEEN=x
FROM busybox AS base
ARG GLOBAL
ARG OWN="${GLOBAL%% *}"
ARG SAME=arg
ENV SAME=env
ARG EMPTY=
ARG UNSET
RUN [ "$GLOBAL:$OWN:$SAME:$UNSEEN" = 'one two:one:env:' ] && env | grep -q '^EMPTY=$' && ! env | grep -q ^UNSET
RUN [ "$HTTP_PROXY$http_proxy" = pp ]
ENV A=1
ENV A=2 B=$A
RUN [ "$A$B" = 21 ]
FROM base
RUN [ "$OWN:$A" = one:2 ] && [ "$PATH" = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ]
"#,
        &["--build-arg=http_proxy=p"],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_run_of_nothing_and_text_behind_json_are_the_shells() {
    holds("FROM busybox\nRUN\nRUN --mount=type=tmpfs,target=/t\n", &[]);
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN [\"echo\", \"hello\"]this is no array\n",
    );
    let built = Stagewright::with_busybox().build(&project, &[]);
    assert!(!built.output.status.success(), "{}", built.output);
    assert!(
        built.output.stderr.contains("this is no array"),
        "{}",
        built.output
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_the_escape_character_of_the_file_is_that_of_lines_and_words() {
    holds(
        "# escape=`\nFROM busybox\nENV A=b` c\nRUN [ \"$A\" = 'b c' ] && `\n    [ 'x\\y' = 'x\\\\y' ] || [ -n \"$A\" ]\nENV P=C:\\x\nRUN [ \"$P\" = 'C:\\x' ]\n",
        &[],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_children_run_the_triggers_of_their_base() {
    let stagewright = Stagewright::with_busybox();
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("base");
    let base = Project::new().file(
        "Dockerfile",
        "FROM busybox\nONBUILD COPY a.txt /a\nONBUILD RUN <<EOF\necho \"$(cat /a)\" ran >> /did\nEOF\n\
         ONBUILD RUN --mount=from=busybox,source=/etc,target=/t [ -e /t/passwd ]\n",
    );
    let _ = stagewright.build_into(&base, &layout, &[]).success();
    assert_eq!(Image::read(&layout).config.on_build.len(), 3);
    let child = Project::new().file("a.txt", "a").file(
        "Dockerfile",
        "FROM base AS child\nFROM child\nRUN [ \"$(cat /did)\" = 'a ran' ]\n",
    );
    let context = format!("--build-context=base=oci-layout://{}", layout.display());
    let image = out.path().join("child");
    let _ = stagewright
        .build_into(&child, &image, &[&context])
        .success();
    assert!(Image::read(&image).config.on_build.is_empty());
}

#[test]
fn a_header_for_the_web_comes_from_a_secret() {
    let server = WebServer::start();
    server.put_file(
        "/f",
        WebFile {
            body: b"mine".to_vec(),
            ..WebFile::default()
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("header");
    fs_err::write(&file, "Basic dTpw").unwrap();
    let secret = format!(
        "--secret=id=HTTP_AUTH_HEADER_127.0.0.1,src={}",
        file.display()
    );
    let url = server.url("/f");
    let project = Project::new().file("Dockerfile", format!("FROM scratch\nADD {url} /\n"));
    let _ = Stagewright::new().build(&project, &[&secret]).success();
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .any(|request| request.header("authorization") == Some("Basic dTpw")),
        "{requests:?}"
    );
}

#[test]
fn the_target_is_named_to_who_asks() {
    let project = Project::new().file(
        "Dockerfile",
        "FROM scratch AS one\nARG TARGETSTAGE\nLABEL stage=$TARGETSTAGE\nFROM one AS two\n",
    );
    let out = tempfile::tempdir().unwrap();
    for (arguments, expected) in [(vec![], "two"), (vec!["--target=one"], "one")] {
        let layout = out.path().join(expected);
        let _ = Stagewright::new()
            .build_into(&project, &layout, &arguments)
            .success();
        assert_eq!(Image::read(&layout).config.labels["stage"], expected);
    }
}

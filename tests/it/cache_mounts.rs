//! `RUN --mount=type=cache`: what a cache starts as, who owns it, where it is listed, how it gets to other machines.

use serde_json::Value;
use stagewright_testkit::{Build, Fault, Project, Registry, Stagewright, output};

use crate::account::Account;
use crate::cache_transfer::{NOTHING, assert_sound, warnings};
use crate::rootless::NOBODY_KNOWN;

const FROM: &str = "FROM busybox AS files
COPY seed /seed
RUN mkdir -p /d/sub && echo 1 > /d/one && ln /d/one /d/two && ln -s one /d/link && mkfifo /d/pipe \
    && chown -R 33:50 /d && chmod 2750 /d && chown -h 33:50 /d/link && chmod 4755 /d/one
FROM busybox
";

fn build(stagewright: &Stagewright, seed: &str, steps: &str) -> String {
    let project = Project::new()
        .file("Dockerfile", format!("{FROM}{steps}"))
        .file("seed", seed)
        .file("dir/in-context", "context\n");
    let build = stagewright.build(&project, &["--progress=plain"]).success();
    build.output.to_string()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_new_cache_starts_as_its_source() {
    let stagewright = Stagewright::with_busybox();
    let steps = "RUN --mount=type=cache,target=/c,from=files,source=/d test \"$(stat -c '%a %u:%g' /c)\" = '2750 33:50' \
         && test \"$(stat -c '%a %u:%g %h' /c/two)\" = '4755 33:50 2' && test /c/one -ef /c/two && test \"$(readlink /c/link)\" = one \
         && test -p /c/pipe && test -d /c/sub && echo changed > /c/mine && rm /c/link\n\
         RUN --mount=type=cache,target=/c,from=files,source=/d test -f /c/mine && test ! -L /c/link && rm -r /c/*\n\
         RUN --mount=type=cache,target=/c,from=files,source=/d test -z \"$(ls /c)\"\n\
         RUN --mount=type=bind,target=/b,from=files,source=/d test -L /b/link && test ! -e /b/mine\n\
         RUN test ! -e /c\n";
    let _ = build(&stagewright, "seed", steps);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_starts_as_an_image_or_a_context() {
    let stagewright = Stagewright::with_busybox();
    let steps = "RUN --mount=type=cache,target=/c,from=busybox,mode=700,uid=33,gid=50 test -x /c/bin/busybox && test \"$(stat -c '%a %u:%g' /c)\" = '700 33:50'\n\
         RUN --mount=type=cache,target=/c,from=files,source=/d/sub test -z \"$(ls -A /c)\"\n\
         RUN --mount=type=cache,target=/c,mode=711,uid=1,gid=2 test \"$(stat -c '%a %u:%g' /c)\" = '711 1:2' && chmod 700 /c\n\
         RUN --mount=type=cache,target=/c,mode=711,uid=1,gid=2 test \"$(stat -c '%a %u:%g' /c)\" = '700 1:2'\n";
    let _ = build(&stagewright, "seed", steps);
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=cache,target=/c,from=more test \"$(cat /c/file)\" = more\n",
    );
    let more = Project::new().file("file", "more");
    let context = format!("--build-context=more={}", more.path().display());
    let _ = stagewright.build(&project, &[&context]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_of_other_files_is_another_cache() {
    let stagewright = Stagewright::with_busybox();
    let steps = |number: u32| {
        format!(
            "RUN --mount=type=cache,id=one,target=/c,from=files cat /c/seed && touch /c/{number} && ls /c\n"
        )
    };
    // What two programs write may come in one piece.
    assert!(build(&stagewright, "first", &steps(1)).contains("1\\nbin"));
    assert!(build(&stagewright, "first", &steps(2)).contains("1\\n2\\nbin"));
    let other = build(&stagewright, "second", &steps(3));
    assert!(
        other.contains("3\\nbin") && !other.contains("2\\n3"),
        "{other}"
    );

    let mut prune = stagewright.command("cache");
    prune.args(["prune", "--all", "--filter=type=exec.cachemount", "--store"]);
    let pruned = output(prune.arg(stagewright.store())).success().stdout;
    assert_eq!(pruned.matches("exec.cachemount").count(), 2, "{pruned}");
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_that_share_a_new_cache_all_find_it_whole() {
    let stagewright = Stagewright::with_busybox();
    let mut dockerfile = FROM.to_owned();
    for number in 0..8 {
        dockerfile += &format!(
            "FROM busybox AS s{number}\nRUN --mount=type=cache,id=c,target=/c,from=busybox test -x /c/bin/sh && touch /c/{number} /ok\n"
        );
    }
    dockerfile += "FROM busybox\n";
    for number in 0..8 {
        dockerfile += &format!("COPY --from=s{number} /ok /ok{number}\n");
    }
    dockerfile += "RUN --mount=type=cache,id=c,target=/c,from=busybox for n in 0 1 2 3 4 5 6 7; do test -e /c/$n || exit 1; done\n";
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("seed", "");
    let _ = stagewright.build(&project, &[]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_cannot_start_a_cache_is_told() {
    let stagewright = Stagewright::with_busybox();
    for (options, expected) in [
        ("source=/d", "needs from="),
        ("from=files,source=/seed", "starts as a directory"),
        ("from=files,source=/missing", "missing"),
    ] {
        let steps = format!("{FROM}RUN --mount=type=cache,target=/c,{options} true\n");
        let project = Project::new().file("Dockerfile", steps).file("seed", "");
        let build = stagewright.build(&project, &[]);
        let said = build.output.to_string();
        assert!(
            build.output.code() != Some(0) && said.contains(expected),
            "{options}: {said}"
        );
    }
}

/// A step that makes files of all kinds in a new cache, finds them in one that has been used, and adds a line each time.
fn adding(mount: &str, owner: &str) -> String {
    format!(
        "FROM busybox AS files
RUN mkdir /d && echo 1 > /d/seeded
FROM busybox
COPY line /line
RUN --mount=type=cache,target=/c,{mount} cd /c && test -e log || {{ echo 1 > one && ln one two && ln -s one link && mkdir -m 700 sub \
    && touch -d @1000000000 sub/old && chown {owner} one sub && chmod 4711 one; }} \
    && test one -ef two && test $(readlink link) = one && test \"$(stat -c '%a %u:%g' one)\" = '4711 {owner}' \
    && test \"$(stat -c '%a %u:%g' sub)\" = '700 {owner}' && test $(stat -c %Y sub/old) = 1000000000 \
    && test \"$(stat -c '%a %u' .)\" = '750 0' && cat /line >> log && echo these: $(cat log) $(cat seeded)
"
    )
}

fn with_line(line: &str, dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("line", format!("{line}\n"))
}

/// What a build's steps wrote that begins with `these: `.
fn these(build: &Build) -> String {
    let events = build.events();
    let wrote = |event: &Value| Some(event["text"].as_str()?.strip_prefix("these: ")?.to_owned());
    events.iter().filter_map(wrote).collect::<Vec<_>>().join("")
}

#[test]
#[ignore = "needs root"]
fn privileged_another_machine_goes_on_with_what_a_cache_mount_held() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("{}/app:c", registry.address());
    let folder = folder.path().join("cache").display().to_string();
    let dockerfile = adding("mode=750", "33:50");
    for (to, from) in [
        (
            format!("type=registry,ref={reference}"),
            format!("type=registry,ref={reference}"),
        ),
        (
            format!("type=local,dest={folder},mode=max,compression=zstd"),
            format!("type=local,src={folder}"),
        ),
    ] {
        let on_another = |line: &str, from: &str, to: &str| {
            let machine = Stagewright::with_busybox();
            let mut arguments = vec!["--cache-from", from];
            if !to.is_empty() {
                arguments.extend(["--cache-to", to]);
            }
            let build = machine
                .build(&with_line(line, &dockerfile), &arguments)
                .success();
            assert_sound(&machine);
            build
        };
        let with_mounts = format!("{to},mounts=true");
        let unasked = from;
        let from = format!("{unasked},mounts=true");
        let _ = on_another("first", &from, &with_mounts);
        // One on which no step has to run hands it on.
        let build = on_another("first", &from, &with_mounts);
        assert_eq!(build.executed(), NOTHING, "{to}");
        let build = on_another("second", &from, &with_mounts);
        assert_eq!(these(&build), "first second\n", "{to}");
        // Without being asked nobody takes it, or hands it on.
        let build = on_another("alone", &unasked, "");
        assert_eq!(these(&build), "alone\n", "{to}");
        let build = on_another("third", &from, &to);
        assert_eq!(these(&build), "first second third\n", "{to}");
        assert_eq!(warnings(&build), "", "{to}");
        let build = on_another("fourth", &from, "");
        assert_eq!(these(&build), "fourth\n", "{to}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_mount_that_is_there_stays_and_one_that_is_lost_starts_empty() {
    let registry = Registry::start();
    let reference = format!("{}/app:c", registry.address());
    let to = format!("type=registry,ref={reference},mounts=true");
    let dockerfile = adding("mode=750", "0:0");
    let build = |machine: &Stagewright, line: &str, arguments: &[&str]| {
        let project = with_line(line, &dockerfile);
        machine.build(&project, arguments).success()
    };
    let _ = build(&Stagewright::with_busybox(), "first", &["--cache-to", &to]);
    let (_, manifest) = registry.manifest("app", "c").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let blob = manifest["layers"].as_array().unwrap().last().unwrap()["digest"]
        .as_str()
        .unwrap();

    let other = Stagewright::with_busybox();
    let _ = build(&other, "other", &[]);
    let from = format!("type=registry,ref={reference},mounts=true");
    let from = ["--cache-from", from.as_str()];
    assert_eq!(these(&build(&other, "second", &from)), "other second\n");

    registry.inject(
        &format!("GET /v2/app/blobs/{blob}"),
        50,
        Fault::Status(404, "gone"),
    );
    let third = build(&Stagewright::with_busybox(), "third", &from);
    assert_eq!(these(&third), "third\n");
    let told = warnings(&third);
    assert!(
        told.contains("the cache mount /c starts without what an imported cache has of it"),
        "{told}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_that_starts_as_other_files_goes_to_other_machines_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache").display().to_string();
    let to = format!("type=local,dest={path},mounts=true");
    let from = format!("type=local,src={path},mounts=true");
    let dockerfile = adding("id=i,from=files,source=/d,mode=750", "0:0");
    // The options of the top directory are those of the source.
    let dockerfile = dockerfile.replace("mkdir /d", "mkdir -m 750 /d");
    for (line, expected) in [
        ("first", "first 1\n"),
        ("first", ""),
        ("second", "first second 1\n"),
    ] {
        let machine = Stagewright::with_busybox();
        for expected in [expected, ""] {
            let arguments = ["--cache-from", &from, "--cache-to", &to];
            let build = machine
                .build(&with_line(line, &dockerfile), &arguments)
                .success();
            assert_eq!(these(&build), expected, "{line}");
        }
    }
}

#[test]
#[ignore = "needs root to become another user"]
fn privileged_a_users_cache_mount_goes_to_another_machine_of_a_user() {
    for (user, owner) in [(None, "33:50"), (Some(NOBODY_KNOWN), "0:0")] {
        let account = || user.map_or_else(Account::new, |user| Account::of(user.to_owned()));
        let (first, second) = (account(), account());
        let shared = tempfile::tempdir().unwrap();
        fs_err::set_permissions(
            shared.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        let path = shared.path().join("cache").display().to_string();
        let dockerfile = adding("mode=750", owner);
        let to = format!("--cache-to=type=local,dest={path},mounts=true");
        let _ = first
            .build_with(&with_line("first", &dockerfile), "image", &[&to])
            .success();
        let from = format!("--cache-from=type=local,src={path},mounts=true");
        let project = with_line("second", &dockerfile);
        let output = second.build_with(&project, "image", &[&from]).success();
        assert_eq!(these(&Build { output }), "first second\n", "{user:?}");
    }
}

//! `RUN --mount=type=cache`: what a cache starts as, who owns it, where it is listed.

use stagewright_testkit::{Project, Stagewright, output};

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

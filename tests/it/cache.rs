//! What runs again, and what does not.

use stagewright_testkit::{Image, Project, Stagewright};

/// The lesson's shape on a base that needs no network.
const TWO_STAGES: &str = "\
FROM busybox
WORKDIR /build
COPY package.json ./
RUN cp package.json installed
COPY . .

FROM busybox
RUN echo runtime > /runtime
COPY --from=0 /build /app
CMD [\"cat\", \"/app/index.js\"]
";

fn two_stages() -> Project {
    Project::new()
        .file("Dockerfile", TWO_STAGES)
        .file(".dockerignore", "Dockerfile\n")
        .file("package.json", "{}")
        .file("index.js", "one")
}

/// Builds, changes the project, builds again, and returns what ran the second time.
fn executed_after(change: impl FnOnce(&Project), arguments: &[&str]) -> Vec<String> {
    let stagewright = Stagewright::with_busybox();
    let project = two_stages();
    let first = stagewright.build(&project, &[]).success();
    assert!(
        !first.executed().is_empty(),
        "nothing ran at first: {}",
        first.output
    );
    change(&project);
    stagewright.build(&project, arguments).success().executed()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_directory_with_one_file_is_not_taken_for_that_file() {
    let stagewright = Stagewright::new();
    let copied = |source: &str| {
        let project = Project::new()
            .file("Dockerfile", format!("FROM scratch\nCOPY {source} /to\n"))
            .file("from/name", "1");
        let out = tempfile::tempdir().unwrap();
        let image = out.path().join("image");
        let _ = stagewright.build_into(&project, &image, &[]).success();
        let entries = Image::read(&image).rootfs.entries;
        let paths: Vec<String> = entries.keys().map(ToString::to_string).collect();
        paths.join(" ")
    };
    assert_eq!(copied("from/name"), "to");
    assert_eq!(copied("from"), "to to/name");
    assert_eq!(copied("from/name"), "to");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_second_build_runs_nothing() {
    assert_eq!(executed_after(|_| {}, &[]), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_touched_file_runs_nothing() {
    assert_eq!(
        executed_after(|project| project.touch("index.js"), &[]),
        NOTHING
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_source_file_runs_the_two_copies() {
    let executed = executed_after(|project| project.write("index.js", "two"), &[]);
    assert_eq!(executed, ["COPY . .", "COPY --from=0 /build /app"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_manifest_runs_what_reads_it() {
    let executed = executed_after(|project| project.write("package.json", "{\"a\": 1}"), &[]);
    assert_eq!(
        executed,
        [
            "COPY package.json ./",
            "RUN cp package.json installed",
            "COPY . .",
            "COPY --from=0 /build /app"
        ]
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_file_that_is_ignored_runs_nothing() {
    let change = |project: &Project| {
        project.write("Dockerfile", format!("{TWO_STAGES}# a comment\n"));
    };
    assert_eq!(executed_after(change, &[]), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_command_changes_the_image_and_runs_nothing() {
    let change = |project: &Project| {
        project.write("Dockerfile", TWO_STAGES.replace("\"cat\"", "\"wc\""));
    };
    assert_eq!(executed_after(change, &[]), NOTHING);
}

#[test]
#[ignore = "needs root"]
fn privileged_no_cache_runs_everything() {
    assert_eq!(executed_after(|_| {}, &["--no-cache"]).len(), 6);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_stage_that_the_target_does_not_use_is_not_built() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = |unused: &str| {
        format!("FROM busybox AS unused\n{unused}\nFROM busybox AS used\nRUN echo 1 > /a\n")
    };
    let project = Project::new().file("Dockerfile", dockerfile("RUN exit 1"));
    let first = stagewright.build(&project, &[]).success().executed();
    assert_eq!(first, ["RUN echo 1 > /a"]);
    project.write("Dockerfile", dockerfile("RUN exit 2"));
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        NOTHING
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_stage_that_makes_the_same_files_again_stops_the_change() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "\
FROM busybox AS made
COPY make.sh /
RUN sh /make.sh && rm /make.sh
FROM busybox
COPY --from=made /made /made
RUN wc -c /made > /size
";
    let project = Project::new()
        .file("Dockerfile", dockerfile)
        .file("make.sh", "echo result > /made\n");
    let _ = stagewright.build(&project, &[]).success();
    project.write("make.sh", "# another way to say it\necho result > /made\n");
    let executed = stagewright.build(&project, &[]).success().executed();
    assert_eq!(
        executed,
        ["COPY make.sh /", "RUN sh /make.sh && rm /make.sh"]
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_run_that_changes_nothing_stops_the_change() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = |check: &str| format!("FROM busybox\nRUN {check}\nRUN echo 1 > /a\n");
    let project = Project::new().file("Dockerfile", dockerfile("true"));
    let _ = stagewright.build(&project, &[]).success();
    project.write("Dockerfile", dockerfile("test -d /tmp"));
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        ["RUN test -d /tmp"]
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_the_same_step_in_two_stages_runs_once() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "\
FROM busybox AS a
RUN echo same > /same
FROM busybox AS b
RUN echo same > /same
FROM busybox
COPY --from=a /same /a
COPY --from=b /same /b
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let executed = stagewright.build(&project, &[]).success().executed();
    let runs = executed
        .iter()
        .filter(|name| name.starts_with("RUN"))
        .count();
    assert_eq!(runs, 1, "{executed:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_argument_runs_the_steps_that_can_see_it() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "FROM busybox\nRUN echo 1 > /before\nARG WHO=a\nRUN echo $WHO > /who\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright.build(&project, &[]).success();
    let executed = stagewright
        .build(&project, &["--build-arg", "WHO=b"])
        .success()
        .executed();
    assert_eq!(executed, ["RUN echo $WHO > /who"]);
    assert_eq!(
        stagewright
            .build(&project, &["--build-arg", "WHO=a"])
            .success()
            .executed(),
        NOTHING
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_no_cache_filter_runs_the_named_stage_alone() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = "FROM busybox AS one\nRUN date +%N > /one\nFROM one AS two\nRUN echo > /two\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright.build(&project, &[]).success();
    let again = stagewright
        .build(&project, &["--no-cache-filter", "two"])
        .success();
    assert_eq!(again.executed(), ["RUN echo > /two"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_builds_at_once_share_one_store() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN sleep 1; echo 1 > /a\n");
    let builds: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| stagewright.build(&project, &[])))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let executed: usize = builds
        .into_iter()
        .map(|build| build.success().executed().len())
        .sum();
    assert_eq!(executed, 1, "the step ran once for all");
}

#[test]
fn copying_onto_nothing_is_cached_without_root() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch AS files\nCOPY a /x/\nFROM scratch\nCOPY --from=files /x /y\n",
        )
        .file("a", "one");
    let copies = ["COPY a /x/", "COPY --from=files /x /y"];
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        copies
    );
    project.touch("a");
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        NOTHING
    );
    project.write("a", "two");
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        copies
    );
    project.write("a", "one");
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        NOTHING
    );
}

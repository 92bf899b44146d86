//! Why a step would run: told before a build, and told by it.

use stagewright_testkit::{ImageWriter, LayerTar, Project, Stagewright};

/// Builds a project, changes it, and checks what `explain` says of the first step that would run, that a build then says
/// the same, and that explaining changed nothing.
#[track_caller]
fn explained_after(
    stagewright: &Stagewright,
    project: &Project,
    change: impl FnOnce(),
    arguments: &[&str],
    expected: (&str, &str),
) {
    let _ = stagewright.build(project, &[]).success();
    assert!(
        stagewright
            .explain(project, &[])
            .iter()
            .all(|step| step.verdict == "hit"),
        "built and not cached: {:?}",
        stagewright.explain(project, &[])
    );
    change();
    let explained = stagewright.explain(project, arguments);
    assert_eq!(
        explained,
        stagewright.explain(project, arguments),
        "explaining changed something"
    );
    let first = explained.iter().find(|step| step.verdict != "hit");
    let first = first.unwrap_or_else(|| panic!("nothing would run: {explained:?}"));
    assert_eq!(
        (
            first.instruction.as_str(),
            first.verdict.as_str(),
            first.reason.as_str()
        ),
        (expected.0, "miss", expected.1)
    );
    let mut plain = stagewright.build_command(project, arguments);
    plain.arg("--progress=plain");
    let output = stagewright_testkit::output(&mut plain).success();
    assert!(
        output.stderr.contains(&format!("({})", expected.1)),
        "the build does not say {:?}:\n{}",
        expected.1,
        output.stderr
    );
}

fn copies() -> Project {
    Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY one /one\nCOPY dir /dir\n")
        .file("one", "1")
        .file("dir/a", "a")
        .file("dir/b", "b")
}

#[test]
fn what_was_never_built_has_not_run_before() {
    let stagewright = Stagewright::new();
    let explained = stagewright.explain(&copies(), &[]);
    let said: Vec<_> = explained
        .iter()
        .map(|step| {
            (
                step.instruction.as_str(),
                step.verdict.as_str(),
                step.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("COPY one /one", "miss", "has not run before"),
            ("COPY dir /dir", "depends_on", ""),
        ]
    );
}

#[test]
fn a_changed_file_is_named() {
    let project = copies();
    let change = || project.write("dir/a", "A");
    let expected = ("COPY dir /dir", "file dir/a changed");
    explained_after(&Stagewright::new(), &project, change, &[], expected);
}

#[test]
fn added_and_removed_files_are_named() {
    let project = copies();
    let change = || {
        project.write("dir/c", "c");
        project.remove("dir/b");
    };
    let expected = ("COPY dir /dir", "file dir/b removed; file dir/c added");
    explained_after(&Stagewright::new(), &project, change, &[], expected);
}

#[test]
fn a_changed_file_in_another_stage_is_named() {
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch AS made\nCOPY dir /dir\nFROM scratch\nCOPY --from=made /dir /copy\n",
        )
        .file("dir/a", "a");
    let stagewright = Stagewright::new();
    let _ = stagewright.build(&project, &[]).success();
    project.write("dir/a", "A");
    let mut plain = stagewright.build_command(&project, &[]);
    plain.arg("--progress=plain");
    let output = stagewright_testkit::output(&mut plain).success();
    assert!(
        output.stderr.contains("(file dir/a changed)"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_changed_destination_is_told() {
    let project = copies();
    let change = || project.write("Dockerfile", "FROM scratch\nCOPY one /two\nCOPY dir /dir\n");
    let expected = (
        "COPY one /two",
        "destination changed: \"/one\" is now \"/two\"",
    );
    explained_after(&Stagewright::new(), &project, change, &[], expected);
}

#[test]
fn no_cache_is_the_reason_when_it_was_asked_for() {
    let project = copies();
    let expected = ("COPY one /one", "the cache was not to be used");
    explained_after(
        &Stagewright::new(),
        &project,
        || {},
        &["--no-cache"],
        expected,
    );
}

#[test]
fn no_cache_of_one_stage_is_its_reason_alone() {
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch AS a\nCOPY one /one\nFROM scratch AS b\nCOPY two /two\nCOPY --from=a /one /\n",
        )
        .file("one", "1")
        .file("two", "2");
    let expected = ("COPY two /two", "the cache was not to be used");
    let arguments = ["--no-cache-filter=b"];
    explained_after(&Stagewright::new(), &project, || {}, &arguments, expected);
}

#[test]
fn early_cutoff_is_seen_by_the_next_build_and_not_promised_before() {
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch AS a\nCOPY --chmod=644 one /one\nFROM scratch\nCOPY --from=a /one /\n",
        )
        .file("one", "1");
    let stagewright = Stagewright::new();
    let _ = stagewright
        .build(&project, &["--no-cache-filter=a"])
        .success();
    let verdicts = |arguments: &[&str]| -> Vec<String> {
        stagewright
            .explain(&project, arguments)
            .into_iter()
            .map(|step| step.verdict)
            .collect()
    };
    assert_eq!(verdicts(&["--no-cache-filter=a"]), ["miss", "depends_on"]);
    let executed = stagewright
        .build(&project, &["--no-cache-filter=a"])
        .success()
        .executed();
    assert_eq!(executed, ["COPY --chmod=644 one /one"]);
}

fn with_run(dockerfile: &str) -> (Stagewright, Project) {
    (
        Stagewright::with_busybox(),
        Project::new().file("Dockerfile", dockerfile),
    )
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_command_is_shown() {
    let (stagewright, project) = with_run("FROM busybox\nRUN echo 1 > /a\n");
    let change = || project.write("Dockerfile", "FROM busybox\nRUN echo 2 > /a\n");
    let reason = "command changed: \"/bin/sh -c echo 1 > /a\" is now \"/bin/sh -c echo 2 > /a\"";
    explained_after(
        &stagewright,
        &project,
        change,
        &[],
        ("RUN echo 2 > /a", reason),
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_build_argument_is_named() {
    let (stagewright, project) = with_run("FROM busybox\nARG V=1\nRUN echo $V > /a\n");
    let expected = (
        "RUN echo $V > /a",
        "environment V changed: \"1\" is now \"2\"",
    );
    explained_after(
        &stagewright,
        &project,
        || {},
        &["--build-arg=V=2"],
        expected,
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_variable_is_named() {
    let (stagewright, project) = with_run("FROM busybox\nENV A=1\nRUN echo > /a\n");
    let change = || project.write("Dockerfile", "FROM busybox\nENV A=2 B=3\nRUN echo > /a\n");
    let expected = (
        "RUN echo > /a",
        "environment A changed: \"1\" is now \"2\"; environment B added",
    );
    explained_after(&stagewright, &project, change, &[], expected);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_user_is_told() {
    let (stagewright, project) = with_run("FROM busybox\nRUN true > /a\n");
    let _ = stagewright.build(&project, &[]).success();
    project.write("Dockerfile", "FROM busybox\nUSER 5\nRUN true\n");
    let mut plain = stagewright.build_command(&project, &[]);
    plain.arg("--progress=plain");
    let output = stagewright_testkit::output(&mut plain).success();
    assert!(
        output.stderr.contains("user changed: \"\" is now \"5\""),
        "{}",
        output.stderr
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_another_base_is_told() {
    let (stagewright, project) = with_run("FROM busybox\nRUN echo 1 > /a\n");
    let layout = stagewright.busybox_layout();
    let change = || {
        ImageWriter::new()
            .layer(LayerTar::new().file("other", 0o644, "other"))
            .write(&layout, "latest");
    };
    let _ = stagewright.build(&project, &[]).success();
    change();
    let explained = stagewright.explain(&project, &[]);
    let step = &explained[0];
    assert_eq!(step.verdict, "miss", "{explained:?}");
    assert!(
        step.reason.starts_with("base image busybox") && step.reason.ends_with(" changed"),
        "{explained:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_changed_bound_file_is_named() {
    let dockerfile = "FROM busybox\nRUN --mount=type=bind,source=dir,target=/in cat /in/a > /a\n";
    let (stagewright, project) = with_run(dockerfile);
    let project = project.file("dir/a", "a");
    let change = || project.write("dir/a", "A");
    let _ = stagewright.build(&project, &[]).success();
    change();
    let explained = stagewright.explain(&project, &[]);
    assert_eq!(explained[0].verdict, "miss", "{explained:?}");
    assert_eq!(explained[0].reason, "mount 0 /in file a changed");
}

#[test]
fn what_was_collected_is_told() {
    let stagewright = Stagewright::new();
    let project = copies();
    let expected = ("COPY one /one", "its result is no longer stored");
    explained_after(
        &stagewright,
        &project,
        || prune(&stagewright),
        &[],
        expected,
    );
}

#[test]
fn what_was_collected_is_told_of_an_older_result() {
    let stagewright = Stagewright::new();
    let project = copies();
    let _ = stagewright.build(&project, &[]).success();
    project.write("one", "2");
    let back = || {
        prune(&stagewright);
        project.write("one", "1");
    };
    let expected = ("COPY one /one", "its result is no longer stored");
    explained_after(&stagewright, &project, back, &[], expected);
}

fn prune(stagewright: &Stagewright) {
    let mut command = stagewright.command("cache");
    command
        .args(["prune", "--all", "--store"])
        .arg(stagewright.store());
    let _ = stagewright_testkit::output(&mut command).success();
}

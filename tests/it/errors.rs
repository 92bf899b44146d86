//! What goes wrong is told clearly, and breaks nothing.

use stagewright_testkit::{Build, Project, Stagewright, output};

use crate::tmpfs::Tmpfs;

/// Asserts that a build failed as builds fail, and that what it printed holds each of the words.
fn assert_fails(build: &Build, words: &[&str]) {
    assert_eq!(build.output.code(), Some(1), "{}", build.output);
    let printed = format!("{}\n{}", build.output.stdout, build.output.stderr);
    for word in words {
        assert!(
            printed.contains(word),
            "it does not say {word:?}: {}",
            build.output
        );
    }
    assert!(!printed.contains("panicked"), "{}", build.output);
}

fn plain(stagewright: &Stagewright, project: &Project, arguments: &[&str]) -> Build {
    let mut command = stagewright.build_command(project, arguments);
    command.arg("--progress=plain");
    Build {
        output: output(&mut command),
    }
}

#[test]
fn wrong_dockerfiles_are_told_with_their_line() {
    let cases: &[(&str, &[&str])] = &[
        (
            "FROM scratch\nCOPPY a b\n",
            &["Dockerfile:2", "COPPY", "COPY"],
        ),
        ("FROM scratch\nCOPY a\n", &["Dockerfile:2", "COPY"]),
        (
            "FROM scratch\nCOPY --chwon=1 a b\n",
            &["Dockerfile:2", "chwon", "chown"],
        ),
        ("RUN true\n", &["Dockerfile:1"]),
        ("", &["Dockerfile"]),
        ("# only a comment\n", &["Dockerfile"]),
        ("FROM scratch\nENV A\n", &["Dockerfile:2", "ENV"]),
        ("FROM scratch\nCOPY --from=5 a b\n", &["Dockerfile:2", "5"]),
    ];
    for (dockerfile, words) in cases {
        let project = Project::new().file("Dockerfile", dockerfile).file("a", "");
        assert_fails(&plain(&Stagewright::new(), &project, &[]), words);
    }
}

#[test]
fn a_missing_file_is_named() {
    let project = Project::new().file(
        "Dockerfile",
        "FROM scratch\nCOPY there /\nCOPY missing.txt /\n",
    );
    let project = project.file("there", "");
    assert_fails(
        &plain(&Stagewright::new(), &project, &[]),
        &["missing.txt", "Dockerfile:3"],
    );
}

#[test]
fn a_file_that_is_ignored_is_not_there() {
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY secret.txt /\n")
        .file(".dockerignore", "secret.txt\n")
        .file("secret.txt", "");
    assert_fails(
        &plain(&Stagewright::new(), &project, &[]),
        &["secret.txt", "Dockerfile:2"],
    );
}

#[test]
fn an_unknown_stage_is_named_with_those_there_are() {
    let project = Project::new().file("Dockerfile", "FROM scratch AS release\n");
    let build = plain(&Stagewright::new(), &project, &["--target", "relaese"]);
    assert_fails(&build, &["relaese", "release"]);
}

#[test]
fn a_missing_dockerfile_is_named() {
    assert_fails(
        &plain(&Stagewright::new(), &Project::new(), &[]),
        &["Dockerfile"],
    );
    let project = Project::new().file("Dockerfile", "FROM scratch\n");
    assert_fails(
        &plain(&Stagewright::new(), &project, &["-f", "other.txt"]),
        &["other.txt"],
    );
}

#[test]
fn a_path_on_the_command_line_that_is_not_there_is_named() {
    let stagewright = Stagewright::new();
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for (arguments, message) in [
        (
            ["--secret", "id=s,src=/missing/x"],
            "the secret \"s\": /missing/x does not exist",
        ),
        (
            ["--ssh", "default=/missing/x"],
            "the ssh agent \"default\": /missing/x does not exist",
        ),
        (
            ["--build-context", "a=/missing/x"],
            "can't open the build context /missing/x",
        ),
    ] {
        assert_fails(&plain(&stagewright, &project, &arguments), &[message]);
    }
    for (arguments, message) in [
        (
            ["build", "/missing/x"],
            "the build context /missing/x does not exist",
        ),
        (["inspect", "oci:/missing/x"], "open file `/missing/x`"),
    ] {
        let mut command = stagewright.command(arguments[0]);
        command.arg("--store").arg(stagewright.store());
        let output = output(command.arg(arguments[1]));
        assert_fails(&Build { output }, &[message]);
    }
}

#[test]
fn an_unreachable_registry_is_named() {
    // Nothing listens on port 1 of the loopback interface.
    let project = Project::new().file("Dockerfile", "FROM 127.0.0.1:1/base:1\nCOPY Dockerfile /\n");
    assert_fails(
        &plain(&Stagewright::new(), &project, &[]),
        &["127.0.0.1:1", "Dockerfile:1"],
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    let project = Project::new().file("Dockerfile", "FROM scratch\n");
    let cases: &[&[&str]] = &[&["--no-such-option"], &["--output", "type=nonsense,dest=x"]];
    for arguments in cases {
        let build = plain(&Stagewright::new(), &project, arguments);
        assert_eq!(
            build.output.code(),
            Some(2),
            "{arguments:?}: {}",
            build.output
        );
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_failing_step_says_where_and_what_and_keeps_what_was_built() {
    let stagewright = Stagewright::with_busybox();
    let dockerfile = |last: &str| format!("FROM busybox\nRUN echo one > /one\n\nRUN {last}\n");
    let failing = dockerfile("for i in 1 2 3; do echo line $i of the log; done; exit 3");
    let project = Project::new().file("Dockerfile", failing);
    let build = plain(&stagewright, &project, &[]);
    assert_fails(
        &build,
        &["Dockerfile:4", "exit code", "3", "line 3 of the log"],
    );
    project.write("Dockerfile", dockerfile("true"));
    assert_eq!(
        stagewright.build(&project, &[]).success().executed(),
        ["RUN true"]
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_command_that_is_not_there_is_told() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file("Dockerfile", "FROM busybox\nRUN [\"/no/such/program\"]\n");
    assert_fails(
        &plain(&stagewright, &project, &[]),
        &["Dockerfile:2", "/no/such/program"],
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_full_disk_is_told_and_breaks_nothing() {
    let disk = Tmpfs::mount(24);
    let stagewright = Stagewright::with_busybox();
    let store = disk.path().join("store");
    let dockerfile =
        "FROM busybox\nRUN echo kept > /kept\nRUN dd if=/dev/urandom of=/big bs=1M count=40\n";
    let project = Project::new().file("Dockerfile", dockerfile);
    let build = || {
        let mut command = stagewright.command("build");
        command
            .arg("--store")
            .arg(&store)
            .arg(format!(
                "--build-context=busybox=oci-layout://{}",
                stagewright.busybox_layout().display()
            ))
            .arg("--progress=rawjson")
            .arg(project.path());
        Build {
            output: output(&mut command),
        }
    };
    let full = build();
    assert_eq!(full.output.code(), Some(1), "{}", full.output);
    let printed = format!("{}{}", full.output.stdout, full.output.stderr).to_lowercase();
    assert!(printed.contains("no space left"), "{}", full.output);
    disk.resize(400);
    let executed = build().success().executed();
    assert!(executed.len() <= 2, "{executed:?}");
    assert_eq!(build().success().executed(), [""; 0]);
    let mut verify = stagewright.command("cache");
    let _ = output(verify.arg("verify").arg("--store").arg(&store)).success();
}

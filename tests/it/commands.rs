//! The verbs beside `build`.

use stagewright_testkit::{Output, Project, Stagewright, output};

fn verb(stagewright: &Stagewright, words: &[&str]) -> Output {
    let mut command = stagewright.command(words[0]);
    output(
        command
            .args(&words[1..])
            .arg("--store")
            .arg(stagewright.store()),
    )
}

fn json(output: Output) -> serde_json::Value {
    let output = output.success();
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn parse_prints_instructions_with_their_places() {
    let project = Project::new().file(
        "Dockerfile",
        "# comment\nFROM scratch AS a\nCOPY x \\\n  y\n",
    );
    let file = project.path().join("Dockerfile");
    let mut parse = Stagewright::new().command("parse");
    let shown = json(output(parse.arg(&file)));
    let text = shown.to_string();
    for word in ["FROM", "COPY", "scratch"] {
        assert!(
            text.to_uppercase().contains(&word.to_uppercase()),
            "{word}: {shown}"
        );
    }
}

#[test]
fn parse_ends_with_1_and_a_place_when_the_file_is_wrong() {
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPPY x y\n");
    let mut parse = Stagewright::new().command("parse");
    let failed = output(parse.arg(project.path().join("Dockerfile")));
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert!(
        failed.stderr.contains("Dockerfile:2") && failed.stderr.contains("COPY"),
        "{failed}"
    );
}

#[test]
fn check_tells_findings_and_fails_only_where_the_file_asks_for_it() {
    for (first, code) in [("", 0), ("# check=error=true\n", 1)] {
        let text = format!("{first}FROM scratch\nENV PASSWORD=x\n");
        let project = Project::new().file("Dockerfile", &text);
        let mut check = Stagewright::new().command("check");
        let told = output(check.arg(project.path().join("Dockerfile")));
        assert_eq!(told.code(), Some(code), "{told}");
        assert!(told.stdout.contains("SecretsUsedInArgOrEnv"), "{told}");
    }
}

#[test]
fn a_built_image_is_listed_shown_measured_renamed_and_removed() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file("Dockerfile", "FROM scratch AS fat\nCOPY big /\nFROM scratch\nCOPY --from=fat /big /part\nCMD [\"/part\"]\n")
        .file("big", "x".repeat(10_000));
    let _ = stagewright.build(&project, &["-t", "app:1"]).success();

    assert!(
        verb(&stagewright, &["images"])
            .success()
            .stdout
            .contains("app")
    );
    let shown = verb(&stagewright, &["inspect", "app:1"]).success().stdout;
    assert!(shown.contains("/part"), "{shown}");
    let sizes = verb(&stagewright, &["sizes", "app:1"]).success().stdout;
    assert!(
        sizes.contains("fat"),
        "the build stage is measured too: {sizes}"
    );
    let _ = verb(&stagewright, &["tag", "app:1", "other:2"]).success();
    assert!(
        verb(&stagewright, &["images"])
            .success()
            .stdout
            .contains("other")
    );
    let _ = verb(&stagewright, &["rmi", "app:1"]).success();
    let gone = verb(&stagewright, &["inspect", "app:1"]);
    assert_eq!(gone.code(), Some(1), "{gone}");
    assert!(gone.stderr.contains("app:1"), "{gone}");
}

#[test]
fn the_cache_is_measured_and_checked() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY big /\n")
        .file("big", "x".repeat(100_000));
    let _ = stagewright.build(&project, &[]).success();
    let _ = verb(&stagewright, &["cache", "du"]).success();
    let _ = verb(&stagewright, &["cache", "verify"]).success();
    let usage = json(verb(&stagewright, &["cache", "du", "--format=json"]));
    assert!(usage["total_bytes"].as_u64() > Some(100_000), "{usage}");
}

#[test]
fn damage_is_found_and_repaired() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY a /\n")
        .file("a", "text");
    let _ = stagewright.build(&project, &["-t", "app:1"]).success();
    let blobs = stagewright.store().join("blobs/sha256");
    let blob = fs_err::read_dir(blobs)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs_err::write(&blob, "something else").unwrap();
    let found = verb(&stagewright, &["cache", "verify"]);
    assert_eq!(found.code(), Some(1), "{found}");
    assert!(
        found.stdout.contains(&blob.display().to_string()),
        "{found}"
    );
    let _ = verb(&stagewright, &["cache", "verify", "--repair"]).success();
    let _ = verb(&stagewright, &["cache", "verify"]).success();
    let aside = fs_err::read_dir(stagewright.store().join("quarantine")).unwrap();
    assert_eq!(aside.count(), 1, "what was damaged is kept aside");
    let _ = stagewright.build(&project, &["-t", "app:1"]).success();
}

#[test]
fn a_build_that_meets_damage_says_so_and_makes_it_again() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch AS a\nCOPY a /a\nFROM scratch\nCOPY --from=a /a /copied\nCOPY b /b\n",
        )
        .file("a", "the text that is damaged")
        .file("b", "1");
    let _ = stagewright.build(&project, &[]).success();
    for layer in fs_err::read_dir(stagewright.store().join("layers")).unwrap() {
        let tar = layer.unwrap().path().join("packed.tar");
        let bytes = fs_err::read(&tar).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        fs_err::write(&tar, text.replace("is damaged", "was damagd")).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let files = out.path().join("files");
    let output = format!("type=local,dest={}", files.display());
    let built = stagewright.build(&project, &["-o", &output]).success();
    let said = format!("{}{}", built.output.stdout, built.output.stderr);
    assert!(said.contains("was damaged and is set aside"), "{said}");
    let text = fs_err::read_to_string(files.join("copied")).unwrap();
    assert_eq!(text, "the text that is damaged");
}

#[test]
fn a_miss_names_the_file_that_changed() {
    let stagewright = Stagewright::new();
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY first second /\n")
        .file("first", "1")
        .file("second", "1");
    let _ = stagewright.build(&project, &[]).success();
    project.write("second", "2");
    let events = stagewright.build(&project, &[]).success().events();
    let copied = events
        .iter()
        .find(|event| {
            event["event"] == "vertex_finished"
                && event["status"] == "executed"
                && event["step"] == true
        })
        .unwrap();
    let miss = copied["miss"].to_string();
    assert!(
        miss.contains("second") && !miss.contains("first"),
        "{copied}"
    );
}

#[test]
fn doctor_says_how_steps_run() {
    let told = verb(&Stagewright::new(), &["doctor"]);
    assert!(!told.stdout.trim().is_empty(), "{told}");
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_runs_with_its_own_settings() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nENV GREETING=hello\nWORKDIR /work\nUSER www\nCMD [\"sh\", \"-c\", \"echo $GREETING; pwd; id -un\"]\n",
    );
    let _ = stagewright.build(&project, &["-t", "app:1"]).success();
    let store = stagewright.store().display().to_string();
    let run = |words: &[&str]| {
        let mut command = stagewright.command("run");
        output(command.args(["--store", &store]).args(words))
    };
    assert_eq!(run(&["app:1"]).success().stdout, "hello\n/work\nwww\n");
    assert_eq!(run(&["app:1", "echo", "other"]).success().stdout, "other\n");
    assert_eq!(run(&["app:1", "sh", "-c", "exit 7"]).code(), Some(7));
}

#[test]
fn a_store_can_be_named_from_where_one_is() {
    let stagewright = Stagewright::new();
    let folder = tempfile::tempdir().unwrap();
    let mut command = stagewright.command("images");
    command.args(["--store", "here"]).current_dir(folder.path());
    let _ = output(&mut command).success();
    assert!(folder.path().join("here").is_dir());
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_reads_standard_input() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN echo > /made\nCMD [\"cat\"]\n",
    );
    let _ = stagewright.build(&project, &["-t", "app:1"]).success();
    let input = project.path().join("input");
    fs_err::write(&input, "typed\n").unwrap();
    let mut command = stagewright.command("run");
    command.arg("--store").arg(stagewright.store()).arg("app:1");
    let file = fs_err::File::open(&input).unwrap().into_parts().0;
    let told = command.stdin(file).output().unwrap();
    let failure = String::from_utf8_lossy(&told.stderr);
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "typed\n",
        "{failure}"
    );
}

/// A file with findings in both of its stages, of which only the last is built.
const WITH_FINDINGS: &str = "\
ARG BASE=scratch
FROM $BASE AS unused
WORKDIR elsewhere
# app is what runs
FROM scratch AS app
# check=skip=WorkdirRelativePath
WORKDIR skipped
# VERSION is told in the logs
ARG VERSION=2
COPY seen ignored /
CMD start
";

fn build_in(project: &Project, words: &[&str]) -> Output {
    let stagewright = Stagewright::new();
    let mut command = stagewright.command("build");
    let command = command.arg("--store").arg(stagewright.store());
    output(command.args(words).arg(project.path()))
}

fn with_findings(first: &str) -> Project {
    Project::new()
        .file("Dockerfile", format!("{first}{WITH_FINDINGS}"))
        .file(".dockerignore", "ignored\n")
        .file("seen", "")
        .file("ignored", "")
}

#[test]
fn a_build_ends_with_what_the_checks_found_in_the_stages_that_it_built() {
    let text = "FROM scratch AS a\nWORKDIR x\nFROM scratch\nCOPY f /\nENV TOKEN=1\nCMD run\n";
    let project = Project::new().file("Dockerfile", text).file("f", "");
    let built = build_in(&project, &["--progress=plain"]).success();
    let (_, end) = built
        .stderr
        .split_once("2 warnings found:\n")
        .unwrap_or_else(|| panic!("{built}"));
    let rules: Vec<&str> = end
        .lines()
        .filter_map(|line| line.strip_prefix(" - ")?.split(':').next())
        .collect();
    assert_eq!(
        rules,
        ["SecretsUsedInArgOrEnv", "JSONArgsRecommended"],
        "{built}"
    );
    assert!(
        end.contains("(line 5)") && end.contains("(line 6)"),
        "{built}"
    );
    let raw = build_in(&project, &["--progress=rawjson"]).success();
    let finding = raw
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|event| event["event"] == "warning")
        .unwrap_or_else(|| panic!("{raw}"));
    assert_eq!(finding["finding"]["rule"], "SecretsUsedInArgOrEnv", "{raw}");
}

#[test]
fn findings_fail_a_build_before_its_first_step_where_the_file_or_an_argument_asks_for_it() {
    for (first, words) in [
        ("# check=error=true\n", &[][..]),
        (
            "",
            &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true"][..],
        ),
    ] {
        let project = Project::new()
            .file(
                "Dockerfile",
                format!("{first}FROM scratch\nCOPY f /\nCMD run\n"),
            )
            .file("f", "");
        let failed = build_in(&project, words);
        assert_eq!(failed.code(), Some(1), "{failed}");
        let message = "lint violation found for rules: JSONArgsRecommended";
        assert!(failed.stderr.contains(message), "{failed}");
        assert!(!failed.stderr.contains("COPY f"), "{failed}");
    }
}

#[test]
fn build_check_tells_what_all_stages_hold_and_ends_with_1_if_that_is_anything() {
    let found = build_in(&with_findings(""), &["--check"]);
    assert_eq!(found.code(), Some(1), "{found}");
    for rule in [
        "CopyIgnoredFile",
        "JSONArgsRecommended",
        "WorkdirRelativePath",
    ] {
        let heading = format!("WARNING: {rule} - https://docs.docker.com/go/dockerfile/rule/");
        assert_eq!(found.stdout.matches(&heading).count(), 1, "{rule}: {found}");
    }
    assert!(
        found.stdout.contains("3 warnings have been found!"),
        "{found}"
    );
    let target = build_in(&with_findings(""), &["--call=check", "--target=unused"]);
    assert!(
        target.stdout.contains("1 warning has been found!"),
        "{target}"
    );
    let nothing = build_in(&with_findings("# check=skip=all\n"), &["--check"]).success();
    assert_eq!(nothing.stdout, "Check complete, no warnings found.\n");
    let ignored = build_in(&with_findings(""), &["--call=check,ignorestatus=true"]);
    assert_eq!(ignored.code(), Some(0), "{ignored}");
}

#[test]
fn calls_answer_in_buildkits_json() {
    let project = with_findings("");
    let call = |call: &str| {
        let told = build_in(&project, &[call]);
        serde_json::from_str::<serde_json::Value>(&told.stdout)
            .unwrap_or_else(|error| panic!("{error}: {told}"))
    };
    let check = call("--call=check,format=json");
    assert_eq!(check["warnings"][0]["ruleName"], "WorkdirRelativePath");
    let place = &check["warnings"][0]["location"]["ranges"][0];
    assert_eq!(place["start"]["line"], 3, "{check}");
    assert_eq!(check["sources"][0]["fileName"], "Dockerfile");
    let targets = call("--call=targets,format=json");
    assert_eq!(targets["targets"][0]["base"], "$BASE");
    assert_eq!(targets["targets"][1]["name"], "app");
    assert_eq!(targets["targets"][1]["default"], true);
    assert_eq!(targets["targets"][1]["description"], "is what runs");
    let outline = call("--call=outline,format=json");
    assert_eq!(outline["name"], "app");
    assert_eq!(
        outline["args"].as_array().map(Vec::len),
        Some(1),
        "{outline}"
    );
    assert_eq!(outline["args"][0]["name"], "VERSION");
    assert_eq!(outline["args"][0]["value"], "2");
    assert_eq!(outline["args"][0]["description"], "is told in the logs");
}

#[test]
fn a_foreign_frontend_is_reported_as_ignored() {
    let told = |syntax: &str| {
        let text = format!("# syntax={syntax}\nFROM scratch\nCOPY f /\n");
        let project = Project::new().file("Dockerfile", &text).file("f", "");
        build_in(&project, &["--progress=plain"]).success().stderr
    };
    assert!(told("example.com/frontend:1").contains("example.com/frontend:1 is ignored"));
    for own in [
        "docker/dockerfile:1",
        "docker.io/docker/dockerfile:1.7-labs",
    ] {
        assert!(!told(own).contains("is ignored"), "{own}");
    }
}

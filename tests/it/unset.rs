//! Settings that an image does not take over from its base, or from its Dockerfile.

use stagewright_testkit::{Buildah, Image, Project, Stagewright, differences};

const DOCKERFILE: &str = "\
FROM scratch AS one
ENV A=1 B=2
LABEL one=1 both=1
FROM one
ENV C=\"$A$B\" AB=3
LABEL two=2 both=2
";

/// Builds and returns the environment but for `PATH`, and the labels, of the image of each platform.
fn settings(arguments: &[&str]) -> Vec<(Vec<String>, Vec<String>)> {
    let stagewright = Stagewright::new();
    let project = Project::new().file("Dockerfile", DOCKERFILE);
    let out = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for platform in ["linux/amd64", "linux/arm64"] {
        let layout = out.path().join(platform.replace('/', "-"));
        let all = [arguments, &["--platform", platform]].concat();
        let _ = stagewright.build_into(&project, &layout, &all).success();
        let config = Image::read(&layout).config;
        let mut env = config.env;
        env.retain(|pair| !pair.starts_with("PATH="));
        let labels = config.labels.iter();
        found.push((
            env,
            labels
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ));
    }
    found
}

#[test]
fn what_is_unset_is_not_in_the_image_and_was_there_for_what_used_it() {
    for (arguments, env, labels) in [
        (
            &["--unsetenv=A", "--unsetenv", "B", "--unsetenv=NONE"][..],
            &["C=12", "AB=3"][..],
            &["both=2", "one=1", "two=2"][..],
        ),
        (
            &["--unsetlabel=both,two", "--label=three=3"],
            &["A=1", "B=2", "C=12", "AB=3"],
            &["one=1", "three=3"],
        ),
        // What is asked for goes as well.
        (
            &["--unsetlabel=three", "--label=three=3"],
            &["A=1", "B=2", "C=12", "AB=3"],
            &["both=2", "one=1", "two=2"],
        ),
        (
            &["--inherit-labels=false"],
            &["A=1", "B=2", "C=12", "AB=3"],
            &["both=2", "two=2"],
        ),
        (
            &["--inherit-labels", "--inherit-annotations=false"],
            &["A=1", "B=2", "C=12", "AB=3"],
            &["both=2", "one=1", "two=2"],
        ),
    ] {
        for (found_env, found_labels) in settings(arguments) {
            assert_eq!(found_env, env, "{arguments:?}");
            assert_eq!(found_labels, labels, "{arguments:?}");
        }
    }
    let project = Project::new().file("Dockerfile", DOCKERFILE);
    for (argument, code) in [
        ("--unsetenv=A=1", 1),
        ("--unsetlabel=", 1),
        ("--inherit-annotations", 2),
    ] {
        let refused = Stagewright::new().build(&project, &[argument]);
        assert_eq!(refused.output.code(), Some(code), "{argument}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_steps_see_what_the_image_has_not_as_in_buildah() {
    let stagewright = Stagewright::with_busybox();
    let buildah = Buildah::new();
    buildah.add_base(
        &stagewright.busybox_layout(),
        "docker.io/library/busybox:latest",
    );
    // Of a stage on another one Buildah forgets them between the two.
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nENV A=1 B=2\nRUN test \"$A\" = 1\nENV C=3\nRUN test \"$A$B$C\" = 123\n",
    );
    let arguments = ["--unsetenv=A", "--unsetenv=C"];
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = stagewright
        .build_into(&project, &layout, &arguments)
        .success();
    let ours = Image::read(&layout);
    let theirs = buildah.build(&project, &arguments);
    assert_eq!(differences(&ours, &theirs), [""; 0]);
    // It is a matter of the image and not of its steps.
    let again = stagewright.build(&project, &[]).success();
    assert_eq!(again.executed(), [""; 0]);
}

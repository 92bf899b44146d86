//! Bases from registries: when they are asked, which ones, and for what.

use std::process::Command;

use serde_json::json;
use stagewright_testkit::{Build, Image, LayerTar, Project, Registry, Stagewright, output};

const HOST: &str = "registry.example:5000";

/// Puts an image of one layer under a tag, and returns how its layer is asked for.
fn add(registry: &Registry, repository: &str, text: &str) -> String {
    let layer = LayerTar::new().file("text", 0o644, text).finish();
    let digest = registry.add_blob(repository, &layer);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": [format!("TEXT={text}")]},
    });
    registry.add_image(repository, "1", config, &[&layer]);
    format!("GET /v2/{repository}/blobs/{digest}")
}

fn project(base: &str) -> Project {
    Project::new().file("Dockerfile", format!("FROM {base}\nENV ADDED=1\n"))
}

/// Builds with more in the environment, into a layout.
fn build(
    stagewright: &Stagewright,
    base: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Build, Option<Image>) {
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let option = format!("type=oci,dest={}", layout.display());
    let fixed = [
        "--platform=linux/amd64",
        "--progress=rawjson",
        "-o",
        &option,
    ];
    let project = project(base);
    let mut command: Command =
        stagewright.build_command(&project, &[&fixed[..], arguments].concat());
    command.envs(environment.iter().copied());
    let build = Build {
        output: output(&mut command),
    };
    let image = (build.output.code() == Some(0)).then(|| Image::read(&layout));
    (build, image)
}

fn text_of(base: &str, stagewright: &Stagewright, arguments: &[&str]) -> String {
    let (build, image) = build(stagewright, base, arguments, &[]);
    let image = image.unwrap_or_else(|| panic!("{}", build.output));
    text_in(&image)
}

/// The variable that says which base it is.
fn text_in(image: &Image) -> String {
    let mut variables = image.config.env.iter();
    let found = variables.find(|variable| variable.starts_with("TEXT="));
    found.cloned().unwrap_or_default()
}

#[test]
fn a_tag_that_moved_is_asked_for_with_pull_alone() {
    let registry = Registry::start();
    let base = format!("{}/base:1", registry.address());
    add(&registry, "base", "old");
    let stagewright = Stagewright::new();
    assert_eq!(text_of(&base, &stagewright, &[]), "TEXT=old");
    add(&registry, "base", "new");
    let asked = registry.requests().len();
    assert_eq!(text_of(&base, &stagewright, &[]), "TEXT=old");
    assert_eq!(registry.requests().len(), asked);
    assert_eq!(text_of(&base, &stagewright, &["--pull"]), "TEXT=new");
    assert_eq!(text_of(&base, &stagewright, &[]), "TEXT=new");
}

#[test]
fn layers_are_downloaded_when_something_needs_them_and_once() {
    let registry = Registry::start();
    let base = format!("{}/base:1", registry.address());
    let layer = add(&registry, "base", "text");
    let stagewright = Stagewright::new();
    let count = || registry.count(&layer);
    // A config needs none of the base's files.
    let configured =
        Project::new().file("Dockerfile", format!("FROM {base}\nENV A=1\nLABEL b=2\n"));
    let _ = stagewright
        .build(&configured, &["--platform=linux/amd64", "-t", "app:1"])
        .success();
    assert_eq!(count(), 0);
    for _ in 0..2 {
        assert_eq!(text_of(&base, &stagewright, &[]), "TEXT=text");
        assert_eq!(count(), 1);
    }
    // What was passed on is there for who needs the files.
    let copies = Project::new().file(
        "Dockerfile",
        format!("FROM {base} AS base\nFROM scratch\nCOPY --from=base /text /copy\n"),
    );
    for _ in 0..2 {
        let _ = stagewright
            .build(&copies, &["--platform=linux/amd64"])
            .success();
        assert_eq!(count(), 1);
    }
}

#[test]
fn mirrors_are_asked_before_the_registry_and_blocked_registries_never() {
    let (mirror, second) = (Registry::start(), Registry::start());
    add(&mirror, "hub/team/app", "mirror");
    add(&second, "team/app", "second");
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("registries.conf");
    let environment = [("CONTAINERS_REGISTRIES_CONF", conf.to_str().unwrap())];
    let base = format!("{HOST}/team/app:1");
    let text = |arguments: &[&str], conf_text: String| {
        fs_err::write(&conf, conf_text).unwrap();
        build(&Stagewright::new(), &base, arguments, &environment)
    };
    let option = format!("--registry-mirror={HOST}={}/hub", mirror.address());
    let (_, image) = text(&[&option], String::new());
    assert_eq!(text_in(&image.unwrap()), "TEXT=mirror");
    let rule =
        |more: String| format!("[[registry]]\nprefix = \"{HOST}\"\nlocation = \"{HOST}\"\n{more}");
    let of_mirror = |location: String| {
        format!("[[registry.mirror]]\nlocation = \"{location}\"\ninsecure = true\n")
    };
    // The first does not have it.
    let both = of_mirror(second.address() + "/none") + &of_mirror(second.address());
    let (build_, image) = text(&[], rule(both));
    let image = image.unwrap_or_else(|| panic!("{}", build_.output));
    assert_eq!(text_in(&image), "TEXT=second");
    // A registry that is somewhere else.
    let moved = format!(
        "[[registry]]\nprefix = \"{HOST}/team\"\nlocation = \"{}/hub/team\"\ninsecure = true\n",
        mirror.address()
    );
    let (_, image) = text(&[], moved);
    assert_eq!(text_in(&image.unwrap()), "TEXT=mirror");
    let before = mirror.requests().len() + second.requests().len();
    let blocked = rule("blocked = true\n".to_owned()) + &of_mirror(second.address());
    let (refused, image) = text(&[], blocked);
    assert!(image.is_none());
    let said = &refused.output.stderr;
    assert!(
        said.contains("blocked") && said.contains("registries.conf"),
        "{said}"
    );
    assert_eq!(mirror.requests().len() + second.requests().len(), before);
    let (refused, image) = text(&[], "nonsense".to_owned());
    assert!(image.is_none());
    assert!(
        refused.output.stderr.contains("registries.conf"),
        "{}",
        refused.output
    );
}

#[test]
fn registries_behind_a_proxy_are_reached_through_it() {
    // It answers for every host, as a proxy does.
    let proxy = Registry::start();
    add(&proxy, "team/app", "proxied");
    let address = format!("http://{}", proxy.address());
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("registries.conf");
    let text = format!("[[registry]]\nlocation = \"{HOST}\"\ninsecure = true\n");
    fs_err::write(&conf, text).unwrap();
    let insecure = ("CONTAINERS_REGISTRIES_CONF", conf.to_str().unwrap());
    let base = format!("{HOST}/team/app:1");
    for variable in ["http_proxy", "HTTP_PROXY"] {
        let environment = [insecure, (variable, address.as_str())];
        let (build, image) = build(&Stagewright::new(), &base, &[], &environment);
        let image = image.unwrap_or_else(|| panic!("{}", build.output));
        assert_eq!(text_in(&image), "TEXT=proxied");
    }
    let hosts: Vec<_> = proxy
        .requests()
        .iter()
        .filter_map(|request| request.header("host").map(str::to_owned))
        .collect();
    assert!(hosts.iter().all(|host| host == HOST), "{hosts:?}");
    let asked = proxy.requests().len();
    let environment = [
        insecure,
        ("http_proxy", address.as_str()),
        ("no_proxy", "registry.example"),
    ];
    let (_, image) = build(&Stagewright::new(), &base, &[], &environment);
    assert!(image.is_none());
    assert_eq!(proxy.requests().len(), asked);
}

//! The cache of one machine for another: `--cache-to` and `--cache-from`.

use std::path::Path;

use serde_json::Value;
use stagewright_testkit::{Build, DockerRegistry, Fault, Project, Registry, Stagewright, output};

/// What one machine runs no step of may be a part of: nothing.
pub(crate) const NOTHING: [&str; 0] = [];

/// A stage that is copied from, one that changes nothing, and copies of both kinds.
pub(crate) const COPIES: &str = "\
FROM scratch AS made
WORKDIR /made
COPY src /made/src
COPY big /made/big
FROM scratch
COPY --from=made /made/src /app
COPY src/a /a
WORKDIR /app
";

/// The same for steps that would make something else if they ran again.
const RUNS: &str = "\
FROM busybox AS made
WORKDIR /made
COPY src src
RUN cat /proc/sys/kernel/random/uuid > id
RUN true
FROM busybox
COPY --from=made /made /app
RUN cat /proc/sys/kernel/random/uuid > /last
";

pub(crate) fn project(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file("src/a", "a")
        .file("src/run", "#!/bin/sh\n")
        .mode("src/run", 0o755)
        .symlink("src/link", "a")
        .file("big", "big".repeat(10_000))
}

/// Builds, and returns the build with the digest of the manifest.
fn built(stagewright: &Stagewright, project: &Project, arguments: &[&str]) -> (Build, String) {
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let build = stagewright
        .build_into(project, &layout, arguments)
        .success();
    let index = fs_err::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    (build, digest)
}

/// Asserts that a store holds nothing that is not what its name says.
pub(crate) fn assert_sound(stagewright: &Stagewright) {
    let mut command = stagewright.command("cache");
    command.args(["verify", "--store"]).arg(stagewright.store());
    let _ = output(&mut command).success();
}

fn layers(registry: &Registry, name: &str) -> Vec<String> {
    let (_, bytes) = registry.manifest("app", name).unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// The warnings of a build.
pub(crate) fn warnings(build: &Build) -> String {
    let events = build.events();
    let messages = events
        .iter()
        .filter_map(|event| event["message"].as_str().map(str::to_owned));
    messages.collect::<Vec<_>>().join("\n")
}

/// Exports and imports in every way, and asserts that the second machine runs nothing and makes the
/// same image.
fn assert_every_way(machine: impl Fn() -> Stagewright, dockerfile: &str, steps: usize) {
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    let reference = |tag: &str| format!("{}/app:{tag}", registry.address());
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (to, from) in [
        (
            format!("type=registry,ref={},mode=max", reference("max")),
            format!("type=registry,ref={}", reference("max")),
        ),
        (
            format!("type=registry,ref={},mode=min", reference("min")),
            reference("min"),
        ),
        (
            format!("type=local,dest={},mode=max", path("max")),
            format!("type=local,src={}", path("max")),
        ),
        (
            format!("type=local,dest={},tag=t,compression=zstd", path("min")),
            format!("type=local,src={},tag=t", path("min")),
        ),
    ] {
        let project = project(dockerfile);
        let (build, first) = built(&machine(), &project, &["--cache-to", &to]);
        assert_eq!(build.executed().len(), steps, "{to}");
        let other = machine();
        let (build, second) = built(&other, &project, &["--cache-from", &from]);
        assert_eq!(build.executed(), NOTHING, "{to}");
        assert_eq!(first, second, "{to}");
        assert_sound(&other);
        // What it downloaded is in its own cache from then on.
        let (build, third) = built(&other, &project, &["--cache-from", &from]);
        assert_eq!(build.executed(), NOTHING, "{to}");
        assert_eq!(first, third, "{to}");
    }
}

#[test]
fn a_second_machine_with_the_cache_runs_nothing() {
    assert_every_way(Stagewright::new, COPIES, 6);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_second_machine_runs_no_command_again() {
    assert_every_way(Stagewright::with_busybox, RUNS, 6);
}

#[test]
fn an_image_is_a_cache_itself() {
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.address());
    let project = project(COPIES);
    for inline in [
        ["--cache-to", "type=inline"],
        ["--build-arg", "BUILDKIT_INLINE_CACHE=1"],
    ] {
        let push = ["--push", "-t", &name, inline[0], inline[1]];
        let _ = Stagewright::new().build(&project, &push).success();
        let other = Stagewright::new();
        let (build, _) = built(&other, &project, &["--cache-from", &name]);
        assert_eq!(build.executed(), NOTHING, "{inline:?}");
        assert_sound(&other);
    }
    // An image without one is told of, and is none.
    let plain = format!("{}/app:plain", registry.address());
    let _ = Stagewright::new()
        .build(&project, &["--push", "-t", &plain])
        .success();
    let (build, _) = built(&Stagewright::new(), &project, &["--cache-from", &plain]);
    assert_eq!(build.executed().len(), 6);
    assert!(
        warnings(&build).contains("it holds no cache that stagewright exported"),
        "{}",
        warnings(&build)
    );
}

#[test]
fn min_holds_the_layers_of_the_image_and_max_those_of_all_stages() {
    let registry = Registry::start();
    let project = project(COPIES);
    let to = |mode: &str| {
        let address = registry.address();
        format!("type=registry,ref={address}/app:{mode},mode={mode}")
    };
    let (min, max) = (to("min"), to("max"));
    let _ = Stagewright::new()
        .build(&project, &["--cache-to", &min, "--cache-to", &max])
        .success();
    assert_eq!(layers(&registry, "min").len(), 2);
    assert_eq!(layers(&registry, "max").len(), 5);
    // The layers that no step needs are not downloaded.
    let from = format!("{}/app:max", registry.address());
    let before = registry.count("GET /v2/app/blobs/");
    let _ = built(&Stagewright::new(), &project, &["--cache-from", &from]);
    let downloaded = registry.count("GET /v2/app/blobs/") - before;
    assert_eq!(downloaded, 3, "the document and two layers");
}

#[test]
fn what_changed_runs_on_what_is_known() {
    let registry = Registry::start();
    let reference = format!("{}/app:c", registry.address());
    for (mode, expected) in [
        // The stage's layers are not part of it: they are made again for the one that changed.
        ("min", vec!["WORKDIR /made", "COPY src /made/src"]),
        ("max", Vec::new()),
    ] {
        let project = project(COPIES);
        let to = format!("type=registry,ref={reference},mode={mode}");
        let _ = Stagewright::new()
            .build(&project, &["--cache-to", &to])
            .success();
        let changed = COPIES.replace("/made/src /app", "/made /app");
        project.write("Dockerfile", changed);
        let other = Stagewright::new();
        let (build, _) = built(&other, &project, &["--cache-from", &reference]);
        let mut executed = build.executed();
        executed.retain(|step| expected.contains(&step.as_str()));
        executed.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(executed, expected, "{mode}");
        let plain = built(&Stagewright::new(), &project, &["--reproducible"]).1;
        let imported = built(
            &other,
            &project,
            &["--reproducible", "--cache-from", &reference],
        );
        assert_eq!(imported.1, plain, "{mode}");
        assert_sound(&other);
    }
}

#[test]
fn what_comes_and_is_not_what_its_name_says_is_not_used() {
    let registry = Registry::start();
    let project = project(COPIES);
    let reference = format!("{}/app:c", registry.address());
    let to = format!("type=registry,ref={reference},mode=max");
    let (_, expected) = built(
        &Stagewright::new(),
        &project,
        &["--reproducible", "--cache-to", &to],
    );
    let (media_type, manifest) = registry.manifest("app", "c").unwrap();
    let blob = layers(&registry, "c").pop().unwrap();

    // A blob that is damaged on the way, each time it is asked for, and one that is gone.
    for fault in [Fault::Corrupt, Fault::Status(404, "gone")] {
        registry.inject(&format!("GET /v2/app/blobs/{blob}"), 50, fault);
        let other = Stagewright::new();
        let arguments = ["--reproducible", "--cache-from", &reference];
        let (_, digest) = built(&other, &project, &arguments);
        assert_eq!(digest, expected);
        assert_sound(&other);
    }

    // Layers under each other's names: good bytes, but not those that the steps made.
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let document = manifest["config"]["digest"].as_str().unwrap();
    let mut document = fetched(&registry, document);
    let blobs: Vec<Value> = document["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["blob"].clone())
        .collect();
    for (place, layer) in document["layers"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        layer["blob"] = blobs[(place + 1) % blobs.len()].clone();
    }
    let document = document.to_string();
    manifest["config"]["digest"] = registry.add_blob("app", document.as_bytes()).into();
    manifest["config"]["size"] = document.len().into();
    registry.add_manifest(
        "app",
        "swapped",
        &media_type,
        manifest.to_string().as_bytes(),
    );
    let other = Stagewright::new();
    let swapped = format!("{}/app:swapped", registry.address());
    let (build, digest) = built(
        &other,
        &project,
        &["--reproducible", "--cache-from", &swapped],
    );
    assert_eq!(digest, expected);
    assert!(
        warnings(&build).contains("its name says"),
        "{}",
        warnings(&build)
    );
    assert_sound(&other);
}

/// Returns a document of the registry.
fn fetched(registry: &Registry, digest: &str) -> Value {
    serde_json::from_slice(&registry.blob(digest).unwrap()).unwrap()
}

#[test]
fn a_cache_is_handed_on_from_build_to_build() {
    let registry = Registry::start();
    let project = project(COPIES);
    let reference = format!("{}/app:c", registry.address());
    let to = format!("type=registry,ref={reference},mode=max");
    let both = ["--cache-from", reference.as_str(), "--cache-to", &to];
    // The first time there is none: that is told, and is no reason not to build.
    let (build, first) = built(&Stagewright::new(), &project, &both);
    assert!(
        warnings(&build).contains("is not used"),
        "{}",
        warnings(&build)
    );
    for _ in 0..2 {
        let (build, digest) = built(&Stagewright::new(), &project, &both);
        assert_eq!(build.executed(), NOTHING);
        assert_eq!(digest, first);
    }
    assert_eq!(layers(&registry, "c").len(), 5);
}

#[test]
fn what_is_handed_on_is_downloaded_where_it_is_not_there_yet() {
    let (registry, second, third) = (Registry::start(), Registry::start(), Registry::start());
    let project = project(COPIES);
    let to = |registry: &Registry, tag: &str, options: &str| {
        let address = registry.address();
        format!("type=registry,ref={address}/app:{tag},{options}")
    };
    let (min, max) = (
        to(&registry, "min", "mode=min"),
        to(&registry, "c", "mode=max"),
    );
    let _ = Stagewright::new()
        .build(&project, &["--cache-to", &min, "--cache-to", &max])
        .success();
    let from = format!("{}/app:c", registry.address());
    let build = |to: &str| {
        let before = registry.count("GET /v2/app/blobs/");
        let arguments = ["--cache-from", from.as_str(), "--cache-to", to];
        let (build, _) = built(&Stagewright::new(), &project, &arguments);
        assert_eq!(build.executed(), NOTHING, "{to}");
        registry.count("GET /v2/app/blobs/") - before
    };
    assert_eq!(build(&max), 3, "the document and the layers of the image");
    assert_eq!(layers(&registry, "c").len(), 5);
    assert_eq!(build(&to(&second, "c", "mode=max")), 6);
    assert_eq!(layers(&second, "c"), layers(&registry, "c"));
    // In another form it has to be made.
    let zstd = to(&second, "zstd", "mode=max,compression=zstd");
    assert_eq!(build(&zstd), 6);
    assert_eq!(layers(&second, "zstd").len(), 5);

    // What is lost is left out.
    let of_image = layers(&registry, "min");
    let all = layers(&registry, "c");
    let lost = all.iter().find(|layer| !of_image.contains(layer)).unwrap();
    let gone = Fault::Status(404, "gone");
    registry.inject(&format!("GET /v2/app/blobs/{lost}"), 50, gone);
    let _ = build(&to(&third, "c", "mode=max"));
    assert_eq!(layers(&third, "c").len(), 4);
    let (build, _) = built(
        &Stagewright::new(),
        &project,
        &["--cache-from", &format!("{}/app:c", third.address())],
    );
    assert_eq!(build.executed(), NOTHING);
}

#[test]
fn platforms_are_one_cache() {
    let registry = Registry::start();
    let project = project(COPIES);
    let reference = format!("{}/app:c", registry.address());
    let to = format!("type=registry,ref={reference}");
    let platforms = "--platform=linux/amd64,linux/arm64";
    let _ = Stagewright::new()
        .build(&project, &[platforms, "--cache-to", &to])
        .success();
    let other = Stagewright::new();
    let build = other
        .build(&project, &[platforms, "--cache-from", &reference])
        .success();
    assert_eq!(build.executed(), NOTHING);
}

#[test]
fn what_can_not_be_exported_fails_unless_it_is_to_be_ignored() {
    let project = project(COPIES);
    let file = Path::new("Dockerfile");
    let taken = project.path().join(file).display().to_string();
    let to = format!("type=local,dest={taken}/below");
    let stagewright = Stagewright::new();
    let build = stagewright.build(&project, &["--cache-to", &to]);
    assert_eq!(build.output.code(), Some(1), "{}", build.output);
    let ignored = format!("{to},ignore-error=true");
    let build = stagewright
        .build(&project, &["--cache-to", &ignored])
        .success();
    assert!(
        build.output.stderr.contains("the cache was not exported"),
        "{}",
        build.output
    );
    for (arguments, expected) in [
        (
            ["--cache-to", "type=ftp"],
            "there is no cache of type \"ftp\"",
        ),
        (
            ["--cache-from", "type=ftp"],
            "there is no cache of type \"ftp\"",
        ),
        (["--cache-to", "type=inline"], "add --push, or -o type=oci"),
    ] {
        let build = stagewright.build(&project, &arguments);
        assert_eq!(build.output.code(), Some(2), "{}", build.output);
        assert!(build.output.stderr.contains(expected), "{}", build.output);
    }
    // Scripts give the argument whether they push or not.
    let argument = ["--build-arg", "BUILDKIT_INLINE_CACHE=1"];
    let build = stagewright.build(&project, &argument).success();
    let expected = "BUILDKIT_INLINE_CACHE has no effect";
    assert!(build.output.stderr.contains(expected), "{}", build.output);
}

#[test]
fn explain_knows_of_the_cache() {
    let registry = Registry::start();
    let project = project(COPIES);
    let reference = format!("{}/app:c", registry.address());
    let _ = Stagewright::new()
        .build(&project, &["--cache-to", &reference])
        .success();
    let other = Stagewright::new();
    for (arguments, expected) in [
        (vec!["--cache-from", reference.as_str()], "hit"),
        (Vec::new(), "miss"),
    ] {
        let explained = other.explain(&project, &arguments);
        assert_eq!(explained[0].verdict, expected);
    }
}

/// A registry that is not ours takes the manifest, its config and its layers.
#[test]
#[ignore = "needs docker-registry"]
fn privileged_dockers_registry_takes_a_cache() {
    let registry = DockerRegistry::open();
    let project = project(COPIES);
    let reference = format!("{}/app:c", registry.address());
    let to = format!("type=registry,ref={reference},mode=max");
    let (_, first) = built(&Stagewright::new(), &project, &["--cache-to", &to]);
    let other = Stagewright::new();
    let (build, second) = built(&other, &project, &["--cache-from", &reference]);
    assert_eq!(build.executed(), NOTHING);
    assert_eq!(first, second);
}

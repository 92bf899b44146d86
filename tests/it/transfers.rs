//! Images between places: `copy`, `pull`, `load`, `save`, `push`, `inspect`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stagewright_testkit::{
    Fault, Image, Output, Project, Registry, Stagewright, differences, output, program,
};

fn project() -> Project {
    Project::new()
        .file(
            "Dockerfile",
            "FROM scratch\nARG TARGETARCH\nENV A=1\nCOPY data /data-$TARGETARCH\n",
        )
        .file("data", "a".repeat(50_000))
}

/// A verb of the command on a store.
fn verb(stagewright: &Stagewright, words: &[&str]) -> Command {
    let mut command = stagewright.command(words[0]);
    command
        .args(&words[1..])
        .arg("--store")
        .arg(stagewright.store());
    command
}

fn run(stagewright: &Stagewright, words: &[&str]) -> Output {
    output(&mut verb(stagewright, words)).success()
}

fn inspect(stagewright: &Stagewright, place: &str) -> Value {
    serde_json::from_str(&run(stagewright, &["inspect", place]).stdout).unwrap()
}

/// An image of two platforms with attestations, in a registry.
fn pushed(registry: &Registry, stagewright: &Stagewright) -> String {
    let name = format!("{}/app:1", registry.address());
    let arguments = [
        "--platform",
        "linux/amd64,linux/arm64",
        "--sbom",
        "--provenance",
        "--push",
        "-t",
        &name,
    ];
    let _ = stagewright.build(&project(), &arguments).success();
    name
}

fn digest_of(registry: &Registry, repository: &str, tag: &str) -> String {
    let (_, bytes) = registry.manifest(repository, tag).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["manifests"].as_array().unwrap().len(), 4);
    let digest = run_digest(&bytes);
    assert!(registry.manifest(repository, &digest).is_some());
    digest
}

fn run_digest(bytes: &[u8]) -> String {
    let mut sum = Command::new("sha256sum");
    let mut child = sum
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

#[test]
fn an_index_and_what_is_attested_arrive_byte_for_byte() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let name = pushed(&registry, &stagewright);
    let digest = digest_of(&registry, "app", "1");
    let out = tempfile::tempdir().unwrap();
    let place = |tail: &str| out.path().join(tail).display().to_string();
    let copier = Stagewright::new();
    let second = format!("docker://{}/copied/app:2", registry.address());
    // From the registry into a layout, from there into an archive, and back.
    let places = [
        format!("docker://{name}"),
        format!("oci:{}:one", place("layout")),
        format!("oci-archive:{}", place("layout.tar")),
        second.clone(),
    ];
    for pair in places.windows(2) {
        let copied = run(&copier, &["copy", "-q", &pair[0], &pair[1]]);
        assert_eq!(copied.stdout.trim(), digest, "{pair:?}");
    }
    assert_eq!(digest_of(&registry, "copied/app", "2"), digest);
    for place in places {
        let shown = inspect(&copier, &place);
        assert_eq!(shown["digest"], digest, "{place}");
        let platforms = shown["platforms"].as_array().unwrap();
        let named: Vec<&Value> = platforms.iter().map(|one| &one["platform"]).collect();
        assert_eq!(named, ["linux/amd64", "linux/arm64"]);
        for platform in platforms {
            assert_eq!(platform["attestations"].as_array().unwrap().len(), 2);
        }
        assert!(shown["config"]["config"]["Env"].to_string().contains("A=1"));
        let sbom = run(&copier, &["inspect", "--sbom", &place]).stdout;
        let sbom: Value = serde_json::from_str(&sbom).unwrap();
        assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
        let provenance = run(&copier, &["inspect", "--provenance", &place]).stdout;
        assert!(provenance.contains("resolvedDependencies"));
    }
    // Blobs that lie next door are not downloaded.
    registry.inject("GET /v2/app/blobs", 100, Fault::Status(403, "no"));
    let third = format!("docker://{}/third:1", registry.address());
    run(
        &Stagewright::new(),
        &["copy", &format!("docker://{name}"), &third],
    );
    assert_eq!(digest_of(&registry, "third", "1"), digest);
    // One platform alone.
    let one = format!("oci:{}", place("one"));
    run(
        &copier,
        &["copy", "--platform", "linux/arm64", &second, &one],
    );
    let image = Image::read(&out.path().join("one"));
    assert!(image.rootfs.get("/data-arm64").is_some());
    let missing = output(&mut verb(
        &copier,
        &["copy", "--platform", "linux/s390x", &second, &one],
    ));
    assert_eq!(missing.code(), Some(1));
    assert!(missing.stderr.contains("only for linux/amd64"), "{missing}");
}

#[test]
fn an_archive_of_docker_holds_one_platform() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let name = pushed(&registry, &stagewright);
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("docker.tar").display().to_string();
    let to = format!("docker-archive:{file}:there:1");
    run(&stagewright, &["copy", &format!("docker://{name}"), &to]);
    let image = Image::read(Path::new(&file));
    let host = format!("/data-{}", host_architecture());
    assert!(image.rootfs.get(&host).is_some(), "{:?}", image.rootfs);
    let skopeo = program("skopeo", "skopeo");
    let mut command = Command::new(skopeo);
    command.args([
        "--insecure-policy",
        "inspect",
        &format!("docker-archive:{file}:there:1"),
    ]);
    assert!(output(&mut command).success().stdout.contains("Layers"));
    // And into a store, under the name that it has there; from a file, and from a stream.
    let loader = Stagewright::new();
    let loaded = run(&loader, &["load", "-i", &file]);
    assert!(loaded.stdout.contains("there:1"), "{loaded}");
    let other = Stagewright::new();
    let mut piped = verb(&other, &["load", "-q"]);
    piped.stdin(fs_err::File::open(&file).unwrap().into_file());
    let piped = piped.output().unwrap();
    assert!(String::from_utf8_lossy(&piped.stdout).contains("there:1"));
    let shown = inspect(&loader, "there:1");
    let digest = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(
        inspect(&loader, &format!("docker-archive:{file}"))["id"],
        digest
    );
    // It is an image like others: pushed, it is what it was.
    let back = format!("{}/back:1", registry.address());
    run(&loader, &["tag", "there:1", &back]);
    run(&loader, &["push", &back]);
    let (_, bytes) = registry.manifest("back", "1").unwrap();
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest["config"]["digest"], digest);
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn what_is_pulled_can_be_built_on_without_its_registry() {
    let registry = Registry::start();
    let builder = Stagewright::new();
    let name = pushed(&registry, &builder);
    let user = Stagewright::new();
    run(&user, &["pull", &name]);
    let images = run(&user, &["images"]).stdout;
    assert!(images.contains(&name), "{images}");
    registry.inject("/v2/", 100, Fault::Status(403, "no"));
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let from = Project::new().file("Dockerfile", format!("FROM {name}\n"));
    let _ = user.build_into(&from, &layout, &[]).success();
    let image = Image::read(&layout);
    let host = format!("/data-{}", host_architecture());
    assert!(image.rootfs.get(&host).is_some());
    // A digest is no name.
    let pinned = format!("{}/app@sha256:{}", registry.address(), "0".repeat(64));
    let refused = output(&mut verb(&user, &["pull", &pinned]));
    assert!(refused.stderr.contains("give it a name"), "{refused}");
}

/// Attests something of an image in a layout as another builder would, in the older form of statements,
/// and returns the digest of the new index.
fn attest_as_another(layout: &Path, predicate: &Value, media_type: &str) -> String {
    let put = |bytes: &[u8]| {
        let digest = run_digest(bytes);
        let name = digest.replace(':', "/");
        fs_err::write(layout.join("blobs").join(name), bytes).unwrap();
        (digest, bytes.len())
    };
    let index = fs_err::read(layout.join("index.json")).unwrap();
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    let mut image = index["manifests"][0].take();
    let names = image.as_object_mut().unwrap().remove("annotations");
    let subject = image["digest"].as_str().unwrap().to_owned();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://scan.example/v1",
        "subject": [{"name": "_", "digest": {"sha256": subject.trim_start_matches("sha256:")}}],
        "predicate": predicate,
    });
    let (statement, statement_size) = put(statement.to_string().as_bytes());
    let (config, config_size) = put(b"{\"architecture\":\"unknown\",\"os\":\"unknown\"}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": config_size,
        },
        "layers": [{
            "mediaType": media_type,
            "digest": statement,
            "size": statement_size,
            "annotations": {"in-toto.io/predicate-type": "https://scan.example/v1"},
        }],
    });
    let (manifest, manifest_size) = put(manifest.to_string().as_bytes());
    let inner = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [image, {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest,
            "size": manifest_size,
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": subject,
            },
        }],
    });
    let (digest, size) = put(inner.to_string().as_bytes());
    index["manifests"] = json!([{
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest,
        "size": size,
        "annotations": names,
    }]);
    fs_err::write(layout.join("index.json"), index.to_string()).unwrap();
    digest
}

/// A layout of the project's image, of which another builder attests something.
fn attested_layout(folder: &Path, predicate: &Value, media_type: &str) -> String {
    let stagewright = Stagewright::new();
    let to = format!("type=oci,dest={}", folder.display());
    let _ = stagewright
        .build(&project(), &["-t", "docker.io/library/theirs:1", "-o", &to])
        .success();
    attest_as_another(folder, predicate, media_type)
}

#[test]
fn what_others_attest_stays_with_an_image_that_is_taken_in() {
    let registry = Registry::start();
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("layout");
    let predicate = json!({"flaws": [], "score": 9.5, "of": "é"});
    let digest = attested_layout(&layout, &predicate, "application/vnd.in-toto+json");
    let in_layout = format!("oci:{}", layout.display());
    let in_registry = format!("{}/theirs:1", registry.address());
    let copied = format!("docker://{in_registry}");
    run(&Stagewright::new(), &["copy", "-q", &in_layout, &copied]);
    let archive = out.path().join("theirs.tar").display().to_string();
    let to_archive = format!("oci-archive:{archive}:docker.io/library/theirs:1");
    run(
        &Stagewright::new(),
        &["copy", "-q", &in_layout, &to_archive],
    );
    let full = "docker.io/library/theirs:1";
    for (words, name) in [
        (&["pull", "-q", &in_registry][..], in_registry.as_str()),
        (
            &["pull", "-q", "--platform", &host_platform(), &in_registry],
            &in_registry,
        ),
        (&["copy", "-q", &copied, "mine:1"], "mine:1"),
        (&["copy", "-q", &in_layout, "mine:1"], "mine:1"),
        (&["load", "-q", "-i", &archive], full),
    ] {
        let stagewright = Stagewright::new();
        run(&stagewright, words);
        run(&stagewright, &["cache", "prune", "--all"]);
        let kinds = |place: &str| {
            let shown = inspect(&stagewright, place);
            let attestations = &shown["platforms"][0]["attestations"];
            let kinds = attestations.as_array().unwrap().iter();
            let kinds: Vec<String> = kinds.map(|one| one["predicateType"].to_string()).collect();
            kinds
        };
        let expected = ["\"https://scan.example/v1\""];
        assert_eq!(kinds(name), expected, "{words:?}");
        // It leaves again, said of the manifest that leaves.
        let pushed = format!("{}/again:1", registry.address());
        run(&stagewright, &["tag", name, &pushed]);
        run(&stagewright, &["push", &pushed]);
        assert_eq!(kinds(&format!("docker://{pushed}")), expected, "{words:?}");
        let (_, index) = registry.manifest("again", "1").unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let about = &index["manifests"][1];
        let manifest = about["digest"].as_str().unwrap();
        let (_, manifest) = registry.manifest("again", manifest).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let statement = manifest["layers"][0]["digest"].as_str().unwrap();
        let statement: Value = serde_json::from_slice(&registry.blob(statement).unwrap()).unwrap();
        assert_eq!(statement["predicate"], predicate);
        let subject = index["manifests"][0]["digest"].as_str().unwrap();
        assert_eq!(
            statement["subject"][0]["digest"]["sha256"],
            subject.trim_start_matches("sha256:")
        );
        let saved = out.path().join("saved.tar").display().to_string();
        let save = ["save", "--format", "oci-archive", "-o", &saved, name];
        run(&stagewright, &save);
        assert_eq!(kinds(&format!("oci-archive:{saved}")), expected);
    }
    // Places that take indexes have it as it was.
    assert_eq!(
        inspect(&Stagewright::new(), &to_archive)["digest"],
        digest.as_str()
    );
}

#[test]
fn what_is_no_statement_is_told_of_or_refused() {
    let out = tempfile::tempdir().unwrap();
    let (other, damaged) = (out.path().join("other"), out.path().join("damaged"));
    attested_layout(&other, &json!({}), "application/vnd.dsse.envelope.v1+json");
    let stagewright = Stagewright::new();
    let from = format!("oci:{}", other.display());
    let told = run(&stagewright, &["copy", &from, "mine:1"]);
    assert!(told.stderr.contains("is not kept"), "{told}");
    let shown = inspect(&stagewright, "mine:1");
    assert_eq!(shown["platforms"][0]["attestations"], json!([]));
    // A statement of another form than its media type says.
    attested_layout(&damaged, &json!({}), "application/vnd.in-toto+json");
    let from = format!("oci:{}", damaged.display());
    let index = inspect(&stagewright, &from);
    let digest = index["platforms"][0]["attestations"][0]["digest"].clone();
    let digest = digest.as_str().unwrap();
    let blob = damaged.join("blobs").join(digest.replace(':', "/"));
    let length = fs_err::metadata(&blob).unwrap().len();
    fs_err::write(&blob, "x".repeat(usize::try_from(length).unwrap())).unwrap();
    let failed = output(&mut verb(&stagewright, &["copy", &from, "bad:1"]));
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert!(failed.stderr.contains("cannot be taken in"), "{failed}");
    let images = run(&stagewright, &["images"]).stdout;
    assert!(!images.contains("bad"), "{images}");
}

/// Manifests of other platforms are not asked for: registries count the requests.
#[test]
fn one_platform_is_pulled_without_asking_for_the_others() {
    let registry = Registry::start();
    let name = pushed(&registry, &Stagewright::new());
    let before = registry.count("GET /v2/app/manifests");
    let stagewright = Stagewright::new();
    run(&stagewright, &["pull", &name]);
    // The index, the manifest, and what is attested of it.
    assert_eq!(registry.count("GET /v2/app/manifests") - before, 3);
    let shown = inspect(&stagewright, &name);
    let attestations = shown["platforms"][0]["attestations"].as_array().unwrap();
    assert_eq!(attestations.len(), 2);
}

fn host_platform() -> String {
    format!("linux/{}", host_architecture())
}

#[test]
fn damaged_images_are_not_taken_in() {
    let registry = Registry::start();
    let builder = Stagewright::new();
    let name = pushed(&registry, &builder);
    let (_, bytes) = registry.manifest("app", "1").unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(index["manifests"].is_array());
    registry.inject("GET /v2/app/blobs", 1000, Fault::Corrupt);
    for words in [["pull", &name], ["copy", &format!("docker://{name}")]] {
        let user = Stagewright::new();
        let out = tempfile::tempdir().unwrap();
        let to = format!("oci:{}", out.path().join("x").display());
        let mut words = words.to_vec();
        if words[0] == "copy" {
            words.push(&to);
        }
        let failed = output(&mut verb(&user, &words));
        assert_eq!(failed.code(), Some(1), "{failed}");
        assert!(!out.path().join("x/index.json").exists());
        let images = run(&user, &["images", "-q"]).stdout;
        assert_eq!(images, "");
        let verified = run(&user, &["cache", "verify"]);
        assert_eq!(verified.code(), Some(0), "{verified}");
    }
}

#[test]
fn a_name_stands_for_all_its_platforms() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let arguments = [
        "--platform",
        "linux/amd64,linux/arm64,linux/arm64/v8",
        "-t",
        "app:1",
        "--sbom",
    ];
    let _ = stagewright.build(&project(), &arguments).success();
    let shown = inspect(&stagewright, "app:1");
    assert_eq!(shown["platforms"].as_array().unwrap().len(), 2);
    // Under another name they are pushed together, and saved.
    let other = format!("{}/other:2", registry.address());
    run(&stagewright, &["tag", "app:1", &other]);
    run(&stagewright, &["push", &other]);
    let digest = digest_of(&registry, "other", "2");
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("x.tar").display().to_string();
    run(
        &stagewright,
        &["save", "--format", "oci-archive", "-o", &file, &other],
    );
    let saved = inspect(&stagewright, &format!("oci-archive:{file}"));
    assert_eq!(saved["digest"], digest);
    // A collection leaves all of it, and a build on it takes what is for its platform.
    run(&stagewright, &["cache", "prune", "--all"]);
    let from = Project::new().file("Dockerfile", "FROM app:1\n");
    for (platform, path) in [
        ("linux/amd64", "/data-amd64"),
        ("linux/arm64", "/data-arm64"),
    ] {
        let layout = out.path().join(path.trim_start_matches('/'));
        let _ = stagewright
            .build_into(&from, &layout, &["--platform", platform])
            .success();
        assert!(
            Image::read(&layout).rootfs.get(path).is_some(),
            "{platform}"
        );
    }
    let sbom = run(&stagewright, &["inspect", "--sbom", "app:1"]).stdout;
    assert!(sbom.contains("SPDX-2.3"));
}

#[test]
fn places_that_are_none_say_so() {
    let stagewright = Stagewright::new();
    for (words, code, expected) in [
        (&["copy", "dir:x", "a:1"][..], 2, "no place"),
        (&["copy", "nothing:1", "oci:x"], 1, "no image"),
        (&["inspect", "oci:/nonexistent"], 1, "nonexistent"),
        (&["inspect", "--sbom", "plain:1"], 1, "has no SBOM"),
        (&["load", "-i", "/nonexistent"], 1, "nonexistent"),
    ] {
        let plain = Project::new().file("Dockerfile", "FROM scratch\nENV A=1\n");
        let _ = stagewright.build(&plain, &["-t", "plain:1"]).success();
        let failed = output(&mut verb(&stagewright, words));
        assert_eq!(failed.code(), Some(code), "{words:?}: {failed}");
        assert!(failed.stderr.contains(expected), "{words:?}: {failed}");
    }
}

/// What we write, skopeo copies on as it is; what it writes, we do.
#[test]
fn skopeo_copies_what_we_copied() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let name = pushed(&registry, &stagewright);
    let digest = digest_of(&registry, "app", "1");
    let out = tempfile::tempdir().unwrap();
    let (ours, theirs) = (out.path().join("ours"), out.path().join("theirs"));
    let ours = format!("oci:{}:x", ours.display());
    run(&stagewright, &["copy", &format!("docker://{name}"), &ours]);
    let theirs = format!("oci:{}:x", theirs.display());
    let mut skopeo = Command::new(program("skopeo", "skopeo"));
    skopeo.args(["--insecure-policy", "copy", "--all", &ours, &theirs]);
    let _ = output(&mut skopeo).success();
    let back = format!("docker://{}/back:1", registry.address());
    run(&stagewright, &["copy", &theirs, &back]);
    assert_eq!(digest_of(&registry, "back", "1"), digest);
}

#[test]
#[ignore = "needs root"]
fn privileged_podmans_storage_is_a_place() {
    let stagewright = Stagewright::new();
    let storage = tempfile::tempdir().unwrap();
    let conf = storage.path().join("storage.conf");
    let text = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
        storage.path().display()
    );
    fs_err::write(&conf, text).unwrap();
    let _ = program("podman", "podman");
    let _ = stagewright
        .build(&project(), &["-t", "app:1", "--sbom", "--provenance"])
        .success();
    let copy = |from: &str, to: &str| {
        let mut command = verb(&stagewright, &["copy", from, to]);
        let _ = output(command.env("CONTAINERS_STORAGE_CONF", &conf)).success();
    };
    copy("app:1", "containers-storage:docker.io/library/there:1");
    copy("containers-storage:docker.io/library/there:1", "back:1");
    let out = tempfile::tempdir().unwrap();
    let (one, other) = (out.path().join("one"), out.path().join("other"));
    for (name, folder) in [("app:1", &one), ("back:1", &other)] {
        let to = format!("oci:{}", folder.display());
        run(&stagewright, &["copy", name, &to]);
    }
    assert_eq!(
        differences(&Image::read(&one), &Image::read(&other)),
        [""; 0]
    );
    // An archive of an image that is attested loads, too.
    let project = project();
    let mut load = stagewright.build_command(
        &project,
        &["-t", "docker.io/library/loaded:1", "--sbom", "--load"],
    );
    let _ = output(load.env("CONTAINERS_STORAGE_CONF", &conf)).success();
    let mut exists = Command::new("podman");
    exists.args(["image", "exists", "docker.io/library/loaded:1"]);
    let _ = output(exists.env("CONTAINERS_STORAGE_CONF", &conf)).success();
}

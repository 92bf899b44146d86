//! Images to registries, and back.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use stagewright_testkit::{
    DockerRegistry, Fault, Image, Project, Registry, RegistryLogin, Stagewright, differences,
    output, program,
};

fn project() -> Project {
    Project::new()
        .file(
            "Dockerfile",
            "FROM scratch\nENV A=1\nCOPY tool /bin/tool\nCOPY data /data/\n",
        )
        .file("tool", "#!/bin/sh\n")
        .file("data/a", "a".repeat(100_000))
}

/// Builds from the image of this name, with an empty store, and reads what came of it.
fn pulled(name: &str, arguments: &[&str]) -> Image {
    let stagewright = Stagewright::new();
    let project = Project::new().file("Dockerfile", format!("FROM {name}\n"));
    let out = tempfile::tempdir().unwrap();
    let layout = out.path().join("image");
    let _ = stagewright
        .build_into(&project, &layout, arguments)
        .success();
    Image::read(&layout)
}

fn manifest(registry: &Registry, repository: &str, name: &str) -> Value {
    let (_, bytes) = registry.manifest(repository, name).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn what_is_pushed_is_what_is_pulled_and_is_sent_once() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let project = project();
    let name = |tail: &str| format!("{}/{tail}", registry.address());
    let out = tempfile::tempdir().unwrap();
    let (layout, metadata) = (out.path().join("image"), out.path().join("metadata"));
    let tags = [name("app:1"), name("app:2"), name("other/app:1")];
    let mut arguments = vec!["--push", "--metadata-file", metadata.to_str().unwrap()];
    for tag in &tags {
        arguments.extend(["-t", tag]);
    }
    let built = stagewright
        .build_into(&project, &layout, &arguments)
        .success();
    let written = Image::read(&layout);
    for tag in &tags {
        assert_eq!(differences(&written, &pulled(tag, &[])), [""; 0], "{tag}");
    }
    let one = manifest(&registry, "app", "1");
    assert_eq!(one, manifest(&registry, "app", "2"));
    assert_eq!(one["layers"].as_array().unwrap().len(), 2);
    let metadata: Value = serde_json::from_str(&fs_err::read_to_string(metadata).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    assert!(registry.manifest("app", digest).is_some());
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    assert_eq!(metadata["image.name"], tags.join(","));
    // Progress in bytes, of all of the bytes.
    let layer = &one["layers"][1];
    let moved = built.events().iter().any(|event| {
        let text = event.to_string();
        text.contains(layer["digest"].as_str().unwrap())
            && text.contains(&format!(":{}", layer["size"]))
    });
    assert!(moved, "{:?}", built.events());
    // Three blobs to each of two repositories; what the second could mount it did not get.
    let uploads = registry.count("PUT /v2/app/blobs/uploads");
    assert_eq!(uploads, 3);
    let _ = stagewright
        .build(&project, &["--push", "-t", &tags[0]])
        .success();
    assert_eq!(registry.count("PUT /v2/app/blobs/uploads"), uploads);
    // From the store, to a name that it is given later.
    let later = name("later:9");
    for (verb, words) in [
        ("tag", vec![tags[0].as_str(), &later]),
        ("push", vec![&later]),
    ] {
        let mut command = stagewright.command(verb);
        command.arg("--store").arg(stagewright.store()).args(words);
        let _ = output(&mut command).success();
    }
    assert_eq!(manifest(&registry, "later", "9"), one);
}

#[test]
fn a_digest_alone_and_a_name_of_the_output_are_pushed_too() {
    let registry = Registry::start();
    let stagewright = Stagewright::new();
    let project = project();
    let by_digest = format!(
        "type=image,name={}/app,push=true,push-by-digest=true,name-canonical=true",
        registry.address()
    );
    let named = format!("type=registry,name={}/named:1", registry.address());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("metadata");
    let _ = stagewright
        .build(
            &project,
            &[
                "-o",
                &by_digest,
                "-o",
                &named,
                "--metadata-file",
                file.to_str().unwrap(),
            ],
        )
        .success();
    let metadata: Value = serde_json::from_str(&fs_err::read_to_string(file).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    assert!(registry.manifest("app", digest).is_some());
    assert!(registry.manifest("app", "latest").is_none());
    assert!(registry.manifest("named", "1").is_some());
    let names = metadata["image.name"].as_str().unwrap();
    assert!(names.contains(&format!("/app@{digest}")), "{names}");
    let nameless = stagewright.build(&project, &["--push"]);
    assert_eq!(nameless.output.code(), Some(2), "{}", nameless.output);
}

#[test]
fn logins_are_dockers_or_containers() {
    let registry = Registry::start();
    registry.require(RegistryLogin::Token(Some(("u".to_owned(), "p".to_owned()))));
    let stagewright = Stagewright::new();
    let project = project();
    let name = format!("{}/app:1", registry.address());
    let refused = stagewright.build(&project, &["--push", "-t", &name]);
    assert_eq!(refused.output.code(), Some(1));
    assert!(
        refused.output.stderr.contains("log in"),
        "{}",
        refused.output
    );
    let logins = tempfile::tempdir().unwrap();
    let file = logins.path().join("config.json");
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.address()
    );
    fs_err::write(&file, text).unwrap();
    // A credential helper, as docker calls it.
    let helper = logins.path().join("docker-credential-test");
    fs_err::write(
        &helper,
        "#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"u\",\"Secret\":\"p\"}'\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&helper, mode).unwrap();
    let helped = logins.path().join("helped.json");
    fs_err::write(&helped, r#"{"credsStore":"test"}"#).unwrap();
    let path = format!(
        "{}:{}",
        logins.path().display(),
        std::env::var("PATH").unwrap()
    );
    for (variable, value) in [
        ("DOCKER_CONFIG", logins.path()),
        ("REGISTRY_AUTH_FILE", &file),
        ("REGISTRY_AUTH_FILE", &helped),
    ] {
        let mut command = stagewright.build_command(&project, &["--push", "-t", &name]);
        command.env(variable, value).env("PATH", &path);
        let _ = output(&mut command).success();
    }
}

#[test]
fn a_registry_that_falters_is_asked_again() {
    let stagewright = Stagewright::new();
    let project = project();
    for (matches, fault) in [
        ("PUT /v2/app/blobs", Fault::Status(503, "UNAVAILABLE")),
        ("PATCH /v2/app/blobs", Fault::TakeOnly(40)),
        ("PUT /v2/app/manifests", Fault::TooManyRequests(Some("0"))),
        ("HEAD /v2/app/blobs", Fault::Status(500, "UNKNOWN")),
    ] {
        let registry = Registry::start();
        let name = format!("{}/app:1", registry.address());
        registry.inject(matches, 1, fault);
        let _ = stagewright
            .build(&project, &["--push", "-t", &name])
            .success();
        assert!(registry.count(matches) > 1, "{matches}");
        assert_eq!(pulled(&name, &[]).layers.len(), 2, "{matches}");
    }
    let registry = Registry::start();
    let name = format!("{}/app:1", registry.address());
    registry.inject("PUT /v2/app/manifests", 9, Fault::Status(403, "DENIED"));
    let denied = stagewright.build(&project, &["--push", "-t", &name]);
    assert_eq!(denied.output.code(), Some(1));
    assert!(denied.output.stderr.contains("DENIED"), "{}", denied.output);
    assert!(registry.manifest("app", "1").is_none());
}

#[test]
fn what_a_registry_gives_wrongly_is_refused_and_not_kept() {
    let made = Stagewright::new();
    let user = Stagewright::new();
    let elsewhere = Registry::start();
    let take = |registry: &Registry| {
        let name = format!("{}/app:1", registry.address());
        let _ = made.build(&project(), &["--push", "-t", &name]).success();
        let one = manifest(registry, "app", "1");
        let layer = one["layers"][1]["digest"].as_str().unwrap().to_owned();
        let text = format!("FROM {name} AS base\nFROM scratch\nCOPY --from=base /data/a /a\n");
        (layer, Project::new().file("Dockerfile", text))
    };
    for fault in [
        Fault::Corrupt,
        Fault::Status(404, "BLOB_UNKNOWN"),
        Fault::RedirectTo(format!("http://{}", elsewhere.address())),
    ] {
        let registry = Registry::start();
        let (layer, project) = take(&registry);
        registry.inject(&format!("GET /v2/app/blobs/{layer}"), 9, fault.clone());
        let failed = user.build(&project, &[]);
        assert_eq!(
            failed.output.code(),
            Some(1),
            "{fault:?}: {}",
            failed.output
        );
        let said = &failed.output.stderr;
        assert!(!said.contains("panicked"), "{said}");
        assert!(said.contains(&layer), "{fault:?}: {said}");
    }
    // What comes in pieces is put together.
    let registry = Registry::start();
    let (layer, project) = take(&registry);
    registry.inject(
        &format!("GET /v2/app/blobs/{layer}"),
        9,
        Fault::Truncate(100),
    );
    let _ = Stagewright::new().build(&project, &[]).success();
    // Whoever was redirected took no login along.
    let redirected = elsewhere.requests();
    assert!(!redirected.is_empty());
    assert!(
        redirected
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    let registry = Registry::start();
    let (_, project) = take(&registry);
    let _ = user.build(&project, &[]).success();
    let mut verify = user.command("cache");
    verify.arg("verify").arg("--store").arg(user.store());
    let _ = output(&mut verify).success();
}

#[test]
fn a_base_that_no_step_needs_is_not_downloaded_to_be_pushed() {
    let (home, away) = (Registry::start(), Registry::start());
    let base = format!("{}/base:1", home.address());
    let _ = Stagewright::new()
        .build(&project(), &["--push", "-t", &base])
        .success();
    let text = format!("FROM {base}\nENV B=2\nLABEL c=3\n");
    let project = Project::new().file("Dockerfile", text);
    let layers = manifest(&home, "base", "1")["layers"].clone();
    let downloads = |registry: &Registry| {
        let layers = layers.as_array().unwrap().iter();
        layers
            .map(|layer| format!("GET /v2/base/blobs/{}", layer["digest"].as_str().unwrap()))
            .map(|line| registry.count(&line))
            .sum::<usize>()
    };
    let stagewright = Stagewright::new();
    let name = |registry: &Registry| format!("{}/app:1", registry.address());
    let sent = |registry: &Registry| registry.count("PATCH /v2/app/blobs/uploads");
    let push = |to: &str| {
        let _ = stagewright.build(&project, &["--push", "-t", to]).success();
    };
    push(&name(&home));
    assert_eq!(downloads(&home), 0);
    // The config; the layers are mounted.
    assert_eq!(sent(&home), 1);
    assert_eq!(pulled(&name(&home), &[]).layers.len(), 2);
    // Elsewhere each is sent, and was downloaded once for that.
    push(&name(&away));
    let fetched = downloads(&home);
    assert_eq!((fetched, sent(&away)), (2, 3));
    push(&name(&away));
    assert_eq!((downloads(&home), sent(&away)), (fetched, 3));
    assert_eq!(
        differences(&pulled(&name(&home), &[]), &pulled(&name(&away), &[])),
        [""; 0]
    );
    // What has only a name in the store knows where its base is, too.
    let other = Stagewright::new();
    let _ = other.build(&project, &["-t", "later:1"]).success();
    let file = other.store().parent().unwrap().join("saved.tar");
    let mut save = other.command("save");
    save.args(["later:1", "-o"]).arg(&file);
    let _ = output(save.arg("--store").arg(other.store())).success();
    let saved = Image::read(&file);
    assert!(saved.rootfs.get("/data/a").is_some() && saved.config.env.contains(&"B=2".to_owned()));
}

fn run(program_name: &str, arguments: &[&str], home: &Path) -> String {
    let mut command = Command::new(program(program_name, program_name));
    command
        .args(arguments)
        .env("HOME", home)
        .env("REGISTRY_AUTH_FILE", home.join("auth.json"));
    output(&mut command).success().stdout
}

/// What we push, the others pull; what they push, we build from. Over TLS, with a login.
#[test]
#[ignore = "needs root, docker-registry, skopeo, podman and buildah"]
fn privileged_debians_registry_and_the_other_tools_agree() {
    let registry = DockerRegistry::with_login_and_tls();
    let address = registry.address();
    let stagewright = Stagewright::new();
    let home = stagewright.store().parent().unwrap().to_owned();
    let certificates = home.join(".config/containers/certs.d").join(address);
    fs_err::create_dir_all(&certificates).unwrap();
    fs_err::copy(registry.ca(), certificates.join("ca.crt")).unwrap();
    let auth = format!(r#"{{"auths":{{"{address}":{{"auth":"dTpw"}}}}}}"#);
    fs_err::write(home.join("auth.json"), auth).unwrap();
    let project = project();
    for compression in ["gzip", "zstd", "uncompressed", "estargz"] {
        let name = format!("{address}/app:{compression}");
        let push = format!("type=registry,compression={compression}");
        let mut command = stagewright.build_command(&project, &["-t", &name, "-o", &push]);
        command.env("REGISTRY_AUTH_FILE", home.join("auth.json"));
        let _ = output(&mut command).success();
        let remote = format!("docker://{name}");
        let certs = certificates.display().to_string();
        let inspected = run(
            "skopeo",
            &[
                "--insecure-policy",
                "inspect",
                "--cert-dir",
                &certs,
                "--config",
                &remote,
            ],
            &home,
        );
        assert!(inspected.contains("A=1"), "{inspected}");
        let root = home.join("storage").display().to_string();
        let run_root = home.join("run").display().to_string();
        let storage = [
            "--root",
            &root,
            "--runroot",
            &run_root,
            "--storage-driver",
            "vfs",
        ];
        let pull = ["pull", "--quiet", "--cert-dir", &certs, &name];
        run("podman", &[&storage[..], &pull].concat(), &home);
        run("buildah", &[&storage[..], &pull].concat(), &home);
        // And back.
        let theirs = format!("{address}/theirs:{compression}");
        let push = ["push", "--quiet", "--cert-dir", &certs, &name, &theirs];
        run("podman", &[&storage[..], &push].concat(), &home);
        let from = Project::new().file("Dockerfile", format!("FROM {theirs}\n"));
        let layout = home.join(format!("back-{compression}"));
        let output_option = format!("type=oci,dest={}", layout.display());
        let mut command = stagewright.build_command(&from, &["-o", &output_option]);
        command.env("REGISTRY_AUTH_FILE", home.join("auth.json"));
        let _ = output(&mut command).success();
        assert!(Image::read(&layout).rootfs.get("/data/a").is_some());
    }
}

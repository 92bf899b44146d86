//! Registries that fail, in every way that they have, at everything that is asked of them: the image is
//! right or the error says what happened, and nothing wrong is kept.

use std::time::Duration;

use serde_json::{Value, json};
use stagewright_testkit::{
    Build, Fault, Image, LayerTar, Project, Registry, RegistryLogin, Stagewright, differences,
    output,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A registry with an image of one layer behind an index, and what its parts are asked for by.
struct Base {
    registry: Registry,
    index: &'static str,
    manifest: String,
    config: String,
    layer: String,
}

impl Base {
    fn new() -> Self {
        let registry = Registry::start();
        let layer = LayerTar::new()
            .folder("data", 0o755)
            .file("data/a", 0o644, "a".repeat(2_000))
            .finish();
        let layer_digest = registry.add_blob("app", &layer);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["FROM_BASE=1"]},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        })
        .to_string();
        let config_digest = registry.add_blob("app", config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer.len()}],
        })
        .to_string();
        let manifest_digest = registry.add_manifest("app", "amd64", MANIFEST, manifest.as_bytes());
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{
                "mediaType": MANIFEST, "digest": manifest_digest, "size": manifest.len(),
                "platform": {"architecture": "amd64", "os": "linux"},
            }],
        });
        registry.add_manifest("app", "1", INDEX, index.to_string().as_bytes());
        Self {
            index: "GET /v2/app/manifests/1",
            manifest: format!("GET /v2/app/manifests/{manifest_digest}"),
            config: format!("GET /v2/app/blobs/{config_digest}"),
            layer: format!("GET /v2/app/blobs/{layer_digest}"),
            registry,
        }
    }

    /// Builds what needs the layer's files, into a layout.
    fn build(&self, stagewright: &Stagewright) -> (Build, Option<Image>) {
        let text = format!(
            "FROM {}/app:1 AS base\nFROM base\nCOPY --from=base /data/a /b\n",
            self.registry.address()
        );
        let project = Project::new().file("Dockerfile", text);
        let out = tempfile::tempdir().unwrap();
        let layout = out.path().join("image");
        let platform = ["--platform", "linux/amd64"];
        let build = stagewright.build_into(&project, &layout, &platform);
        let image = (build.output.code() == Some(0)).then(|| Image::read(&layout));
        (build, image)
    }
}

fn verify(stagewright: &Stagewright) {
    let mut verify = stagewright.command("cache");
    verify.arg("verify").arg("--store").arg(stagewright.store());
    let verified = output(&mut verify).success();
    assert!(verified.stdout.contains("all whole"), "{verified}");
}

/// What comes of a fault: the right image, or an error with this text.
type Expected = Option<&'static str>;

/// A fault that happens once, and whether what it hits is asked for again.
const ALWAYS: usize = 1_000;

fn pull_cases() -> Vec<(usize, Fault, [Expected; 4])> {
    // For the index, the manifest, the config and the layer.
    let all = |text: Expected| [text; 4];
    vec![
        (1, Fault::CutAfter(10), all(None)),
        (ALWAYS, Fault::CutAfter(0), all(Some("connection"))),
        (1, Fault::HangUp, all(None)),
        (1, Fault::Status(503, "busy"), all(None)),
        (
            ALWAYS,
            Fault::Status(500, "broken"),
            all(Some("answered 500")),
        ),
        (
            ALWAYS,
            Fault::Status(404, "gone"),
            all(Some("does not have")),
        ),
        (
            ALWAYS,
            Fault::Status(403, "not yours"),
            all(Some("denies access")),
        ),
        (1, Fault::TooManyRequests(Some("0")), all(None)),
        (
            ALWAYS,
            Fault::TooManyRequests(Some("3600")),
            all(Some("asks to wait 3600 s")),
        ),
        (
            ALWAYS,
            Fault::TooManyRequests(None),
            all(Some("rate limit")),
        ),
        (
            ALWAYS,
            Fault::Corrupt,
            [
                Some("has the digest"),
                Some("has the digest"),
                Some("sent wrong bytes"),
                Some("sent wrong bytes"),
            ],
        ),
        (
            1,
            Fault::Truncate(100),
            [Some("digest"), Some("digest"), None, None],
        ),
        (ALWAYS, Fault::Truncate(0), all(Some(""))),
        (ALWAYS, Fault::Slow(Duration::from_millis(1)), all(None)),
        (ALWAYS, Fault::IgnoreRange, all(None)),
    ]
}

#[test]
fn whatever_fails_in_a_pull_the_image_is_right_or_the_error_is() {
    let right = {
        let base = Base::new();
        let (build, image) = base.build(&Stagewright::new());
        image.unwrap_or_else(|| panic!("{}", build.output))
    };
    let check = |(times, fault, expected): (usize, Fault, [Expected; 4])| {
        for (part, expected) in expected.into_iter().enumerate() {
            let base = Base::new();
            let parts = [base.index, &base.manifest, &base.config, &base.layer];
            let what = format!("{fault:?} of {}", parts[part]);
            base.registry.inject(parts[part], times, fault.clone());
            let stagewright = Stagewright::new();
            let (build, image) = base.build(&stagewright);
            let said = &build.output.stderr;
            assert!(!said.contains("panicked"), "{what}: {said}");
            match (&image, expected) {
                (Some(image), None) => assert_eq!(differences(&right, image), [""; 0], "{what}"),
                (None, Some(text)) => {
                    assert_eq!(build.output.code(), Some(1), "{what}: {said}");
                    let events = format!("{said}{}", build.output.stdout);
                    assert!(events.contains(text), "{what}: {events}");
                }
                _ => panic!("{what}: {}", build.output),
            }
            verify(&stagewright);
            // With a registry that works the same store gives the right image.
            base.registry.heal();
            let (build, image) = base.build(&stagewright);
            let image = image.unwrap_or_else(|| panic!("{what}, healed: {}", build.output));
            assert_eq!(differences(&right, &image), [""; 0], "{what}, healed");
        }
    };
    std::thread::scope(|scope| {
        for case in pull_cases() {
            scope.spawn(|| check(case));
        }
    });
}

#[test]
fn a_redirect_to_another_host_takes_no_login_along() {
    let base = Base::new();
    base.registry
        .require(RegistryLogin::Basic("u".to_owned(), "p".to_owned()));
    let elsewhere = Base::new();
    let target = format!("http://{}", elsewhere.registry.address());
    for part in [&base.config, &base.layer] {
        base.registry
            .inject(part, 1, Fault::RedirectTo(target.clone()));
    }
    let stagewright = Stagewright::new();
    let home = stagewright.store().parent().unwrap().join(".docker");
    fs_err::create_dir_all(&home).unwrap();
    let address = base.registry.address();
    let logins = json!({"auths": {address: {"auth": "dTpw"}}});
    fs_err::write(home.join("config.json"), logins.to_string()).unwrap();
    let (build, image) = base.build(&stagewright);
    let image = image.unwrap_or_else(|| panic!("{}", build.output));
    assert!(image.rootfs.get("/b").is_some());
    let asked = base.registry.requests();
    assert!(
        asked
            .iter()
            .any(|request| request.header("authorization").is_some())
    );
    let redirected = elsewhere.registry.requests();
    assert_eq!(redirected.len(), 2, "{redirected:?}");
    for request in redirected {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    verify(&stagewright);
}

#[test]
fn documents_without_end_are_not_read() {
    let huge = " ".repeat(5 << 20);
    let said = |base: &Base| {
        let stagewright = Stagewright::new();
        let (build, _) = base.build(&stagewright);
        assert_eq!(build.output.code(), Some(1), "{}", build.output);
        verify(&stagewright);
        build.output.stderr
    };
    // A manifest may have 4 MiB (distribution specification, "Pushing Manifests").
    let base = Base::new();
    base.registry
        .add_manifest("app", "1", INDEX, huge.as_bytes());
    let text = said(&base);
    assert!(text.contains("longer than the 4194304 bytes"), "{text}");
    let with = |config_size: u64, layer_size: u64| {
        let base = Base::new();
        let (_, bytes) = base.registry.manifest("app", "amd64").unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let sizes = [
            ("/config/size", config_size),
            ("/layers/0/size", layer_size),
        ];
        for (place, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
            *manifest.pointer_mut(place).unwrap() = size.into();
        }
        let bytes = manifest.to_string();
        base.registry
            .add_manifest("app", "1", MANIFEST, bytes.as_bytes());
        let text = said(&base);
        (base, text)
    };
    let (base, text) = with(1 << 40, 0);
    assert!(text.contains("1099511627776 bytes long"), "{text}");
    assert_eq!(base.registry.count(&base.config), 0);
    // More comes than the descriptor says.
    let (_, text) = with(10, 0);
    assert!(text.contains("more than its 10 bytes"), "{text}");
    let (_, text) = with(0, 100);
    assert!(text.contains("more than its 100 bytes"), "{text}");
    // An index that names itself, and so on.
    let base = Base::new();
    let mut inner = base.manifest.rsplit_once('/').unwrap().1.to_owned();
    for _ in 0..10 {
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{
                "mediaType": INDEX, "digest": inner, "size": 1,
                "platform": {"architecture": "amd64", "os": "linux"},
            }],
        });
        inner = base
            .registry
            .add_manifest("app", "1", INDEX, index.to_string().as_bytes());
    }
    let text = said(&base);
    assert!(text.contains("nested more than"), "{text}");
}

/// What is asked for in a push, the fault, how often, and what comes of it.
fn push_cases() -> Vec<(&'static str, usize, Fault, Expected)> {
    vec![
        ("HEAD /v2/app/blobs/", 2, Fault::Status(502, "away"), None),
        ("POST /v2/app/blobs/uploads/", 1, Fault::HangUp, None),
        ("PUT /v2/app/blobs/uploads/", 1, Fault::HangUp, None),
        ("PUT /v2/app/manifests/", 1, Fault::HangUp, None),
        ("PATCH /v2/app/blobs/uploads/", 1, Fault::TakeOnly(40), None),
        (
            "PATCH /v2/app/blobs/uploads/",
            1,
            Fault::Status(500, "lost"),
            None,
        ),
        (
            "PUT /v2/app/blobs/uploads/",
            1,
            Fault::TooManyRequests(Some("0")),
            None,
        ),
        (
            "PUT /v2/app/manifests/",
            1,
            Fault::Status(503, "busy"),
            None,
        ),
        (
            "POST /v2/app/blobs/uploads/",
            ALWAYS,
            Fault::Status(401, "who"),
            Some("log in"),
        ),
        (
            "PATCH /v2/app/blobs/uploads/",
            ALWAYS,
            Fault::Status(413, "large"),
            Some("413"),
        ),
        (
            "PUT /v2/app/blobs/uploads/",
            ALWAYS,
            Fault::Status(400, "DIGEST_INVALID"),
            Some("DIGEST_INVALID"),
        ),
        (
            "PUT /v2/app/manifests/",
            ALWAYS,
            Fault::TooManyRequests(Some("3600")),
            Some("asks to wait 3600 s"),
        ),
        (
            "PUT /v2/app/manifests/",
            ALWAYS,
            Fault::HangUp,
            Some("connection"),
        ),
    ]
}

#[test]
fn whatever_fails_in_a_push_the_tag_is_of_the_whole_image_or_not_there() {
    let check = |(matches, times, fault, expected): (&str, usize, Fault, Expected)| {
        let what = format!("{fault:?} of {matches}");
        let registry = Registry::start();
        registry.inject(matches, times, fault);
        let stagewright = Stagewright::new();
        let project = Project::new()
            .file(
                "Dockerfile",
                "FROM scratch\nCOPY a /a\nCOPY Dockerfile /b\n",
            )
            .file("a", "a".repeat(1_000));
        let name = format!("{}/app:1", registry.address());
        let build = stagewright.build(&project, &["--push", "-t", &name]);
        let said = &build.output.stderr;
        match expected {
            None => assert_eq!(build.output.code(), Some(0), "{what}: {said}"),
            Some(text) => {
                assert_eq!(build.output.code(), Some(1), "{what}: {said}");
                assert!(said.contains(text), "{what}: {said}");
                registry.heal();
                let _ = stagewright
                    .build(&project, &["--push", "-t", &name])
                    .success();
            }
        }
        let from = Project::new().file("Dockerfile", format!("FROM {name}\n"));
        let out = tempfile::tempdir().unwrap();
        let layout = out.path().join("image");
        let _ = Stagewright::new().build_into(&from, &layout, &[]).success();
        assert!(Image::read(&layout).rootfs.get("/b").is_some(), "{what}");
        verify(&stagewright);
    };
    std::thread::scope(|scope| {
        for case in push_cases() {
            scope.spawn(|| check(case));
        }
    });
}

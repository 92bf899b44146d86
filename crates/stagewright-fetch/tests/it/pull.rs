//! Pulling: resolving references and fetching blobs, from registries that work and that do not.

use std::time::Duration;

use serde_json::json;
use stagewright_digest::Digest;
use stagewright_fetch::{FetchError, MirrorArgument, RegistryClient};
use stagewright_oci::{Descriptor, media_type};
use stagewright_testkit::{Fault, Registry, RegistryLogin};

use crate::setup::{amd64, client, client_with_login, options, reference};

const LAYER: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";

fn config() -> serde_json::Value {
    json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"]}})
}

fn registry() -> Registry {
    let registry = Registry::start();
    registry.add_image("team/app", "v1", config(), &[LAYER]);
    registry
}

fn layer() -> Descriptor {
    Descriptor::of(media_type::OCI_LAYER, LAYER)
}

async fn fetch(client: &RegistryClient, registry: &Registry) -> Result<Vec<u8>, FetchError> {
    let reference = reference(registry, "team/app:v1");
    client
        .fetch_blob(&reference, &layer(), || Ok(Vec::new()), &|_| {})
        .await
}

#[tokio::test]
async fn an_image_is_resolved_without_its_layers() {
    let registry = registry();
    let tagged = reference(&registry, "team/app:v1");
    let image = client().resolve(&tagged, &amd64()).await.unwrap();
    assert_eq!(image.summary.config.config.env, ["A=1"]);
    assert_eq!(image.summary.layers[0].descriptor, layer());
    assert_eq!(
        image.reference,
        tagged.with_digest(image.summary.manifest_digest)
    );
    assert_eq!(image.source, registry.address());
    // The manifest and the config, and a look at what the port speaks.
    assert_eq!(registry.count("GET /v2/team/app/"), 2);
    let again = client().resolve(&image.reference, &amd64()).await.unwrap();
    assert_eq!(again.manifest_bytes, image.manifest_bytes);
    let digest = client().current_digest(&tagged).await.unwrap();
    assert_eq!(digest, image.summary.resolved_digest);
}

#[tokio::test]
async fn an_index_gives_the_platform_in_both_forms() {
    for (index_type, manifest_type, config_type, layer_type) in [
        (
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG,
            media_type::OCI_LAYER_ZSTD,
        ),
        (
            media_type::DOCKER_MANIFEST_LIST,
            media_type::DOCKER_MANIFEST,
            media_type::DOCKER_CONFIG,
            media_type::DOCKER_LAYER_GZIP,
        ),
    ] {
        let registry = Registry::start();
        let mut entries = Vec::new();
        for architecture in ["arm64", "amd64"] {
            let config = json!({
                "architecture": architecture, "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"x")]},
            })
            .to_string();
            let config_digest = registry.add_blob("a", config.as_bytes());
            let manifest = json!({
                "schemaVersion": 2, "mediaType": manifest_type,
                "config": {"mediaType": config_type, "digest": config_digest, "size": config.len()},
                "layers": [{"mediaType": layer_type, "digest": Digest::of(LAYER), "size": 72}],
            })
            .to_string();
            let digest =
                registry.add_manifest("a", architecture, manifest_type, manifest.as_bytes());
            entries.push(json!({
                "mediaType": manifest_type, "digest": digest, "size": manifest.len(),
                "platform": {"architecture": architecture, "os": "linux"},
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": entries});
        registry.add_manifest("a", "latest", index_type, index.to_string().as_bytes());
        let image = client()
            .resolve(&reference(&registry, "a"), &amd64())
            .await
            .unwrap();
        assert_eq!(image.summary.config.architecture, "amd64");
        assert_ne!(image.summary.resolved_digest, image.summary.manifest_digest);
        let other = "linux/s390x".parse().unwrap();
        let error = client()
            .resolve(&reference(&registry, "a"), &other)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("only for linux/arm64, linux/amd64"), "{text}");
    }
}

#[tokio::test]
async fn a_blob_comes_whole_whatever_happens_on_the_way() {
    let blob = "/blobs/";
    for (what, faults) in [
        ("nothing", &[][..]),
        ("a cut", &[(1, Fault::CutAfter(10))]),
        (
            "many cuts",
            &[(1, Fault::CutAfter(10)), (4, Fault::CutAfter(5))],
        ),
        ("a cut before the first byte", &[(2, Fault::CutAfter(0))]),
        ("a short answer", &[(1, Fault::Truncate(20))]),
        (
            "a cut, and no ranges",
            &[(1, Fault::CutAfter(30)), (1, Fault::IgnoreRange)],
        ),
        ("errors of the server", &[(2, Fault::Status(503, "busy"))]),
        ("a limit", &[(1, Fault::TooManyRequests(Some("0")))]),
        ("a slow line", &[(1, Fault::Slow(Duration::from_millis(2)))]),
    ] {
        let registry = registry();
        for (times, fault) in faults {
            registry.inject(blob, *times, fault.clone());
        }
        assert_eq!(
            fetch(&client(), &registry).await.expect(what),
            LAYER,
            "{what}"
        );
    }
}

#[tokio::test]
async fn what_was_had_is_not_fetched_again() {
    let registry = registry();
    registry.inject("/blobs/", 1, Fault::CutAfter(50));
    fetch(&client(), &registry).await.unwrap();
    let ranges: Vec<_> = registry
        .requests()
        .iter()
        .filter(|request| request.path.contains("/blobs/"))
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=50-".to_owned())]);
}

#[tokio::test]
async fn every_failure_says_what_it_is() {
    for (fault, expected) in [
        (Fault::Corrupt, "sent wrong bytes for sha256:"),
        (Fault::Truncate(0), "only 0 of 72 bytes"),
        (
            Fault::CutAfter(0),
            "broke 3 times while transferring the blob sha256:",
        ),
        (Fault::Status(500, "boom"), "answered 500 for the blob"),
        (Fault::Status(403, "not yours"), "denies access"),
        (Fault::Status(404, "gone"), "does not have the blob"),
        (
            Fault::TooManyRequests(None),
            "you have reached your pull rate limit",
        ),
        (Fault::TooManyRequests(Some("3600")), "asks to wait 3600 s"),
    ] {
        let registry = registry();
        registry.inject("/blobs/", 100, fault.clone());
        let error = fetch(&client(), &registry).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{fault:?}: {error}");
        assert!(error.contains(&registry.address()), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_not_waited_for() {
    let registry = registry();
    registry.inject("/manifests/", 1, Fault::TooManyRequests(Some("3600")));
    let error = client()
        .resolve(&reference(&registry, "team/app:v1"), &amd64())
        .await;
    assert!(matches!(error, Err(FetchError::RateLimited { .. })));
    assert_eq!(registry.count("/manifests/"), 1);
}

#[tokio::test]
async fn a_line_that_falls_silent_is_given_up() {
    let registry = registry();
    registry.inject("/blobs/", 100, Fault::Slow(Duration::from_secs(2)));
    let mut options = options();
    options.network.silence_timeout = Duration::from_millis(20);
    let error = fetch(&RegistryClient::new(options), &registry)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("broke 3 times"), "{error}");
    assert!(error.contains("timed out"), "{error}");
}

#[tokio::test]
async fn wrong_manifests_are_refused() {
    let registry = registry();
    registry.inject("/manifests/", 1, Fault::Corrupt);
    let tagged = reference(&registry, "team/app:v1");
    let error = client().resolve(&tagged, &amd64()).await.unwrap_err();
    assert!(
        matches!(error, FetchError::DigestMismatch { .. }),
        "{error}"
    );
    let pinned = tagged.with_digest(Digest::of(b"other"));
    let error = client().resolve(&pinned, &amd64()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let huge = " ".repeat(5 * 1024 * 1024);
    registry.add_manifest("huge", "latest", media_type::OCI_MANIFEST, huge.as_bytes());
    let error = client()
        .resolve(&reference(&registry, "huge"), &amd64())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("longer than the 4194304 bytes"),
        "{error}"
    );
    registry.add_manifest("page", "latest", "text/html", b"{}");
    let error = client()
        .resolve(&reference(&registry, "page"), &amd64())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("text/html"), "{error}");
}

#[tokio::test]
async fn an_absent_image_and_an_absent_registry_are_told_apart() {
    let registry = registry();
    let missing = reference(&registry, "team/app:v2");
    let error = client().resolve(&missing, &amd64()).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(
        error.to_string().contains("check the name and the tag"),
        "{error}"
    );
    let address = registry.address();
    drop(registry);
    let gone = format!("{address}/a").parse().unwrap();
    let error = client().resolve(&gone, &amd64()).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn logins_are_used_where_they_are_asked_for() {
    let basic = || RegistryLogin::Basic("u".to_owned(), "p".to_owned());
    let token = || RegistryLogin::Token(Some(("u".to_owned(), "p".to_owned())));
    for login in [basic(), token(), RegistryLogin::Token(None)] {
        let registry = registry();
        registry.require(login.clone());
        let tagged = reference(&registry, "team/app:v1");
        let known = client_with_login(&registry, "u", "p");
        let image = known.resolve(&tagged, &amd64()).await.unwrap();
        assert_eq!(image.summary.layers.len(), 1);
        assert_eq!(fetch(&known, &registry).await.unwrap(), LAYER);
        // One token does for the manifest, the config and the layer.
        assert!(registry.count("/token") <= 1);
        let unknown = client().resolve(&tagged, &amd64()).await;
        let wrong = client_with_login(&registry, "u", "wrong")
            .resolve(&tagged, &amd64())
            .await;
        if login == RegistryLogin::Token(None) {
            assert!(unknown.is_ok() && wrong.is_ok());
            continue;
        }
        for error in [unknown.unwrap_err(), wrong.unwrap_err()] {
            assert!(error.is_access(), "{login:?}: {error}");
            assert!(
                error.to_string().contains("docker login"),
                "{login:?}: {error}"
            );
            assert!(!error.to_string().contains("wrong"), "{login:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_login_does_not_follow_a_redirect_to_another_host() {
    let registry = registry();
    registry.require(RegistryLogin::Basic("u".to_owned(), "p".to_owned()));
    let other = Registry::start();
    other.add_blob("team/app", LAYER);
    registry.inject(
        "GET /v2/team/app/blobs/",
        1,
        Fault::RedirectTo(format!("http://{}", other.address())),
    );
    let known = client_with_login(&registry, "u", "p");
    let tagged = reference(&registry, "team/app:v1");
    let document = known.fetch_document(&tagged).await.unwrap();
    assert_eq!(document.source, registry.address());
    assert_eq!(fetch(&known, &registry).await.unwrap(), LAYER);
    let seen = other.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
    let to_itself = Fault::RedirectTo(format!("http://{}", registry.address()));
    registry.inject("GET /v2/team/app/blobs/", 100, to_itself);
    let error = fetch(&known, &registry).await.unwrap_err();
    assert!(
        error.to_string().contains("redirects more than 10 times"),
        "{error}"
    );
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_next_one_if_they_fail() {
    let good = Registry::start();
    good.add_image("hub/team/app", "v1", config(), &[LAYER]);
    let empty = Registry::start();
    let liar = Registry::start();
    liar.add_image("team/app", "v1", config(), &[LAYER]);
    liar.inject("/blobs/", 100, Fault::Corrupt);
    let mut options = options();
    // The last that is added is asked first.
    for location in [
        format!("{}/hub", good.address()),
        liar.address(),
        empty.address(),
    ] {
        let argument: MirrorArgument = format!("docker.io={location}").parse().unwrap();
        options
            .registries
            .add_mirror(&argument.registry, argument.mirror);
    }
    let client = RegistryClient::new(options);
    let hub = "team/app:v1".parse().unwrap();
    let image = client.resolve(&hub, &amd64()).await.unwrap();
    assert_eq!(image.source, liar.address());
    assert_eq!(image.reference.registry(), "docker.io");
    let bytes = client
        .fetch_blob(&hub, &layer(), || Ok(Vec::new()), &|_| {})
        .await
        .unwrap();
    assert_eq!(bytes, LAYER);
    assert!(empty.count("/v2/team/app/") > 0);
    assert!(good.count("/v2/hub/team/app/blobs/") > 0);
}

#[tokio::test]
async fn progress_counts_bytes() {
    let registry = registry();
    registry.inject("/blobs/", 1, Fault::CutAfter(10));
    let seen = std::sync::Mutex::new(Vec::new());
    let note = |bytes| seen.lock().unwrap().push(bytes);
    let tagged = reference(&registry, "team/app:v1");
    client()
        .fetch_blob(&tagged, &layer(), || Ok(Vec::new()), &note)
        .await
        .unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.first(), Some(&10));
    assert_eq!(seen.last(), Some(&(LAYER.len() as u64)));
}

#[tokio::test]
async fn a_full_disk_is_not_the_registrys_fault() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let registry = registry();
    let tagged = reference(&registry, "team/app:v1");
    let result = client()
        .fetch_blob(&tagged, &layer(), || Ok(Full), &|_| {})
        .await;
    assert!(matches!(result.err().unwrap(), FetchError::Local { .. }));
    assert_eq!(registry.count("/blobs/"), 1);
}

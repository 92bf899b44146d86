//! Pushing, to registries that work and that do not.

use std::sync::{Arc, Mutex};

use stagewright_digest::{DiffId, Digest};
use stagewright_fetch::{FetchError, PushEvent, PushOptions, PushProgress, RegistryClient};
use stagewright_oci::{
    BlobContent, ImageConfig, Index, Manifest, OutgoingBlob, OutgoingImage, OutgoingPlatform,
    Reference, media_type,
};
use stagewright_testkit::{Fault, Registry, RegistryLogin};

use crate::setup::{amd64, client, client_with_login, reference};

fn layer() -> Vec<u8> {
    // More than one piece of an upload.
    (0..500_000_u32)
        .flat_map(|number| (number % 251).to_le_bytes())
        .collect()
}

pub(crate) fn platform(name: &str, layer: OutgoingBlob) -> OutgoingPlatform {
    let mut config = ImageConfig::for_platform(&name.parse().unwrap());
    let digest = layer.descriptor.digest;
    config
        .rootfs
        .diff_ids
        .push(DiffId::from_bytes(*digest.as_bytes()));
    let config = OutgoingBlob::bytes(media_type::OCI_CONFIG, config.encode());
    let manifest = Manifest::oci(config.descriptor.clone(), vec![layer.descriptor.clone()]);
    OutgoingPlatform::new(name.parse().unwrap(), manifest, vec![config, layer])
}

pub(crate) fn image(names: Vec<Reference>) -> OutgoingImage {
    let layer = OutgoingBlob::bytes(media_type::OCI_LAYER, layer());
    OutgoingImage::single(platform("linux/amd64", layer), names)
}

pub(crate) fn quiet() -> PushProgress {
    Arc::new(|_| {})
}

async fn push(client: &RegistryClient, image: &OutgoingImage) -> Result<Digest, FetchError> {
    client.push(image, &PushOptions::default(), quiet()).await
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled() {
    let registry = Registry::start();
    let names = vec![
        reference(&registry, "team/app:v1"),
        reference(&registry, "team/app:v2"),
    ];
    let image = image(names.clone());
    let digest = push(&client(), &image).await.unwrap();
    for name in names {
        let pulled = client().resolve(&name, &amd64()).await.unwrap();
        assert_eq!(pulled.summary.manifest_digest, digest);
        let blob = &pulled.summary.layers[0].descriptor;
        let bytes = client()
            .fetch_blob(&name, blob, || Ok(Vec::new()), &|_| {})
            .await
            .unwrap();
        assert_eq!(bytes, layer());
    }
    // The config and the layer once each, though there are two tags.
    assert_eq!(registry.count("POST /v2/team/app/blobs/uploads/"), 2);
    push(&client(), &image).await.unwrap();
    assert_eq!(registry.count("POST /v2/team/app/blobs/uploads/"), 2);
}

#[tokio::test]
async fn several_platforms_go_under_one_tag_and_by_digest() {
    let registry = Registry::start();
    let layer = OutgoingBlob::bytes(media_type::OCI_LAYER, layer());
    let both = vec![
        platform("linux/amd64", layer.clone()),
        platform("linux/arm64", layer),
    ];
    let tagged = reference(&registry, "app:v1");
    let image = OutgoingImage::index(both, vec![tagged.clone()], Index::oci);
    let digest = push(&client(), &image).await.unwrap();
    for name in ["linux/amd64", "linux/arm64"] {
        let pulled = client()
            .resolve(&tagged, &name.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(pulled.summary.config.platform(), name.parse().unwrap());
        assert_eq!(pulled.summary.resolved_digest, digest);
    }
    let mut silent = image;
    silent.names = vec![reference(&registry, "other:v1")];
    let options = PushOptions {
        by_digest: true,
        ..PushOptions::default()
    };
    client().push(&silent, &options, quiet()).await.unwrap();
    assert!(registry.manifest("other", "v1").is_none());
    assert!(registry.manifest("other", &digest.to_string()).is_some());
}

#[tokio::test]
async fn a_blob_next_door_is_mounted() {
    for login in [
        RegistryLogin::None,
        RegistryLogin::Token(Some(("u".to_owned(), "p".to_owned()))),
    ] {
        let registry = Registry::start();
        registry.add_blob("base", &layer());
        registry.require(login);
        let options = PushOptions {
            mount_from: vec![reference(&registry, "base"), "elsewhere".parse().unwrap()],
            by_digest: false,
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&events);
        let progress: PushProgress = Arc::new(move |event| noted.lock().unwrap().push(event));
        let image = image(vec![reference(&registry, "app")]);
        let client = client_with_login(&registry, "u", "p");
        client.push(&image, &options, progress).await.unwrap();
        let events = events.lock().unwrap();
        let mounted = events.iter().filter_map(|event| match event {
            PushEvent::Mounted(descriptor) => Some(descriptor.digest),
            _ => None,
        });
        assert_eq!(mounted.collect::<Vec<_>>(), [Digest::of(&layer())]);
        assert_eq!(registry.count("PATCH "), 1, "only the config is sent");
    }
}

#[tokio::test]
async fn an_upload_ends_well_whatever_happens_on_the_way() {
    for (what, matches, times, fault) in [
        ("a cut in the middle", "PATCH ", 1, Fault::TakeOnly(300_000)),
        ("many cuts", "PATCH ", 4, Fault::TakeOnly(100_000)),
        (
            "a cut before the first byte",
            "PATCH ",
            1,
            Fault::TakeOnly(0),
        ),
        ("an answer that is lost", "PATCH ", 1, Fault::CutAfter(0)),
        ("an error", "PATCH ", 1, Fault::Status(502, "proxy")),
        (
            "an upload that is forgotten",
            "PATCH ",
            1,
            Fault::Status(503, "restarting"),
        ),
        (
            "a limit at the start",
            "POST ",
            1,
            Fault::TooManyRequests(Some("0")),
        ),
        (
            "an error at the end",
            "PUT /v2/app/blobs",
            1,
            Fault::Status(500, "disk"),
        ),
        (
            "an error of the manifest",
            "PUT /v2/app/manifests",
            2,
            Fault::Status(500, "db"),
        ),
    ] {
        let registry = Registry::start();
        registry.inject(matches, times, fault);
        let image = image(vec![reference(&registry, "app")]);
        let digest = push(&client(), &image).await.expect(what);
        assert!(
            registry.has_blob("app", &Digest::of(&layer()).to_string()),
            "{what}"
        );
        assert!(
            registry.manifest("app", &digest.to_string()).is_some(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke() {
    let registry = Registry::start();
    registry.inject("PATCH ", 2, Fault::TakeOnly(300_000));
    push(&client(), &image(vec![reference(&registry, "app")]))
        .await
        .unwrap();
    let ranges: Vec<_> = registry
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH")
        .filter_map(|request| request.header("content-range").map(str::to_owned))
        .collect();
    assert!(ranges.contains(&"300000-1999999".to_owned()), "{ranges:?}");
}

#[tokio::test]
async fn a_failed_push_moves_no_tag_and_says_why() {
    for (matches, fault, expected) in [
        ("PATCH ", Fault::Status(403, "read only"), "denies access"),
        ("PATCH ", Fault::Status(500, "boom"), "answered 500"),
        ("POST ", Fault::Status(401, "who"), "docker login"),
        (
            "PUT /v2/app/manifests",
            Fault::Status(400, "bad manifest"),
            "bad manifest",
        ),
    ] {
        let registry = Registry::start();
        registry.inject(matches, 100, fault);
        let image = image(vec![reference(&registry, "app")]);
        let error = push(&client(), &image).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(registry.manifest("app", "latest").is_none());
    }
}

#[tokio::test]
async fn a_source_that_has_changed_is_not_pushed() {
    let registry = Registry::start();
    let mut changed = OutgoingBlob::bytes(media_type::OCI_LAYER, layer());
    let mut bytes = layer();
    bytes[1_000_000] ^= 1;
    changed.content = BlobContent::Bytes(bytes.into());
    let names = vec![reference(&registry, "app")];
    let image = OutgoingImage::single(platform("linux/amd64", changed), names);
    let error = push(&client(), &image).await.unwrap_err();
    assert!(matches!(error, FetchError::Local { .. }), "{error}");
    assert!(registry.manifest("app", "latest").is_none());
}

#[tokio::test]
async fn pushing_needs_a_login_that_may_push() {
    let registry = Registry::start();
    registry.require(RegistryLogin::Token(Some(("u".to_owned(), "p".to_owned()))));
    let image = image(vec![reference(&registry, "app")]);
    let error = push(&client(), &image).await.unwrap_err();
    assert!(error.is_access(), "{error}");
    push(&client_with_login(&registry, "u", "p"), &image)
        .await
        .unwrap();
}

//! The rules of the OCI distribution specification, version 1.1, for clients: what is sent, and what
//! answers mean. One test a section.

use stagewright_digest::Digest;
use stagewright_fetch::PushOptions;
use stagewright_oci::{Descriptor, OutgoingImage, Reference, media_type};
use stagewright_testkit::{Fault, Registry, Request};

use crate::push::{image, platform, quiet};
use crate::setup::{amd64, client, reference};

fn line(request: &Request) -> String {
    format!("{} {}", request.method, request.path)
}

/// The requests that are about a repository.
fn requests(registry: &Registry, repository: &str) -> Vec<Request> {
    let prefix = format!("/v2/{repository}/");
    let mut requests = registry.requests();
    requests.retain(|request| request.path.starts_with(&prefix));
    requests
}

async fn push(registry: &Registry, name: &str) -> OutgoingImage {
    let image = image(vec![reference(registry, name)]);
    client()
        .push(&image, &PushOptions::default(), quiet())
        .await
        .unwrap();
    image
}

/// "Definitions": what a name, a tag and a digest are.
#[test]
fn names() {
    for good in ["a/b-c/d.e/f__g/h---i", "a:b_C.1-2", "a:_x"] {
        assert!(good.parse::<Reference>().is_ok(), "{good}");
    }
    let long_tag = format!("a:{}", "x".repeat(129));
    for bad in [
        "a/B",
        "a//b",
        "-a",
        "a/-b",
        "a___b",
        "a:.x",
        "a:-x",
        &long_tag,
        "a@sha256:12",
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
    let longest = format!("a:{}", "x".repeat(128));
    assert!(longest.parse::<Reference>().is_ok());
}

/// "Pulling manifests".
#[tokio::test]
async fn pulling_manifests() {
    let registry = Registry::start();
    let pushed = push(&registry, "team/app:v1").await;
    let before = registry.requests().len();
    let name = reference(&registry, "team/app:v1");
    let found = client().fetch_document(&name).await.unwrap();
    assert_eq!(found.descriptor.digest, pushed.root().digest);
    assert_eq!(found.descriptor.media_type, pushed.root().media_type);
    let asked = &requests(&registry, "team/app");
    let asked = asked.last().unwrap();
    assert!(registry.requests().len() > before);
    assert_eq!(line(asked), "GET /v2/team/app/manifests/v1");
    // "The client SHOULD include an Accept header indicating which manifest content types it supports."
    let accept = asked.header("accept").unwrap();
    for media_type in [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::DOCKER_MANIFEST,
        media_type::DOCKER_MANIFEST_LIST,
    ] {
        assert!(accept.contains(media_type), "{accept}");
    }
    // "Docker-Content-Digest … clients SHOULD verify": by digest the bytes are verified in any case.
    let pinned = name.with_digest(pushed.root().digest);
    client().fetch_document(&pinned).await.unwrap();
    registry.inject("/manifests/", 1, Fault::Corrupt);
    assert!(client().fetch_document(&pinned).await.is_err());
    // "If the manifest is not found in the repository, the response code MUST be 404".
    let missing = reference(&registry, "team/app:none");
    assert!(
        client()
            .fetch_document(&missing)
            .await
            .unwrap_err()
            .is_not_found()
    );
    // "Checking if content exists in the registry": HEAD gives the digest.
    let before = registry.count("HEAD /v2/team/app/manifests/v1");
    let digest = client().current_digest(&name).await.unwrap();
    assert_eq!(digest, pushed.root().digest);
    assert_eq!(registry.count("HEAD /v2/team/app/manifests/v1"), before + 1);
}

/// "Pulling blobs", and its ranges (RFC 9110, section 14).
#[tokio::test]
async fn pulling_blobs() {
    let registry = Registry::start();
    let digest = registry.add_blob("team/app", b"0123456789");
    let blob = Descriptor::of(media_type::OCI_LAYER, b"0123456789");
    let path = format!("GET /v2/team/app/blobs/{digest}");
    registry.inject(&path, 1, Fault::CutAfter(4));
    let name = reference(&registry, "team/app");
    let bytes = client()
        .fetch_blob(&name, &blob, || Ok(Vec::new()), &|_| {})
        .await
        .unwrap();
    assert_eq!(bytes, b"0123456789");
    let asked = requests(&registry, "team/app");
    let ranges: Vec<_> = asked
        .iter()
        .map(|request| request.header("range"))
        .collect();
    assert!(asked.iter().all(|request| line(request) == path));
    assert_eq!(ranges, [None, Some("bytes=4-")]);
}

/// "Pushing a blob in chunks" and "Pushing Manifests": the order, and what each request says.
#[tokio::test]
async fn pushing() {
    let registry = Registry::start();
    let pushed = push(&registry, "team/app:v1").await;
    let asked = requests(&registry, "team/app");
    let at = |start: &str| {
        asked
            .iter()
            .position(|request| line(request).starts_with(start))
    };
    // Of each blob: is it there, begin, send, end.
    let layer = &pushed.blobs()[1].descriptor;
    let head = at(&format!("HEAD /v2/team/app/blobs/{}", layer.digest)).unwrap();
    let begun = at("POST /v2/team/app/blobs/uploads/").unwrap();
    assert!(head < asked.len() && begun < asked.len());
    for request in asked.iter().filter(|request| request.method == "PATCH") {
        assert_eq!(
            request.header("content-type"),
            Some("application/octet-stream")
        );
    }
    let ends: Vec<_> = asked
        .iter()
        .filter(|request| line(request).starts_with("PUT /v2/team/app/blobs/uploads/"))
        .map(|request| request.query("digest").unwrap().to_owned())
        .collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.contains(&layer.digest.to_string()));
    // "Clients SHOULD … Content-Type … MUST match the mediaType field", and the manifest comes last.
    let last = asked.last().unwrap();
    assert_eq!(line(last), "PUT /v2/team/app/manifests/v1");
    assert_eq!(last.header("content-type"), Some(media_type::OCI_MANIFEST));
    assert_eq!(Digest::of(&last.body), pushed.root().digest);
    // Once more: everything is there, so that nothing is sent but the tag.
    let before = asked.len();
    push(&registry, "team/app:v2").await;
    let again = requests(&registry, "team/app").split_off(before);
    let methods: Vec<_> = again
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    assert_eq!(methods, ["HEAD", "HEAD", "PUT"]);
}

/// "Pushing a blob in chunks": an upload that broke goes on where its status says (`Range`), and one
/// that the registry has forgotten begins anew.
#[tokio::test]
async fn resuming_an_upload() {
    let registry = Registry::start();
    // One of the two blobs is shorter than that.
    registry.inject("PATCH /v2/team/app/blobs/uploads", 2, Fault::TakeOnly(1000));
    push(&registry, "team/app:v1").await;
    let asked = requests(&registry, "team/app");
    let status = asked
        .iter()
        .any(|request| request.method == "GET" && request.path.contains("/blobs/uploads/"));
    assert!(status);
    let ranges: Vec<_> = asked
        .iter()
        .filter(|request| request.method == "PATCH")
        .filter_map(|request| request.header("content-range"))
        .collect();
    assert!(!ranges.is_empty());
    let (start, end) = ranges[0].split_once('-').unwrap();
    assert!(start.parse::<u64>().unwrap() < end.parse::<u64>().unwrap());
}

/// "Mounting a blob from another repository": 201 mounts, 202 begins an upload instead.
#[tokio::test]
async fn mounting() {
    let registry = Registry::start();
    push(&registry, "team/base:v1").await;
    let options = PushOptions {
        mount_from: vec![reference(&registry, "team/base:v1")],
        by_digest: false,
    };
    let (image, layers) = {
        let image = image(vec![reference(&registry, "team/app:v1")]);
        let layers: Vec<String> = image
            .blobs()
            .iter()
            .map(|blob| blob.descriptor.digest.to_string())
            .collect();
        (image, layers)
    };
    client().push(&image, &options, quiet()).await.unwrap();
    let mounts: Vec<_> = requests(&registry, "team/app")
        .into_iter()
        .filter(|request| request.method == "POST")
        .collect();
    assert_eq!(mounts.len(), 2);
    for mount in &mounts {
        assert_eq!(mount.query("from"), Some("team/base"));
        assert!(layers.contains(&mount.query("mount").unwrap().to_owned()));
    }
    assert_eq!(registry.count("PATCH /v2/team/app/"), 0);
    // A registry that does not have it there, or does not mount, opens an upload.
    let elsewhere = Registry::start();
    let image = image_for(&elsewhere);
    let options = PushOptions {
        mount_from: vec![reference(&elsewhere, "team/base:v1")],
        by_digest: false,
    };
    client().push(&image, &options, quiet()).await.unwrap();
    assert_eq!(elsewhere.count("PATCH /v2/team/app/"), 2);
}

fn image_for(registry: &Registry) -> OutgoingImage {
    image(vec![reference(registry, "team/app:v1")])
}

/// "Pushing Manifests": those of an index before the index, by digest; then its tag.
#[tokio::test]
async fn pushing_an_index() {
    let registry = Registry::start();
    let blob = |name: &str| {
        stagewright_oci::OutgoingBlob::bytes(media_type::OCI_LAYER, name.as_bytes().to_vec())
    };
    let platforms = ["linux/amd64", "linux/arm64"].map(|name| platform(name, blob(name)));
    let image = OutgoingImage::index(
        platforms.into(),
        vec![reference(&registry, "team/app:v1")],
        stagewright_oci::Index::oci,
    );
    client()
        .push(&image, &PushOptions::default(), quiet())
        .await
        .unwrap();
    let asked = requests(&registry, "team/app");
    let puts: Vec<_> = asked
        .iter()
        .filter(|request| line(request).starts_with("PUT /v2/team/app/manifests/"))
        .collect();
    assert_eq!(puts.len(), 3);
    for put in &puts[..2] {
        assert!(put.path.ends_with(&Digest::of(&put.body).to_string()));
        assert_eq!(put.header("content-type"), Some(media_type::OCI_MANIFEST));
    }
    assert!(puts[2].path.ends_with("/v1"));
    assert_eq!(puts[2].header("content-type"), Some(media_type::OCI_INDEX));
    let found = client()
        .resolve(&reference(&registry, "team/app:v1"), &amd64())
        .await;
    assert_eq!(found.unwrap().summary.config.architecture, "amd64");
}

/// "Error Codes": the code and the message of the registry are told.
#[tokio::test]
async fn errors() {
    let registry = Registry::start();
    let name = reference(&registry, "team/app");
    for (status, text) in [(400, "TAG_INVALID is meant"), (405, "UNSUPPORTED it is")] {
        registry.inject("/manifests/", 1, Fault::Status(status, text));
        let error = client()
            .fetch_document(&name)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(text) && error.contains(&status.to_string()),
            "{error}"
        );
    }
    // 429 may say how long to wait (RFC 6585, section 4).
    registry.inject("/manifests/", 1, Fault::TooManyRequests(Some("7200")));
    let error = client()
        .fetch_document(&name)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("7200 s"), "{error}");
}

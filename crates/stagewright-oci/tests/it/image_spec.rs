//! The rules of the OCI image specification, version 1.1, one test a document of it.

use serde_json::{Value, json};
use stagewright_digest::Digest;
use stagewright_oci::{
    BlobPlacement, Descriptor, Document, ImageConfig, ImageLayout, Index, LayerEncoding, Manifest,
    media_type, summarize,
};

use crate::sample::{platform, sample, sample_platform};

fn parse(document: &Value, media_type: Option<&str>) -> Result<Document, String> {
    Document::parse(document.to_string().as_bytes(), media_type).map_err(|error| error.to_string())
}

fn descriptor(media_type: &str) -> Value {
    let digest = Digest::of(b"x").to_string();
    json!({"mediaType": media_type, "digest": digest, "size": 1})
}

fn manifest() -> Value {
    json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG),
        "layers": [descriptor(media_type::OCI_LAYER_GZIP)],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
        "manifests": [descriptor(media_type::OCI_MANIFEST)],
    })
}

/// A document with one place changed; `null` takes it out.
fn with(mut document: Value, place: &str, value: Value) -> Value {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    let parent = parent.as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    document
}

/// media-types.md, "OCI Image Media Types" and "Compatibility Matrix".
#[test]
fn media_types() {
    for (name, text) in [
        (
            media_type::OCI_INDEX,
            "application/vnd.oci.image.index.v1+json",
        ),
        (
            media_type::OCI_MANIFEST,
            "application/vnd.oci.image.manifest.v1+json",
        ),
        (
            media_type::OCI_CONFIG,
            "application/vnd.oci.image.config.v1+json",
        ),
        (
            media_type::OCI_LAYER,
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            media_type::OCI_LAYER_GZIP,
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        (
            media_type::OCI_LAYER_ZSTD,
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (media_type::OCI_EMPTY, "application/vnd.oci.empty.v1+json"),
        (
            media_type::OCI_LAYOUT_HEADER,
            "application/vnd.oci.layout.header.v1+json",
        ),
    ] {
        assert_eq!(name, text);
    }
    // "Compatibility Matrix": Docker's types are read as their counterparts.
    for (ours, dockers) in [
        (media_type::OCI_LAYER, media_type::DOCKER_LAYER),
        (media_type::OCI_LAYER_GZIP, media_type::DOCKER_LAYER_GZIP),
    ] {
        let encoding = LayerEncoding::of_media_type(ours).unwrap();
        assert_eq!(LayerEncoding::of_media_type(dockers), Some(encoding));
        assert_eq!(encoding.docker_media_type(), dockers);
        assert_eq!(encoding.oci_media_type(), ours);
    }
    // "Deprecated" layers are still to be read (layer.md, "Non-Distributable Layers").
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    assert_eq!(
        LayerEncoding::of_media_type(foreign),
        Some(LayerEncoding::Gzip)
    );
    assert_eq!(LayerEncoding::of_media_type("text/html"), None);
}

/// descriptor.md.
#[test]
fn descriptors() {
    let check = |place: &str, value: Value, good: bool| {
        let document = with(manifest(), &format!("/config{place}"), value.clone());
        let parsed = parse(&document, None);
        assert_eq!(parsed.is_ok(), good, "{place} {value}: {parsed:?}");
    };
    // "Properties": the media type, the digest and the size are REQUIRED.
    for place in ["/mediaType", "/digest", "/size"] {
        check(place, Value::Null, false);
    }
    check("/size", json!(-1), false);
    check("/size", json!("1"), false);
    // "Digests": `algorithm ":" encoded`; the encoded part of sha256 is 64 lower hexadecimal digits.
    let hex = "a".repeat(64);
    check("/digest", json!(format!("sha256:{hex}")), true);
    for wrong in [
        hex.clone(),
        format!("sha256:{}", "a".repeat(63)),
        format!("sha256:{}", "A".repeat(64)),
        format!("sha256:{}", "g".repeat(64)),
        format!("SHA256:{hex}"),
    ] {
        check("/digest", json!(wrong), false);
    }
    // "Properties": `urls`, `annotations`, `data` and `artifactType` are OPTIONAL.
    check("/urls", json!(["https://example.org/x"]), true);
    check("/annotations", json!({"a": "b"}), true);
    check("/data", json!("eA=="), true);
    check("/artifactType", json!("application/x"), true);
    // "Properties": extensions MUST NOT be an error, and "Reserved" `urls` need not be followed.
    check("/anything", json!({"else": 1}), true);
    // "Verification": what comes is compared with digest and size.
    let blob = Descriptor::of(media_type::OCI_LAYER, b"right");
    for wrong in [&b"wrong"[..], b"righ", b"right and more"] {
        let mut reader = stagewright_oci::VerifiedReader::new(wrong, &blob);
        assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
    }
}

/// manifest.md.
#[test]
fn manifests() {
    // "Image Manifest Property Descriptions": schemaVersion MUST be 2; config and layers are REQUIRED.
    for (place, value) in [
        ("/schemaVersion", json!(1)),
        ("/config", Value::Null),
        ("/mediaType", json!(media_type::OCI_CONFIG)),
    ] {
        let parsed = parse(&with(manifest(), place, value), None);
        assert!(parsed.is_err(), "{place}");
    }
    // mediaType SHOULD be there: without it what was asked for says what it is.
    let silent = with(manifest(), "/mediaType", Value::Null);
    assert!(parse(&silent, Some(media_type::OCI_MANIFEST)).is_ok());
    // "Manifest": one that is an index too is of nobody's (CVE-2021-41190).
    let both = with(manifest(), "/manifests", json!([]));
    assert!(
        parse(&both, None)
            .unwrap_err()
            .contains("both a manifest and an index")
    );
    // An unknown type of config or layer MUST NOT be an error for who only stores it; what is built on
    // must be an image.
    let artifact = with(manifest(), "/config/mediaType", json!("application/x"));
    assert!(parse(&artifact, None).is_ok());
    // "Guidance for an Empty Descriptor".
    let empty = Descriptor::of(media_type::OCI_EMPTY, b"{}");
    assert_eq!(
        empty.digest.to_string(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    assert_eq!(empty.size, 2);
    // subject and artifactType stay when a manifest is written again.
    let mut full = with(manifest(), "/subject", descriptor(media_type::OCI_MANIFEST));
    full = with(full, "/artifactType", json!("application/x"));
    let Ok(Document::Manifest(read)) = parse(&full, None) else {
        panic!("a manifest is one");
    };
    let (bytes, written) = read.encode();
    let again: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(again["subject"], full["subject"]);
    assert_eq!(again["artifactType"], full["artifactType"]);
    assert_eq!(written.media_type, media_type::OCI_MANIFEST);
    // What is written says its own type and version.
    let (bytes, _) = sample_platform("linux/amd64").manifest.encode();
    let ours: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(ours["schemaVersion"], 2);
    assert_eq!(ours["mediaType"], media_type::OCI_MANIFEST);
    assert_eq!(ours["config"]["mediaType"], media_type::OCI_CONFIG);
}

/// image-index.md.
#[test]
fn indexes() {
    // "Image Index Property Descriptions": manifests is REQUIRED, and MAY be empty.
    let empty = with(index(), "/manifests", json!([]));
    let Ok(Document::Index(read)) = parse(&empty, None) else {
        panic!("an index is one");
    };
    assert!(read.select(&platform("linux/amd64")).is_err());
    assert!(parse(&with(index(), "/schemaVersion", json!(1)), None).is_err());
    let entry = |name: &str, media_type: &str| Descriptor {
        platform: Some(platform(name)),
        ..Descriptor::of(media_type, name.as_bytes())
    };
    // Of several that match, the first SHOULD be used; types that are not known are passed over.
    let several = Index::oci(vec![
        entry("linux/amd64", "application/x"),
        entry("linux/arm64", media_type::OCI_MANIFEST),
        entry("linux/amd64", media_type::OCI_MANIFEST),
        Descriptor {
            size: 9,
            ..entry("linux/amd64", media_type::OCI_MANIFEST)
        },
    ]);
    let chosen = several.select(&platform("linux/amd64")).unwrap();
    assert_eq!(chosen, &several.manifests[2]);
    // Nested indexes are allowed, and platform.os and .architecture are REQUIRED in a platform.
    let nested = Index::oci(vec![entry("linux/amd64", media_type::OCI_INDEX)]);
    assert!(nested.select(&platform("linux/amd64")).is_ok());
    assert!(parse(&with_entry(json!({"os": "linux"})), None).is_err());
    let whole = json!({"os": "linux", "architecture": "amd64"});
    assert!(parse(&with_entry(whole), None).is_ok());
}

fn with_entry(platform: Value) -> Value {
    let mut document = index();
    document["manifests"][0]["platform"] = platform;
    document
}

/// config.md.
#[test]
fn configs() {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"x").to_string()]},
    });
    let read = |config: &Value| ImageConfig::parse(config.to_string().as_bytes());
    let good = read(&config).unwrap();
    // "Properties": what is not known MUST be kept when the config is written again.
    let more = with(config.clone(), "/moby.buildkit.x", json!({"a": [1]}));
    let kept: Value = serde_json::from_slice(&read(&more).unwrap().encode()).unwrap();
    assert_eq!(kept["moby.buildkit.x"], json!({"a": [1]}));
    // "Properties": history, config and created are OPTIONAL.
    assert!(good.history.is_empty() && good.created.is_none());
    // "Layer DiffID": there is one for each layer of the manifest.
    let bytes = config.to_string().into_bytes();
    let of_layers = |count: usize| {
        let layer = Descriptor::of(media_type::OCI_LAYER_GZIP, b"layer");
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, &bytes),
            vec![layer; count],
        );
        let digest = Digest::of(b"m");
        summarize(digest, digest, &manifest, &bytes)
    };
    assert!(of_layers(1).is_ok());
    for count in [0, 2] {
        assert!(of_layers(count).unwrap_err().to_string().contains("layers"));
    }
    // "Layer ChainID": the first is its diffID, each further one hashes the one before and its own.
    let ids = [b"a", b"b"].map(|text| crate::sample::diff_id(text));
    let one = stagewright_digest::ChainId::of(&ids[..1]).unwrap();
    assert_eq!(one.as_bytes(), ids[0].as_bytes());
    let two = stagewright_digest::ChainId::of(&ids).unwrap();
    let expected = Digest::of(format!("{one} {}", ids[1]).as_bytes());
    assert_eq!(two.as_bytes(), expected.as_bytes());
}

/// image-layout.md.
#[test]
fn layouts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let image = sample(&["app:v1"]);
    ImageLayout::write(&path, &image, BlobPlacement::Copy).unwrap();
    // "oci-layout file": it MUST exist, be JSON and have imageLayoutVersion, which is 1.0.0.
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs_err::read(path.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
    // "index.json file": an index, which names images by this annotation.
    let index = read("index.json");
    assert_eq!(index["schemaVersion"], 2);
    let entry = &index["manifests"][0];
    assert_eq!(entry["mediaType"], media_type::OCI_MANIFEST);
    assert!(entry["annotations"]["org.opencontainers.image.ref.name"].is_string());
    // "Blobs": named blobs/<alg>/<encoded>, and their content MUST match.
    let blobs = fs_err::read_dir(path.join("blobs/sha256")).unwrap();
    let mut count = 0;
    for blob in blobs {
        let blob = blob.unwrap();
        let digest = Digest::of(&fs_err::read(blob.path()).unwrap());
        assert_eq!(blob.file_name().to_str().unwrap(), digest.to_hex());
        count += 1;
    }
    assert_eq!(count, 3, "a layer, a config and a manifest");
    fs_err::write(
        path.join("oci-layout"),
        r#"{"imageLayoutVersion": "2.0.0"}"#,
    )
    .unwrap();
    assert!(ImageLayout::open(&path).is_err());
}

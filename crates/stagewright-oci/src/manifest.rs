//! Manifests and indexes, in OCI's and Docker's forms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stagewright_digest::Digest;
use thiserror::Error;

use crate::descriptor::Descriptor;
use crate::media_type;
use crate::platform::Platform;

/// The longest manifest or index that is read: what the distribution specification lets a
/// registry refuse to store ("Pushing Manifests").
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What one image is made of (image specification, "Image Manifest"; Docker's schema 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_MANIFEST`] or [`media_type::DOCKER_MANIFEST`]; OCI lets it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers from the bottom up.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// The images of several platforms under one name (image specification, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::OCI_INDEX`] or [`media_type::DOCKER_MANIFEST_LIST`]; OCI lets it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The kind of artifact, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// A manifest a platform, or further indexes.
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text by key.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "crate::null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Makes the OCI manifest of an image.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Makes the Docker schema 2 manifest of an image.
    pub fn docker(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            media_type: Some(media_type::DOCKER_MANIFEST.to_owned()),
            ..Self::oci(config, layers)
        }
    }

    /// Returns the bytes of the document and its descriptor.
    pub fn encode(&self) -> (Vec<u8>, Descriptor) {
        let media_type = self
            .media_type
            .as_deref()
            .unwrap_or(media_type::OCI_MANIFEST);
        encode(self, media_type)
    }
}

impl Index {
    /// Makes an OCI index.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Makes a Docker manifest list.
    pub fn docker(manifests: Vec<Descriptor>) -> Self {
        Self {
            media_type: Some(media_type::DOCKER_MANIFEST_LIST.to_owned()),
            ..Self::oci(manifests)
        }
    }

    /// Returns the bytes of the document and its descriptor.
    pub fn encode(&self) -> (Vec<u8>, Descriptor) {
        let media_type = self.media_type.as_deref().unwrap_or(media_type::OCI_INDEX);
        encode(self, media_type)
    }

    /// Returns the entry of an image for `wanted`, or the platforms that there are.
    ///
    /// Attestations, which BuildKit lists under the platform `unknown/unknown`, are never taken.
    /// A sole entry without a platform is taken whatever is wanted: its config says the rest.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, Vec<Platform>> {
        let images: Vec<_> = self
            .manifests
            .iter()
            .filter(|entry| is_image(entry))
            .collect();
        if let [only] = images[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        match wanted.select(images.iter().map(|entry| entry.platform.as_ref())) {
            Some(at) => Ok(images[at]),
            None => Err(images
                .iter()
                .filter_map(|entry| entry.platform.clone())
                .collect()),
        }
    }
}

/// The annotation that marks the manifests in an index that describe an image and are none.
pub const ATTESTATION_TYPE_KEY: &str = "vnd.docker.reference.type";

fn is_image(entry: &Descriptor) -> bool {
    !entry.annotations.contains_key(ATTESTATION_TYPE_KEY)
        && (media_type::is_manifest(&entry.media_type) || media_type::is_index(&entry.media_type))
}

fn encode<T: Serialize>(document: &T, media_type: &str) -> (Vec<u8>, Descriptor) {
    let bytes = serde_json::to_vec(document).expect("because the keys of all maps are strings");
    let descriptor = Descriptor::of(media_type, &bytes);
    (bytes, descriptor)
}

/// What a reference resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// The images of several platforms.
    Index(Box<Index>),
}

/// Bytes are not a manifest or index that can be used.
#[derive(Debug, Error)]
pub enum InvalidDocument {
    /// The document is too large to be read.
    #[error(
        "{digest} is {size} bytes long, more than the {MANIFEST_BYTES_MAX} that a manifest may have"
    )]
    TooLarge {
        /// The document.
        digest: Digest,
        /// Its length.
        size: u64,
    },
    /// The document is of Docker's first form.
    #[error(
        "{digest} is a Docker schema 1 manifest, a form that was given up in 2016: push the image again with a current tool"
    )]
    Schema1 {
        /// The document.
        digest: Digest,
    },
    /// The media type is of something else.
    #[error("{digest} has the media type {media_type:?}, which is no image")]
    MediaType {
        /// The document.
        digest: Digest,
        /// What it says that it is.
        media_type: String,
    },
    /// The document has the fields of a manifest and of an index, so that two readers would see
    /// two images.
    #[error("{digest} is both a manifest and an index, so that it cannot be trusted")]
    Ambiguous {
        /// The document.
        digest: Digest,
    },
    /// The JSON is not what the specification asks for.
    #[error("{digest} is not a valid {what}: {source}")]
    Json {
        /// The document.
        digest: Digest,
        /// What was expected.
        what: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
}

/// The fields that tell what a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Returns the media type that the document has, OCI's where it does not say.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest
                .media_type
                .as_deref()
                .unwrap_or(media_type::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
        }
    }

    /// Parses a manifest or index.
    ///
    /// `media_type` is what the sender or the descriptor says, if anything; where the document
    /// names its own type, the document wins.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, InvalidDocument> {
        let digest = Digest::of(bytes);
        let size = bytes.len() as u64;
        if size > MANIFEST_BYTES_MAX {
            return Err(InvalidDocument::TooLarge { digest, size });
        }
        let json = |what| {
            move |source| InvalidDocument::Json {
                digest,
                what,
                source,
            }
        };
        let probe: Probe = serde_json::from_slice(bytes).map_err(json("manifest"))?;
        let is_list = probe.manifests.is_some();
        if is_list && (probe.config.is_some() || probe.layers.is_some()) {
            return Err(InvalidDocument::Ambiguous { digest });
        }
        let media_type = probe.media_type.as_deref().or(media_type);
        if probe.schema_version == Some(1)
            || probe.fs_layers.is_some()
            || matches!(
                media_type,
                Some(media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED)
            )
        {
            return Err(InvalidDocument::Schema1 { digest });
        }
        let index = match media_type {
            Some(media_type) if media_type::is_index(media_type) => true,
            Some(media_type) if media_type::is_manifest(media_type) => false,
            // Some servers call everything JSON or a stream of bytes.
            None | Some("application/json" | "application/octet-stream" | "text/plain") => is_list,
            Some(other) => {
                return Err(InvalidDocument::MediaType {
                    digest,
                    media_type: other.to_owned(),
                });
            }
        };
        if index {
            let parsed = serde_json::from_slice(bytes).map_err(json("image index"))?;
            Ok(Self::Index(parsed))
        } else {
            let parsed = serde_json::from_slice(bytes).map_err(json("image manifest"))?;
            Ok(Self::Manifest(parsed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str, platform: Option<&str>) -> Descriptor {
        Descriptor {
            platform: platform.map(|text| text.parse().unwrap()),
            ..Descriptor::of(media_type, platform.unwrap_or("x").as_bytes())
        }
    }

    #[test]
    fn documents_round_trip() {
        let config = descriptor(media_type::OCI_CONFIG, None);
        let layer = descriptor(media_type::OCI_LAYER_GZIP, None);
        let manifest = Manifest::oci(config.clone(), vec![layer.clone()]);
        let (bytes, described) = manifest.encode();
        assert_eq!(described.media_type, media_type::OCI_MANIFEST);
        assert_eq!(
            Document::parse(&bytes, None).unwrap(),
            Document::Manifest(Box::new(manifest))
        );
        let index = Index::docker(vec![described]);
        let (bytes, described) = index.encode();
        assert_eq!(described.media_type, media_type::DOCKER_MANIFEST_LIST);
        assert_eq!(
            Document::parse(&bytes, None).unwrap(),
            Document::Index(Box::new(index))
        );
    }

    /// Written once and for all: a changed byte changes the digest of every image.
    #[test]
    fn the_bytes_of_a_manifest_are_pinned() {
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            vec![Descriptor::of(media_type::OCI_LAYER_GZIP, b"layer")],
        );
        let (bytes, _) = manifest.encode();
        let layer = Digest::of(b"layer");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            [
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","#,
                r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"#,
                r#""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","#,
                &format!(r#""digest":"{layer}","size":5}}]}}"#),
            ]
            .concat()
        );
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}"#;
        for (text, media_type, expected) in [
            (manifest, None, "both a manifest and an index"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None, "schema 1"),
            ("{}", Some(media_type::DOCKER_SCHEMA1_SIGNED), "schema 1"),
            ("{}", Some("text/html"), "no image"),
            (
                "{}",
                Some(media_type::OCI_MANIFEST),
                "not a valid image manifest",
            ),
            ("{}", Some(media_type::OCI_INDEX), "not a valid image index"),
            ("[", None, "not a valid manifest"),
            (
                r#"{"schemaVersion":2,"mediaType":"application/x"}"#,
                None,
                "no image",
            ),
            (
                &" ".repeat(4 * 1024 * 1024 + 1),
                None,
                "more than the 4194304",
            ),
        ] {
            let error = Document::parse(text.as_bytes(), media_type).unwrap_err();
            let shown: String = text.chars().take(60).collect();
            assert!(error.to_string().contains(expected), "{shown}: {error}");
        }
    }

    #[test]
    fn an_index_gives_the_image_of_the_platform() {
        let mut attestation = descriptor(media_type::OCI_MANIFEST, None);
        attestation.annotations.insert(
            ATTESTATION_TYPE_KEY.to_owned(),
            "attestation-manifest".to_owned(),
        );
        let arm = descriptor(media_type::OCI_MANIFEST, Some("linux/arm64"));
        let amd = descriptor(media_type::OCI_MANIFEST, Some("linux/amd64"));
        let index = Index::oci(vec![attestation.clone(), arm, amd.clone()]);
        assert_eq!(index.select(&"linux/amd64".parse().unwrap()), Ok(&amd));
        let offered = index.select(&"linux/s390x".parse().unwrap()).unwrap_err();
        assert_eq!(offered.len(), 2);
        let bare = descriptor(media_type::DOCKER_MANIFEST, None);
        let index = Index::oci(vec![attestation, bare.clone()]);
        assert_eq!(index.select(&"linux/s390x".parse().unwrap()), Ok(&bare));
    }
}

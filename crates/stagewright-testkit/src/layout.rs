//! Images written by hand, as OCI layouts.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::LayerTar;

/// An image in the making.
#[derive(Debug, Default)]
pub struct ImageWriter {
    layers: Vec<Vec<u8>>,
    config: Map<String, Value>,
    env: Vec<String>,
    plain: bool,
}

impl ImageWriter {
    /// Starts an image without layers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: LayerTar) -> Self {
        self.layers.push(layer.finish());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Sets a field of the config's `config` object, named as the image specification does.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Self {
        self.config.insert(field.to_owned(), value);
        self
    }

    /// Leaves the layers uncompressed.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Writes the image as an OCI layout into a folder that is made, under a tag.
    pub fn write(mut self, folder: &Path, tag: &str) {
        let blobs = folder.join("blobs/sha256");
        fs_err::create_dir_all(&blobs).unwrap();
        let diff_ids: Vec<String> = self.layers.iter().map(|tar| digest(tar)).collect();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|tar| self.put_layer(&blobs, tar))
            .collect();
        self.config.insert("Env".to_owned(), json!(self.env));
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "2023-11-14T22:13:20Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": diff_ids.iter().map(|_| json!({ "created_by": "fixture" })).collect::<Vec<_>>(),
        });
        let config = put(
            &blobs,
            "application/vnd.oci.image.config.v1+json",
            config.to_string(),
        );
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        let mut manifest = put(
            &blobs,
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string(),
        );
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        manifest["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs_err::write(folder.join("index.json"), index.to_string()).unwrap();
        fs_err::write(
            folder.join("oci-layout"),
            r#"{"imageLayoutVersion": "1.0.0"}"#,
        )
        .unwrap();
    }

    fn put_layer(&self, blobs: &Path, tar: &[u8]) -> Value {
        if self.plain {
            return put(blobs, "application/vnd.oci.image.layer.v1.tar", tar);
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        put(
            blobs,
            "application/vnd.oci.image.layer.v1.tar+gzip",
            gzip.finish().unwrap(),
        )
    }
}

fn put(blobs: &Path, media_type: &str, content: impl AsRef<[u8]>) -> Value {
    let content = content.as_ref();
    let digest = digest(content);
    let name = digest.trim_start_matches("sha256:");
    fs_err::write(blobs.join(name), content).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns this machine's architecture as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

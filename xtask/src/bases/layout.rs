//! Writes a root file system's tar and a config as an OCI layout.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::make::LABEL;

/// A root file system with what its image says.
#[derive(Debug)]
pub(super) struct BaseImage {
    /// The file system, as one uncompressed tar.
    pub(super) tar: PathBuf,
    /// The environment.
    pub(super) env: Vec<String>,
    /// The command.
    pub(super) cmd: Vec<String>,
}

/// Writes the image into a folder that is made.
pub(super) fn write(image: &BaseImage, folder: &Path, tag: &str) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs_err::create_dir_all(&blobs)?;
    let (layer, diff_id) = put_layer(&blobs, &image.tar)?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": { "Env": image.env, "Cmd": image.cmd, "Labels": { LABEL.0: LABEL.1 } },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": "2023-11-14T22:13:20Z", "created_by": LABEL.1 }],
    });
    let config = put(&blobs, "application/vnd.oci.image.config.v1+json", &config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let mut manifest = put(
        &blobs,
        "application/vnd.oci.image.manifest.v1+json",
        &manifest,
    )?;
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs_err::write(folder.join("index.json"), index.to_string())?;
    fs_err::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion": "1.0.0"}"#,
    )?;
    Ok(())
}

fn put(blobs: &Path, media_type: &str, document: &Value) -> Result<Value> {
    let bytes = document.to_string().into_bytes();
    let name = hex(&Sha256::digest(&bytes));
    fs_err::write(blobs.join(&name), &bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{name}"), "size": bytes.len() }))
}

/// Compresses the tar into a blob; returns its descriptor and the digest of the tar itself.
fn put_layer(blobs: &Path, tar: &Path) -> Result<(Value, String)> {
    let temporary = blobs.join("layer");
    let blob = Hashing::new(io::BufWriter::new(fs_err::File::create(&temporary)?));
    let mut gzip = GzEncoder::new(blob, Compression::new(6));
    let mut source = Hashing::new(fs_err::File::open(tar)?);
    io::copy(&mut source, &mut gzip)?;
    let mut blob = gzip.finish()?;
    blob.inner.flush()?;
    let name = hex(&blob.hasher.finalize());
    fs_err::rename(&temporary, blobs.join(&name))?;
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": format!("sha256:{name}"),
        "size": blob.bytes,
    });
    Ok((
        descriptor,
        format!("sha256:{}", hex(&source.hasher.finalize())),
    ))
}

/// A reader or writer that hashes what passes.
struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.pass(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.pass(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_names_what_it_holds() {
        let folder = tempfile::tempdir().expect("because /tmp is writable");
        let tar = folder.path().join("rootfs.tar");
        fs_err::write(&tar, vec![0; 1024]).expect("because the folder is ours");
        let image = BaseImage {
            tar,
            env: vec!["A=1".to_owned()],
            cmd: vec!["sh".to_owned()],
        };
        let layout = folder.path().join("layout");
        write(&image, &layout, "1").expect("because the tar is there");
        let read = |path: &Path| -> Value {
            serde_json::from_slice(&fs_err::read(path).expect("because it was written"))
                .expect("because it is JSON")
        };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"]
                .as_str()
                .expect("because a digest is a string");
            layout.join("blobs").join(digest.replace(':', "/"))
        };
        let manifest = read(&blob(&read(&layout.join("index.json"))["manifests"][0]));
        let config = read(&blob(&manifest["config"]));
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
        );
        assert_eq!(config["config"]["Labels"][LABEL.0], LABEL.1);
        let layer = fs_err::metadata(blob(&manifest["layers"][0])).expect("because it is there");
        assert_eq!(manifest["layers"][0]["size"], layer.len());
    }
}

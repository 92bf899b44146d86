//! An image as it was written: its config and its flattened root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Rootfs;
use crate::layout::architecture;

/// An image read back.
#[derive(Debug, Clone)]
pub struct Image {
    /// What its config says.
    pub config: ImageConfig,
    /// What its layers make.
    pub rootfs: Rootfs,
    /// The manifest's layer descriptors, as they stand there.
    pub layers: Vec<Value>,
}

/// The fields of an image config that two builders must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The environment, in its order.
    pub env: Vec<String>,
    /// The command.
    pub cmd: Vec<String>,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// The user, as written.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The ports.
    pub exposed_ports: BTreeSet<String>,
    /// The volumes.
    pub volumes: BTreeSet<String>,
    /// The stop signal.
    pub stop_signal: String,
    /// The instructions for children.
    pub on_build: Vec<String>,
    /// The shell, when one was set.
    pub shell: Vec<String>,
    /// The operating system and architecture.
    pub platform: String,
    /// One entry an instruction.
    pub history: Vec<HistoryEntry>,
}

/// An entry of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// What made it.
    pub created_by: String,
    /// Whether it added no layer.
    pub empty_layer: bool,
}

impl Image {
    /// Reads an image from an OCI layout (a folder or a tar) or a docker archive. Of an index,
    /// this machine's image is read.
    ///
    /// # Panics
    ///
    /// When there is none of these at the path, or something in it is missing or broken.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        if path.is_dir() {
            return read_layout(path);
        }
        let unpacked = tempfile::tempdir().unwrap();
        tar::Archive::new(fs_err::File::open(path).unwrap())
            .unpack(unpacked.path())
            .unwrap();
        if unpacked.path().join("oci-layout").exists() {
            read_layout(unpacked.path())
        } else {
            read_docker_archive(unpacked.path())
        }
    }
}

fn read_layout(folder: &Path) -> Image {
    let index = read_json(&folder.join("index.json"));
    let mut manifest = index;
    // An index may hold indexes, as far down as somebody liked to nest them.
    while let Some(manifests) = manifest["manifests"].as_array() {
        let chosen = manifests
            .iter()
            .find(|one| one["platform"]["architecture"] == architecture())
            .or_else(|| manifests.first());
        let chosen = chosen.unwrap_or_else(|| panic!("{} is an empty index", folder.display()));
        manifest = read_json(&blob(folder, chosen));
    }
    let config = read_json(&blob(folder, &manifest["config"]));
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    let files: Vec<PathBuf> = layers.iter().map(|layer| blob(folder, layer)).collect();
    Image {
        config: read_config(&config),
        rootfs: flatten(&files),
        layers,
    }
}

fn read_docker_archive(folder: &Path) -> Image {
    let manifest = read_json(&folder.join("manifest.json"));
    let image = &manifest[0];
    let config = read_json(&folder.join(text(&image["Config"])));
    let layers = image["Layers"].as_array().cloned().unwrap_or_default();
    let files: Vec<PathBuf> = layers
        .iter()
        .map(|layer| folder.join(text(layer)))
        .collect();
    Image {
        config: read_config(&config),
        rootfs: flatten(&files),
        layers,
    }
}

fn flatten(files: &[PathBuf]) -> Rootfs {
    let mut rootfs = Rootfs::default();
    for file in files {
        rootfs.apply(uncompressed(file));
    }
    rootfs
}

/// Opens a layer by what its first bytes say, not by its media type: a wrong media type is for
/// the tests of media types to find.
fn uncompressed(file: &Path) -> Box<dyn Read> {
    let mut reader = std::io::BufReader::with_capacity(1 << 18, fs_err::File::open(file).unwrap());
    let head = std::io::BufRead::fill_buf(&mut reader).unwrap();
    if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(reader).unwrap())
    } else {
        Box::new(reader)
    }
}

fn read_json(path: &Path) -> Value {
    let bytes = fs_err::read(path).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blob(folder: &Path, descriptor: &Value) -> PathBuf {
    folder
        .join("blobs")
        .join(text(&descriptor["digest"]).replace(':', "/"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn read_config(document: &Value) -> ImageConfig {
    let config = &document["config"];
    let list = |field: &str| -> Vec<String> {
        let items = config[field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        items.iter().map(|item| text(item).to_owned()).collect()
    };
    let keys = |field: &str| -> BTreeSet<String> {
        config[field]
            .as_object()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default()
    };
    let labels = config["Labels"].as_object().cloned().unwrap_or_default();
    let history = document["history"].as_array().cloned().unwrap_or_default();
    ImageConfig {
        env: list("Env"),
        cmd: list("Cmd"),
        entrypoint: list("Entrypoint"),
        user: text(&config["User"]).to_owned(),
        working_dir: text(&config["WorkingDir"]).to_owned(),
        labels: labels
            .iter()
            .map(|(k, v)| (k.clone(), text(v).to_owned()))
            .collect(),
        exposed_ports: keys("ExposedPorts"),
        volumes: keys("Volumes"),
        stop_signal: text(&config["StopSignal"]).to_owned(),
        on_build: list("OnBuild"),
        shell: list("Shell"),
        platform: format!(
            "{}/{}",
            text(&document["os"]),
            text(&document["architecture"])
        ),
        history: history.iter().map(read_history).collect(),
    }
}

fn read_history(entry: &Value) -> HistoryEntry {
    HistoryEntry {
        created_by: text(&entry["created_by"]).to_owned(),
        empty_layer: entry["empty_layer"].as_bool().unwrap_or(false),
    }
}

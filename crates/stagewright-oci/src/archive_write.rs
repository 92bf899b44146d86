//! Writing images as one tar: the tar form of an image layout, and Docker's archive.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use stagewright_digest::Digest;

use crate::image::ImageError;
use crate::layout::{INDEX_NAME, MARKER, MARKER_NAME, blob_name};
use crate::layout_write::index_entries;
use crate::manifest::{Index, Manifest};
use crate::outgoing::{OutgoingBlob, OutgoingImage};

/// The file by which Docker knows its archives.
pub(crate) const DOCKER_MANIFEST_NAME: &str = "manifest.json";

/// One image in `manifest.json` of a Docker archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerEntry {
    pub(crate) config: String,
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "crate::null::as_default")]
    pub(crate) layers: Vec<String>,
}

/// Writes the tar form of an image layout. Equal images give equal bytes.
pub fn write_layout_archive(image: &OutgoingImage, out: impl Write) -> Result<(), ImageError> {
    write(image, None, out)
}

/// Writes what `docker load` and `podman load` read.
///
/// As Docker itself and BuildKit do, the archive is an image layout too; `manifest.json` points
/// into its blobs. Docker's form holds images of one platform: of several, each gets an entry.
/// Equal images give equal bytes.
pub fn write_docker_archive(image: &OutgoingImage, out: impl Write) -> Result<(), ImageError> {
    let tags: Vec<String> = image
        .names
        .iter()
        .filter(|name| name.tag().is_some())
        .map(|name| name.without_digest().familiar())
        .collect();
    let entry = |manifest: &Manifest| DockerEntry {
        config: blob_name(&manifest.config.digest),
        repo_tags: tags.clone(),
        layers: manifest
            .layers
            .iter()
            .map(|layer| blob_name(&layer.digest))
            .collect(),
    };
    let entries: Vec<_> = image.manifests().iter().map(entry).collect();
    let bytes = serde_json::to_vec(&entries).expect("because the document has no maps");
    write(image, Some(bytes), out)
}

/// A file of the archive.
enum Content<'a> {
    Folder,
    Bytes(Vec<u8>),
    Blob(&'a OutgoingBlob),
}

fn write(
    image: &OutgoingImage,
    docker_manifest: Option<Vec<u8>>,
    out: impl Write,
) -> Result<(), ImageError> {
    let (index, _) = Index::oci(index_entries(image)).encode();
    // Sorted by name, as containerd writes them.
    let mut entries = BTreeMap::from([
        ("blobs/".to_owned(), Content::Folder),
        (format!("blobs/{}/", Digest::ALGORITHM), Content::Folder),
        (INDEX_NAME.to_owned(), Content::Bytes(index)),
        (MARKER_NAME.to_owned(), Content::Bytes(MARKER.into())),
    ]);
    if let Some(bytes) = docker_manifest {
        entries.insert(DOCKER_MANIFEST_NAME.to_owned(), Content::Bytes(bytes));
    }
    for blob in image.blobs() {
        entries.insert(blob_name(&blob.descriptor.digest), Content::Blob(blob));
    }
    let mut archive = tar::Builder::new(out);
    for (name, content) in entries {
        append(&mut archive, &name, content)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    content: Content<'_>,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    match content {
        Content::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            header.set_cksum();
            archive.append(&header, io::empty())
        }
        Content::Bytes(bytes) => {
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            archive.append(&header, bytes.as_slice())
        }
        Content::Blob(blob) => {
            header.set_size(blob.descriptor.size);
            header.set_cksum();
            // The reader fails unless it gives exactly as many bytes as the header says.
            archive.append(&header, blob.open()?)
        }
    }
}

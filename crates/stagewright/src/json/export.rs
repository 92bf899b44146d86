//! Exports in JSON.

use std::path::PathBuf;

use serde::Deserialize;

use super::request::parse;
use crate::error::Error;
use crate::export::{Compression, Export, ExportKind};

/// An [`Export`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportJson {
    kind: KindJson,
    dest: PathBuf,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    compression: Option<CompressionJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindJson {
    OciDirectory,
    OciArchive,
    DockerArchive,
    Directory,
    Tar,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum CompressionJson {
    Uncompressed,
    Gzip,
    Zstd,
}

/// Reads an export.
///
/// # Errors
/// [`crate::ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_export(text: &str) -> Result<Export, Error> {
    let json: ExportJson = parse(text)?;
    Ok(Export {
        kind: match json.kind {
            KindJson::OciDirectory => ExportKind::OciDirectory,
            KindJson::OciArchive => ExportKind::OciArchive,
            KindJson::DockerArchive => ExportKind::DockerArchive,
            KindJson::Directory => ExportKind::Directory,
            KindJson::Tar => ExportKind::Tar,
        },
        dest: json.dest,
        names: json.names,
        compression: match json.compression {
            None => Compression::default(),
            Some(CompressionJson::Uncompressed) => Compression::Uncompressed,
            Some(CompressionJson::Gzip) => Compression::Gzip,
            Some(CompressionJson::Zstd) => Compression::Zstd,
        },
    })
}

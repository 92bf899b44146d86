//! Exports in JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::request::parse;
use crate::error::{Error, ErrorKind};
use crate::export::{Annotation, Compression, Export, ExportKind, Push};

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
    #[serde(default)]
    compression_level: Option<i32>,
    #[serde(default)]
    force_compression: bool,
    #[serde(default)]
    oci_media_types: Option<bool>,
    #[serde(default)]
    latest_file_time: Option<i64>,
    /// By key, as `--annotation` has them: `[LEVEL:]KEY`.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    inline_cache: bool,
}

/// A [`Push`], and the form in which the image goes.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PushJson {
    names: Vec<String>,
    compression: Option<CompressionJson>,
    compression_level: Option<i32>,
    force_compression: bool,
    oci_media_types: Option<bool>,
    latest_file_time: Option<i64>,
    annotations: BTreeMap<String, String>,
    inline_cache: bool,
    by_digest: bool,
    insecure: bool,
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
    Estargz,
}

impl From<CompressionJson> for Compression {
    fn from(compression: CompressionJson) -> Self {
        match compression {
            CompressionJson::Uncompressed => Self::Uncompressed,
            CompressionJson::Gzip => Self::Gzip,
            CompressionJson::Zstd => Self::Zstd,
            CompressionJson::Estargz => Self::Estargz,
        }
    }
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
        compression: json.compression.map(Into::into).unwrap_or_default(),
        compression_level: json.compression_level,
        force_compression: json.force_compression,
        oci_media_types: json.oci_media_types,
        latest_file_time: json.latest_file_time,
        annotations: annotations(json.annotations)?,
        inline_cache: json.inline_cache,
    })
}

/// Reads how an image is pushed.
///
/// # Errors
/// [`crate::ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_push(text: &str) -> Result<(Export, Push), Error> {
    let json: PushJson = parse(text)?;
    let export = Export {
        names: json.names,
        compression: json.compression.map(Into::into).unwrap_or_default(),
        compression_level: json.compression_level,
        force_compression: json.force_compression,
        oci_media_types: json.oci_media_types,
        latest_file_time: json.latest_file_time,
        annotations: annotations(json.annotations)?,
        inline_cache: json.inline_cache,
        ..Export::default()
    };
    let push = Push {
        by_digest: json.by_digest,
        insecure: json.insecure,
    };
    Ok((export, push))
}

fn annotations(given: BTreeMap<String, String>) -> Result<Vec<Annotation>, Error> {
    let mut all = Vec::new();
    for (key, value) in given {
        if key.contains('=') {
            let message = format!("the annotation {key:?} has an equals sign in its key");
            return Err(Error::new(ErrorKind::Request, message));
        }
        all.extend(Annotation::parse_all(&format!("{key}={value}"))?);
    }
    Ok(all)
}

//! Named contexts as they are written in one line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::request::{NamedContext, is_remote_source};

impl FromStr for NamedContext {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |message: String| Err(Error::new(ErrorKind::Request, message));
        Ok(if let Some(image) = text.strip_prefix("docker-image://") {
            Self::Image(image.to_owned())
        } else if let Some(layout) = text.strip_prefix("oci-layout://") {
            let (path, reference) = split_reference(layout);
            Self::OciLayout { path, reference }
        } else if let Some(archive) = text.strip_prefix("docker-archive://") {
            let (path, reference) = split_reference(archive);
            Self::DockerArchive { path, reference }
        } else if is_remote_source(text) {
            Self::Remote(text.to_owned())
        } else if text.starts_with("target:") {
            return fail(
                "target: names a target of a bake file, and there is none; name a stage in the Dockerfile instead"
                    .to_owned(),
            );
        } else if let Some((scheme, _)) = text.split_once("://") {
            return fail(format!(
                "there is no {scheme} context; use a folder, an address of http or git, docker-image://, oci-layout:// or docker-archive://"
            ));
        } else {
            Self::Directory(PathBuf::from(text))
        })
    }
}

/// Splits `PATH@DIGEST` or `PATH:TAG`, where the tag comes after the last slash.
fn split_reference(text: &str) -> (PathBuf, Option<String>) {
    let last_name = text.rfind('/').map_or(0, |slash| slash + 1);
    let at = text[last_name..]
        .find('@')
        .or_else(|| text[last_name..].find(':'))
        .map(|at| last_name + at);
    match at {
        Some(at) => (PathBuf::from(&text[..at]), Some(text[at + 1..].to_owned())),
        None => (PathBuf::from(text), None),
    }
}

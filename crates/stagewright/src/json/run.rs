//! Running an image, in JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::request::parse;
use crate::error::Error;
use crate::run_image::RunOptions;

/// [`RunOptions`].
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RunJson {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    user: Option<String>,
    workdir: Option<String>,
}

/// Reads how an image is run.
///
/// # Errors
/// [`crate::ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_run(text: &str) -> Result<RunOptions, Error> {
    let json: RunJson = parse(text)?;
    Ok(RunOptions {
        command: json.command,
        env: json.env.into_iter().collect(),
        user: json.user,
        workdir: json.workdir,
    })
}

//! Options of copies in JSON.

use serde::Deserialize;

use super::request::parse;
use crate::error::Error;
use crate::transfer::CopyOptions;

/// [`CopyOptions`], and whether attestations are read where an image is looked at.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CopyJson {
    platform: Option<String>,
    insecure: bool,
    predicates: bool,
}

/// Reads how an image is copied, pulled, loaded or looked at, and whether its attestations are read.
///
/// # Errors
/// [`crate::ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_copy(text: &str) -> Result<(CopyOptions, bool), Error> {
    let json: CopyJson = parse(text)?;
    let options = CopyOptions {
        platform: json.platform,
        insecure: json.insecure,
    };
    Ok((options, json.predicates))
}

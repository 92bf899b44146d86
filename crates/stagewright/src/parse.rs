//! Looking at a Dockerfile without building it.

use stagewright_dockerfile::Dockerfile;

use crate::error::Error;
use crate::failure;
use crate::input::Source;

/// Parses a Dockerfile and returns its instructions with their places, as JSON.
///
/// # Errors
/// [`crate::ErrorKind::Dockerfile`] with a drawing of the place when it is wrong.
pub fn parse_dockerfile(name: &str, bytes: &[u8]) -> Result<serde_json::Value, Error> {
    let source = Source {
        name: name.to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let dockerfile = Dockerfile::parse(bytes).map_err(|error| failure::of_parse(error, &source))?;
    serde_json::to_value(&dockerfile)
        .map_err(|error| Error::new(crate::ErrorKind::Internal, error.to_string()))
}

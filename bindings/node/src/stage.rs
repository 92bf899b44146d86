//! Stages that are written in code.

use napi_derive::napi;

use crate::errors::thrown;

/// Writes stages as a Dockerfile.
#[napi]
pub fn to_dockerfile(stages: String) -> napi::Result<String> {
    stagewright::json::parse_stage(&stages)
        .and_then(|stage| stage.to_dockerfile())
        .map_err(|error| thrown(&error))
}

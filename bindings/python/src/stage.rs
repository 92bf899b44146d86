//! Stages that are written in code.

use pyo3::prelude::*;

use crate::errors::detached;

/// Writes stages as a Dockerfile.
#[pyfunction]
pub(crate) fn to_dockerfile(py: Python<'_>, stages: &str) -> PyResult<String> {
    detached(py, || {
        stagewright::json::parse_stage(stages)?.to_dockerfile()
    })
}

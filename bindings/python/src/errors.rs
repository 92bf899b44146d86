//! Errors of the facade as exceptions.

use pyo3::prelude::*;
use stagewright::{Error, json};

/// Makes the exception of an error's kind.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let made = py
        .import("stagewright._errors")
        .and_then(|module| module.call_method1("make", (json::error(error).to_string(),)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Runs something of the facade with Python's lock released.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    run: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(run).map_err(|error| raised(py, &error))
}

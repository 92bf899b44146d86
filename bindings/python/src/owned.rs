//! What belongs to the process that made it.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// A value with threads behind it, which a forked child has not: there it is neither used nor
/// dropped.
pub(crate) struct Owned<T> {
    process: u32,
    /// Absent while it is dropped only.
    value: Option<T>,
}

impl<T> Owned<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: std::process::id(),
            value: Some(value),
        }
    }

    /// Returns the value, in the process that made it only.
    pub(crate) fn get(&self) -> PyResult<&T> {
        match &self.value {
            Some(value) if self.process == std::process::id() => Ok(value),
            _ => Err(PyRuntimeError::new_err(
                "this belongs to the process that was forked: make a Builder of its own in the child, or start it with the \"spawn\" method",
            )),
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

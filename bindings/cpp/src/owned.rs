//! What belongs to the process that made it.

use stagewright::{Error, ErrorKind};

use crate::thrown::Thrown;

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
    pub(crate) fn get(&self) -> Result<&T, Thrown> {
        if let Some(value) = &self.value
            && self.process == std::process::id()
        {
            return Ok(value);
        }
        let message =
            "this belongs to the process that was forked: make a Builder of its own in the child";
        Err(Error::new(ErrorKind::Request, message).into())
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

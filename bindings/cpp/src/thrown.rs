//! Errors of the facade as what the bridge throws.

use std::fmt;

use stagewright::{Error, json};

/// An error in JSON; C++ makes an exception of its kind of it.
#[derive(Debug, Clone)]
pub(crate) struct Thrown(String);

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Thrown {
    fn from(error: Error) -> Self {
        Self(json::error(&error).to_string())
    }
}

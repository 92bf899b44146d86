//! Errors of the facade as errors of JavaScript, whose message is the error in JSON.

use stagewright::{Error, json};

pub(crate) fn thrown(error: &Error) -> napi::Error {
    napi::Error::from_reason(json::error(error).to_string())
}

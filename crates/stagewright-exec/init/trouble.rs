//! What is reported when something does not work.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::message::{Failure, FailureKind};
use crate::wire::Bytes;

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// `subject` is the path or word that it was done to.
    fn doing(self, doing: &str, subject: impl AsRef<OsStr>) -> Result<T, Failure>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str, subject: impl AsRef<OsStr>) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            kind: FailureKind::Setup,
            doing: doing.to_owned(),
            subject: Bytes(subject.as_ref().as_bytes().to_vec()),
            errno: error.raw_os_error().unwrap_or(0),
        })
    }
}

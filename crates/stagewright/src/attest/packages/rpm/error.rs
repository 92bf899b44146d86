//! What can be wrong with a database.

use std::io;

/// Why a database, or a part of one, says nothing.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum DatabaseError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is no database of {format}")]
    OtherFormat { format: &'static str },
    #[error("it is a database of {format} {what}, which is not supported")]
    Unsupported {
        format: &'static str,
        what: &'static str,
    },
    #[error("it has {bytes} bytes, and something of it lies behind them, at {offset}")]
    Cut { bytes: u64, offset: u64 },
    /// Also blobs and slots of formats without pages are told by the page that they are of.
    #[error("its page {page} {what}")]
    Page { page: u64, what: &'static str },
    #[error("the header of a package {what}")]
    Header { what: &'static str },
    #[error("it says more than {most} of its packages")]
    TooMuch { most: &'static str },
}

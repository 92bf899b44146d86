//! What can go wrong with a service that keeps caches, and what to do about it.

use std::io;

use thiserror::Error;

use crate::http_fetch::HttpError;

/// A service did not give, or did not take, what it was asked for.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// Something is missing without which the service cannot be asked.
    #[error("{service} cannot be used: {reason}")]
    Settings {
        /// The service, as people call it.
        service: &'static str,
        /// What is missing or wrong, and how to give it.
        reason: String,
    },
    /// No connection, or one that kept breaking.
    #[error(
        "cannot reach {service} for {what}: {reason}; check the address, the network and the proxy"
    )]
    Unreachable {
        /// The service.
        service: &'static str,
        /// What it was asked for.
        what: String,
        /// What the connection said.
        reason: String,
    },
    /// 401 or 403: who asks is not known, or may not.
    #[error(
        "{service} denies access to {what}{}; check the key or token, and what it allows",
        said(message)
    )]
    Denied {
        /// The service.
        service: &'static str,
        /// What it was asked for.
        what: String,
        /// What it said.
        message: String,
    },
    /// 404.
    #[error("{service} does not have {what}{}", said(message))]
    NotFound {
        /// The service.
        service: &'static str,
        /// What it was asked for.
        what: String,
        /// What it said.
        message: String,
    },
    /// Any other answer that is no success.
    #[error("{service} answered {status} for {what}{}", said(message))]
    Status {
        /// The service.
        service: &'static str,
        /// What it was asked for.
        what: String,
        /// The status code.
        status: u16,
        /// What it said.
        message: String,
    },
    /// A success that says that it is none.
    #[error("{service} does not take {what}{}", said(message))]
    Refused {
        /// The service.
        service: &'static str,
        /// What it was to take.
        what: String,
        /// What it said.
        message: String,
    },
    /// An answer that its protocol does not allow.
    #[error("{service} does not keep to its protocol: {reason} (asked for {what})")]
    Protocol {
        /// The service.
        service: &'static str,
        /// What it was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A download that came to no good end.
    #[error("{service}: {source}")]
    Download {
        /// The service.
        service: &'static str,
        /// What went wrong.
        source: Box<HttpError>,
    },
    /// What is to be sent cannot be read.
    #[error("{what}: {source}")]
    Local {
        /// What was on its way.
        what: String,
        /// The error of the file.
        source: io::Error,
    },
    /// It took longer than it may.
    #[error("{service} took longer than {seconds} s; allow more with timeout=")]
    Timeout {
        /// The service.
        service: &'static str,
        /// How long it may take.
        seconds: u64,
    },
}

impl ServiceError {
    /// Returns whether the service said that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" ({message})"),
    }
}

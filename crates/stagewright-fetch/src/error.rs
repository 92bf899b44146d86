//! What can go wrong on the network, and what to do about it.

use std::io;
use std::time::Duration;

use stagewright_digest::Digest;
use stagewright_oci::{ImageError, InvalidDocument, InvalidReference};
use thiserror::Error;

/// A registry did not give, or did not take, what it was asked for.
///
/// `registry` is the host that was asked, which for a mirror differs from the one in the reference.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No connection.
    #[error(
        "cannot reach the registry {registry} for {reference}: {reason}; check the name, the network and the proxy, or name a mirror"
    )]
    Unreachable {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the connection said.
        reason: String,
    },
    /// A connection, but no trust.
    #[error(
        "the certificate of the registry {registry} is not trusted ({reason}), asked for {reference}; put its CA into certs.d/{registry}/ca.crt, or mark the registry as insecure"
    )]
    Certificate {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the TLS library said.
        reason: String,
    },
    /// The connection broke and kept breaking.
    #[error(
        "the connection to the registry {registry} broke {attempts} times while transferring {what}: {reason}"
    )]
    Broken {
        /// The host that was asked.
        registry: String,
        /// What was on its way.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// What the last connection said.
        reason: String,
    },
    /// 401: credentials are missing or wrong.
    #[error(
        "the registry {registry} wants a login for {reference}{}; log in with `docker login {registry}` or `podman login {registry}`",
        said(message)
    )]
    Unauthorized {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// 403: credentials are not enough.
    #[error(
        "the registry {registry} denies access to {reference}{}; check the name, and whether the account that is logged in may use it",
        said(message)
    )]
    Denied {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// 404.
    #[error(
        "the registry {registry} does not have {reference}{}; check the name and the tag",
        said(message)
    )]
    NotFound {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// 429: too many requests, and waiting would take too long.
    #[error("the registry {registry} limits how often it may be asked (for {reference}){}{}; log in for a higher limit, wait, or name a mirror", said(message), wait_text(*retry_after))]
    RateLimited {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What the registry said.
        message: String,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// Any other answer that is no success.
    #[error(
        "the registry {registry} answered {status} for {reference}{}",
        said(message)
    )]
    Status {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// The status code.
        status: u16,
        /// What the registry said.
        message: String,
    },
    /// An answer that the distribution specification does not allow.
    #[error(
        "the registry {registry} does not keep to the protocol: {reason} (asked for {reference})"
    )]
    Protocol {
        /// The host that was asked.
        registry: String,
        /// What it was asked for.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// Bytes that are not those that were named.
    #[error("the registry {registry} sent wrong bytes for {expected}: {reason}")]
    DigestMismatch {
        /// The host that was asked.
        registry: String,
        /// The digest that was asked for.
        expected: Digest,
        /// What came instead.
        reason: String,
    },
    /// The configuration forbids the registry.
    #[error("the registry of {reference} is blocked by {path}")]
    Blocked {
        /// What was asked for.
        reference: String,
        /// The configuration that says so.
        path: String,
    },
    /// No place has it: neither a mirror nor the registry itself.
    #[error("{reference} cannot be had anywhere: {}", list(attempts))]
    Everywhere {
        /// What was asked for.
        reference: String,
        /// What each place said, in the order in which they were asked.
        attempts: Vec<FetchError>,
    },
    /// The document that came is wrong.
    #[error("{reference}: {source}")]
    Document {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        source: Box<InvalidDocument>,
    },
    /// The image is wrong in itself, or not there for the platform.
    #[error("{reference}: {source}")]
    Image {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        source: Box<ImageError>,
    },
    /// A mirror's or blob's name is none.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The credentials cannot be had.
    #[error(transparent)]
    Credentials(#[from] crate::credentials::CredentialError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// What came cannot be written, or what is to be sent cannot be read.
    #[error("{what}: {source}")]
    Local {
        /// What was on its way.
        what: String,
        /// The error of the file.
        source: io::Error,
    },
}

impl FetchError {
    /// Returns whether the registry said that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Everywhere { attempts, .. } => attempts.iter().all(Self::is_not_found),
            _ => false,
        }
    }

    /// Returns whether credentials are missing or do not suffice.
    pub fn is_access(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Denied { .. } => true,
            Self::Everywhere { attempts, .. } => attempts.last().is_some_and(Self::is_access),
            _ => false,
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

fn wait_text(wait: Option<Duration>) -> String {
    match wait {
        Some(wait) => format!(", and asks to wait {} s", wait.as_secs()),
        None => String::new(),
    }
}

fn list(attempts: &[FetchError]) -> String {
    let texts: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Returns an error with all its causes, outermost first, which libraries of HTTP need: their own
/// text says nothing.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

//! What can be wrong with a Dockerfile once it is parsed.

use stagewright_dockerfile::Span;
use thiserror::Error;

/// A Dockerfile cannot be turned into a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct LowerError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where, if it is a place in the Dockerfile.
    pub span: Option<Span>,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// What kind of fault it is.
    pub fault: Fault,
}

/// Whose fault a [`LowerError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The Dockerfile's.
    Dockerfile,
    /// The request's: an unknown target, a bad platform.
    Request,
    /// Ours: it is right and not supported.
    Unsupported,
}

impl LowerError {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: Some(span),
            help: None,
            fault: Fault::Dockerfile,
        }
    }

    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: None,
            help: None,
            fault: Fault::Request,
        }
    }

    pub(crate) fn unsupported(span: Span, message: impl Into<String>) -> Self {
        Self {
            fault: Fault::Unsupported,
            ..Self::at(span, message)
        }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

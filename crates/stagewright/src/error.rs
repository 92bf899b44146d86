//! What can go wrong, by kinds that are the same in every language.

use std::fmt;

/// The kinds of [`Error`]. Each has a stable [code](ErrorKind::code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The Dockerfile is wrong.
    Dockerfile,
    /// The request is wrong: an unknown target, a bad platform, a bad tag.
    Request,
    /// A file that the build names is not in the context or stage.
    NotFound,
    /// A command exited with a status other than 0, or could not be started.
    StepFailed,
    /// A registry could not be reached, refused, or does not have the image.
    Registry,
    /// A file or a repository could not be had from the network.
    Fetch,
    /// An image is damaged, or of a form or platform that cannot be used.
    Image,
    /// The store could not be read or written.
    Store,
    /// This host cannot run steps.
    Sandbox,
    /// An export could not be written.
    Export,
    /// What was asked for is not supported.
    Unsupported,
    /// The build was cancelled.
    Cancelled,
    /// A fault of the program itself.
    Internal,
}

impl ErrorKind {
    /// Returns the kind's code: the same string in every language, never changed.
    pub fn code(self) -> &'static str {
        match self {
            Self::Dockerfile => "dockerfile",
            Self::Request => "request",
            Self::NotFound => "not_found",
            Self::StepFailed => "step_failed",
            Self::Registry => "registry",
            Self::Fetch => "fetch",
            Self::Image => "image",
            Self::Store => "store",
            Self::Sandbox => "sandbox",
            Self::Export => "export",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// An error of the library: a kind for programs, a message for people.
#[derive(Debug)]
pub struct Error {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened, in one line that ends without a full stop.
    pub message: String,
    /// The place in the Dockerfile and a drawing of it, ready to print; several lines.
    pub drawing: Option<String>,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// The vertex that failed, as it is shown.
    pub vertex: Option<String>,
    /// The file that the place is in, as it was asked for.
    pub file: Option<String>,
    /// The line in the Dockerfile, from 1.
    pub line: Option<u32>,
    /// The column in that line, from 1.
    pub column: Option<u32>,
    /// The exit code of the command that failed.
    pub exit_code: Option<i32>,
    /// The last lines that the command wrote.
    pub log_tail: Vec<String>,
}

impl Error {
    /// Makes an error of a kind with a message and nothing else.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            drawing: None,
            help: None,
            vertex: None,
            file: None,
            line: None,
            column: None,
            exit_code: None,
            log_tail: Vec::new(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}:")?;
            if let Some(column) = self.column {
                write!(f, "{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

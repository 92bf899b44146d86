//! What goes wrong, as a person is told of it, and the exit codes.

use std::fmt::Write as _;
use std::process::ExitCode;

/// The command was used in a way that it can't be.
const USAGE: u8 = 2;
/// What was asked for could not be done.
const FAILED: u8 = 1;

/// Why the command ends without having done what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The words on the command line are wrong together, or ask for what is not there.
    Usage(String),
    /// The library could not do it.
    Library(Box<stagewright::Error>),
    /// The command itself could not do it.
    Command(anyhow::Error),
    /// A signal ended it.
    Signal(u8),
    /// What was told already.
    Told(Box<Self>),
}

impl From<stagewright::Error> for Failure {
    fn from(error: stagewright::Error) -> Self {
        Self::Library(Box::new(error))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Command(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Command(error.into())
    }
}

impl Failure {
    /// Returns the exit code.
    pub(crate) fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => USAGE.into(),
            Self::Library(_) | Self::Command(_) => FAILED.into(),
            Self::Signal(number) => (128 + number).into(),
            Self::Told(failure) => failure.code(),
        }
    }

    /// Returns what is printed; nothing for a signal, which somebody sent on purpose.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Usage(message) => {
                format!("error: {message}\n\nFor more information, try '--help'.\n")
            }
            Self::Library(error) => library_text(error),
            Self::Command(error) => format!("error: {error:#}\n"),
            Self::Signal(_) | Self::Told(_) => String::new(),
        }
    }
}

fn library_text(error: &stagewright::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{words}");
    };
    if let Some(drawing) = &error.drawing {
        line(format_args!("{}", drawing.trim_end()));
    }
    if !error.log_tail.is_empty() {
        line(format_args!("the last lines of its log:"));
        for log in &error.log_tail {
            line(format_args!("  | {log}"));
        }
    }
    if let Some(code) = error.exit_code {
        line(format_args!("exit code: {code}"));
    }
    if let Some(help) = &error.help {
        line(format_args!("help: {help}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use stagewright::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_failed_step_is_told_whole() {
        let error = Error {
            file: Some("Dockerfile".to_owned()),
            line: Some(4),
            column: Some(1),
            drawing: Some("4 | RUN false\n".to_owned()),
            exit_code: Some(3),
            log_tail: vec!["one".to_owned(), "two".to_owned()],
            help: Some("look at it".to_owned()),
            ..Error::new(ErrorKind::StepFailed, "the command failed")
        };
        let text = Failure::from(error).text();
        assert_eq!(
            text,
            "error: Dockerfile:4:1: the command failed\n4 | RUN false\nthe last lines of its log:\n  | one\n  | two\nexit code: 3\nhelp: look at it\n"
        );
    }
}

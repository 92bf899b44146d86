//! Errors of the parts, as errors of the library.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use rustix::io::Errno;
use stagewright_dockerfile::{Diagnostic, ParseError, Span};
use stagewright_exec::{ExecError, Resource, Ulimit};
use stagewright_plan::{Fault, LowerError};
use stagewright_solver::{SolveError, StepError};
use stagewright_store::StoreError;

use crate::error::{Error, ErrorKind};
use crate::input::Source;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorKind::Store, chain(&error))
    }
}

/// Writes an error and what caused it on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Transparent layers repeat what they hold.
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// What to do where the kernel says of namespaces or mounts that no space is left.
const NO_MORE_HELP: &str = "this is said as well where there are too many namespaces or mounts: run fewer steps at once with --jobs, or raise user.max_mnt_namespaces and the like, or fs.mount-max";

/// Says why a path that somebody named cannot be looked at.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => error.to_string(),
    }
}

/// Says whether an error is that of a disk without room. By its text: on its way up an error of the system becomes that of a
/// part, and what it was is told by words alone. Errors that quote a user's text are none, nor are those of the sandbox: the kernel
/// says the same where there are too many namespaces or mounts.
pub(crate) fn is_of_full_disk(error: &Error) -> bool {
    let says_more = matches!(
        error.kind,
        ErrorKind::StepFailed
            | ErrorKind::Dockerfile
            | ErrorKind::Request
            | ErrorKind::NotFound
            | ErrorKind::Sandbox
    );
    !says_more
        && [Errno::NOSPC, Errno::DQUOT]
            .iter()
            .any(|errno| says(&error.message, *errno))
}

fn says(message: &str, errno: Errno) -> bool {
    message.contains(&io::Error::from(errno).to_string())
}

/// Adds the place in the Dockerfile and a drawing of it.
fn at(mut error: Error, span: Span, source: &Source) -> Error {
    let diagnostic = Diagnostic {
        file: &source.name,
        source: &source.text,
        span,
        message: &error.message,
        help: None,
    };
    error.drawing = Some(diagnostic.drawing());
    error.file = Some(source.name.clone());
    error.line = Some(span.start.line);
    error.column = Some(span.start.column);
    error
}

pub(crate) fn of_parse(error: ParseError, source: &Source) -> Error {
    let message = Error {
        help: error.help,
        ..Error::new(ErrorKind::Dockerfile, error.message)
    };
    at(message, error.span, source)
}

pub(crate) fn of_lower(error: LowerError, source: &Source) -> Error {
    let kind = match error.fault {
        Fault::Dockerfile => ErrorKind::Dockerfile,
        Fault::Request => ErrorKind::Request,
        Fault::Unsupported => ErrorKind::Unsupported,
    };
    let message = Error {
        help: error.help,
        ..Error::new(kind, error.message)
    };
    match error.span {
        Some(span) => at(message, span, source),
        None => message,
    }
}

pub(crate) fn of_solve(error: SolveError, source: &Source) -> Error {
    let mut message = of_step_at(error.error, error.span, source);
    message.vertex = error.vertex;
    message
}

pub(crate) fn of_step_at(error: StepError, span: Option<Span>, source: &Source) -> Error {
    let message = of_step(error);
    match span {
        Some(span) if message.kind != ErrorKind::Cancelled => at(message, span, source),
        _ => message,
    }
}

pub(crate) fn of_step(error: StepError) -> Error {
    let kind = match &error {
        StepError::Exit { .. } | StepError::Signal { .. } => ErrorKind::StepFailed,
        StepError::NotFound { .. } => ErrorKind::NotFound,
        StepError::Copy(_) | StepError::UnknownUser { .. } => ErrorKind::StepFailed,
        StepError::MissingSecret { .. }
        | StepError::MissingSshAgent { .. }
        | StepError::SshAgent(_)
        | StepError::NotAllowed { .. } => ErrorKind::Request,
        StepError::Unsupported(_) => ErrorKind::Unsupported,
        StepError::Fetch(_) => ErrorKind::Fetch,
        StepError::Image { registry: true, .. } => ErrorKind::Registry,
        StepError::Image { .. } => ErrorKind::Image,
        StepError::Store(_) | StepError::Snapshot(_) => ErrorKind::Store,
        StepError::Context(error) if error.is_not_found() => ErrorKind::NotFound,
        StepError::Context(_) => ErrorKind::Request,
        StepError::Exec(error) if error.shell_code().is_some() => ErrorKind::StepFailed,
        StepError::Exec(ExecError::TimedOut(_)) => ErrorKind::StepFailed,
        StepError::Exec(_) | StepError::Probe(_) => ErrorKind::Sandbox,
        StepError::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Internal,
    };
    let mut message = Error::new(kind, chain(&error));
    if kind == ErrorKind::Sandbox && says(&message.message, Errno::NOSPC) {
        message.help = Some(NO_MORE_HELP.to_owned());
    }
    match error {
        StepError::Exit { code, log_tail, .. } => {
            message.exit_code = Some(code);
            message.log_tail = log_tail;
        }
        StepError::Signal {
            signal, log_tail, ..
        } => {
            message.exit_code = Some(128 + signal);
            message.log_tail = log_tail;
        }
        StepError::Exec(error) => message.exit_code = error.shell_code(),
        _ => {}
    }
    message
}

/// Checks the addresses of `--add-host`.
pub(crate) fn hosts(hosts: &[(String, String)]) -> Result<Vec<(String, IpAddr)>, Error> {
    hosts
        .iter()
        .map(|(name, address)| {
            let parsed = address
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .map_err(|_| {
                    Error::new(
                        ErrorKind::Request,
                        format!("{address:?} is no address for the host {name}"),
                    )
                })?;
            Ok((name.clone(), parsed))
        })
        .collect()
}

/// Checks the names of `--ulimit`.
pub(crate) fn ulimits(limits: &[(String, u64, u64)]) -> Result<Vec<Ulimit>, Error> {
    limits
        .iter()
        .map(|(name, soft, hard)| {
            let resource = Resource::from_name(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Request,
                    format!("there is no resource limit {name:?}"),
                )
            })?;
            Ok(Ulimit {
                resource,
                soft: *soft,
                hard: *hard,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_for_who_writes_to_it() {
        let full = io::Error::from(Errno::NOSPC).to_string();
        for (kind, message, expected) in [
            (ErrorKind::Store, full.clone(), true),
            (ErrorKind::Internal, format!("layers: {full}"), true),
            (ErrorKind::Store, "permission denied".to_owned(), false),
            (ErrorKind::StepFailed, full.clone(), false),
            (
                ErrorKind::Sandbox,
                format!("making namespaces: {full}"),
                false,
            ),
        ] {
            let error = Error::new(kind, message);
            assert_eq!(is_of_full_disk(&error), expected, "{error:?}");
        }
        let error = ExecError::Setup {
            doing: "making namespaces".to_owned(),
            subject: String::new(),
            source: Errno::NOSPC.into(),
        };
        let error = of_step(StepError::Exec(error));
        assert_eq!(error.kind, ErrorKind::Sandbox);
        assert!(error.help.is_some_and(|help| help.contains("--jobs")));
    }
}

//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why a host could not be probed or the executable inside not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The executable could be started neither from memory nor from a file.
    #[error(
        "starting the sandbox's executable from {}: allow executing files there or name another scratch directory", .path.display()
    )]
    Start {
        /// Where it was tried last.
        path: PathBuf,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// A file or a socket of the library's own could not be made.
    #[error("preparing the sandbox's executable")]
    Prepare(#[source] io::Error),
    /// The executable answered with something else than its findings.
    #[error("the sandbox's executable ended without saying what this host can do")]
    NoAnswer,
    /// What the host can do could not be tried.
    #[error("trying what this host can do")]
    Trial(#[source] ExecError),
    /// No mode works here.
    #[error("no way of running a step works on this host: {0}")]
    NoMode(String),
    /// The mode asked for does not work here.
    #[error("the mode {mode} does not work on this host: {reason}")]
    ModeUnavailable {
        /// The mode.
        mode: &'static str,
        /// Why.
        reason: String,
    },
}

/// Why a step could not be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The executable could not be started.
    #[error("starting the sandbox")]
    Spawn(#[from] io::Error),
    /// The sandbox could not be made.
    #[error("{doing}{}", quoted(.subject))]
    Setup {
        /// What was being done.
        doing: String,
        /// What it was done to; may be empty.
        subject: String,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// The step's program could not be started: it is not there, may not be executed or is for
    /// another machine.
    #[error("{doing} `{program}`")]
    Start {
        /// What was being done.
        doing: String,
        /// The program.
        program: String,
        /// The error; `NotFound` when there is no such program.
        #[source]
        source: io::Error,
    },
    /// The step asks for what this host or mode cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// The step is not well formed.
    #[error("{0}")]
    InvalidStep(String),
    /// Which cgroups there are could not be found out.
    #[error("looking for the cgroups of this process")]
    Cgroups(#[source] io::Error),
    /// The step was ended because it needed more memory than it may have.
    #[error(
        "the step needed more memory than it may have (--memory {limit_bytes}): {kills} of its processes were ended"
    )]
    OutOfMemory {
        /// What it may have.
        limit_bytes: u64,
        /// How many were ended.
        kills: u64,
    },
    /// The step was cancelled.
    #[error("the step was cancelled")]
    Cancelled,
    /// The step took longer than its timeout.
    #[error("the step took longer than {} s", .0.as_secs_f64())]
    TimedOut(std::time::Duration),
    /// The sandbox died: somebody killed it, or memory ran out.
    #[error("the sandbox ended before the step did: was it killed, or memory short?")]
    Lost,
    /// The terminal could not be used.
    #[error("passing the terminal on")]
    Terminal(#[source] io::Error),
    /// Reading what the step wrote failed.
    #[error("reading the step's output")]
    Read(#[source] io::Error),
}

impl ExecError {
    /// Returns the exit code that a shell gives to a program that could not be started: 127 when
    /// it is not there, 126 when it may not be executed.
    #[must_use]
    pub fn shell_code(&self) -> Option<i32> {
        match self {
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(127),
            Self::Start { .. } => Some(126),
            _ => None,
        }
    }
}

fn quoted(subject: &str) -> String {
    if subject.is_empty() {
        String::new()
    } else {
        format!(" `{subject}`")
    }
}

//! What can stop a build.

use stagewright_dockerfile::Span;
use stagewright_plan::Vertex;
use thiserror::Error;

/// A build stopped.
#[derive(Debug, Error)]
#[error("{error}")]
pub struct SolveError {
    /// The vertex that failed, as it is shown; absent when it was not a vertex.
    pub vertex: Option<String>,
    /// Where its instruction stands.
    pub span: Option<Span>,
    /// What happened.
    #[source]
    pub error: StepError,
}

impl SolveError {
    /// A failure of a vertex.
    pub(crate) fn at(vertex: &Vertex, error: StepError) -> Self {
        Self {
            vertex: Some(vertex.name.clone()),
            span: vertex.span,
            error,
        }
    }

    /// A failure outside any vertex.
    pub fn outside(error: StepError) -> Self {
        Self {
            vertex: None,
            span: None,
            error,
        }
    }

    pub(crate) fn cancelled() -> Self {
        Self::outside(StepError::Cancelled)
    }

    pub(crate) fn from_panic(join: &tokio::task::JoinError) -> Self {
        Self::outside(StepError::Internal(join.to_string()))
    }

    /// Says whether the build was stopped from outside, or as a consequence of another failure.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.error, StepError::Cancelled)
    }
}

/// What can go wrong with one vertex.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StepError {
    /// The command exited with a status other than 0.
    #[error("the command {command:?} exited with code {code}")]
    Exit {
        /// The command as it is shown.
        command: String,
        /// Its exit code.
        code: i32,
        /// The last lines that it wrote.
        log_tail: Vec<String>,
    },
    /// The command was ended by a signal.
    #[error("the command {command:?} was ended by signal {signal}")]
    Signal {
        /// The command as it is shown.
        command: String,
        /// The signal's number.
        signal: i32,
        /// The last lines that it wrote.
        log_tail: Vec<String>,
    },
    /// A path that is copied does not exist.
    #[error("{path:?} was not found in {place}{hint}")]
    NotFound {
        /// The path.
        path: String,
        /// Where it was looked up: the build context, a stage, an image.
        place: String,
        /// What may help, ready to append.
        hint: String,
    },
    /// A copy cannot be made as it is asked for.
    #[error("{0}")]
    Copy(String),
    /// Something could not be had from the network.
    #[error("{0}")]
    Fetch(String),
    /// A user or group has no entry in the root file system.
    #[error("there is no {kind} {name:?} in {file} of the image that the step runs in")]
    UnknownUser {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file it was looked up in.
        file: &'static str,
    },
    /// A secret that a step requires was not given.
    #[error("the secret {id:?} is required and was not given: add --secret id={id},src=FILE")]
    MissingSecret {
        /// Its id.
        id: String,
    },
    /// A step needs an ssh agent that the request has not.
    #[error(
        "the step needs the ssh agent {id:?}: give it with --ssh {id}, or --ssh {id}=SOCKET|KEY"
    )]
    MissingSshAgent {
        /// Its id.
        id: String,
    },
    /// An ssh agent cannot be had.
    #[error("{0}")]
    SshAgent(String),
    /// A step asks for something that the request does not allow.
    #[error("the step asks for {entitlement:?}: add --allow {entitlement} to permit it")]
    NotAllowed {
        /// The entitlement.
        entitlement: &'static str,
    },
    /// Something is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// An image could not be found or used.
    #[error("{message}")]
    Image {
        /// What happened, with the reference.
        message: String,
        /// True when it is a registry that refused or could not be reached.
        registry: bool,
    },
    /// A file of the host could not be read or made; the message names it.
    #[error(transparent)]
    Io(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] stagewright_store::StoreError),
    /// A layer could not be made or read.
    #[error(transparent)]
    Snapshot(#[from] stagewright_snapshot::SnapshotError),
    /// The files of a stage or an image could not be read.
    #[error(transparent)]
    Tree(#[from] stagewright_snapshot::TreeError),
    /// The build context could not be read.
    #[error(transparent)]
    Context(#[from] stagewright_context::ContextError),
    /// The step could not be run at all.
    #[error(transparent)]
    Exec(#[from] stagewright_exec::ExecError),
    /// The host cannot run steps.
    #[error(transparent)]
    Probe(#[from] stagewright_exec::ProbeError),
    /// The build was stopped.
    #[error("the build was cancelled")]
    Cancelled,
    /// A fault of the program itself.
    #[error("internal fault: {0}")]
    Internal(String),
}

//! What renderers are told.

use std::time::Duration;

use stagewright::CheckFinding;

/// Names a vertex within a build.
pub(crate) type VertexId = u64;

/// Something that happened during a build.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    /// The time since the build began.
    pub(crate) at: Duration,
    pub(crate) happening: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happening {
    /// A vertex is known.
    Planned {
        id: VertexId,
        name: String,
        stage: String,
        line: Option<u32>,
        /// Whether it is a step of the Dockerfile rather than what the builder does around them.
        step: bool,
    },
    /// A vertex began.
    Started { id: VertexId },
    /// A vertex wrote something.
    Log {
        id: VertexId,
        bytes: Vec<u8>,
        is_stderr: bool,
    },
    /// A vertex moved bytes.
    Moved {
        id: VertexId,
        label: String,
        bytes: u64,
        total: Option<u64>,
    },
    /// A vertex ended.
    Finished { id: VertexId, ending: Ending },
    /// Something to be told that does not stop the build.
    Warning {
        message: String,
        line: Option<u32>,
        /// What a build check found, if that is what it is.
        finding: Option<CheckFinding>,
    },
}

/// How a vertex ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// Its result was in the cache.
    Cached,
    /// It ran; the reason is absent where there is none to be told.
    Executed(Option<Miss>),
    /// Another build ran it meanwhile.
    Shared,
    /// It failed.
    Failed(String),
    /// It was stopped.
    Cancelled,
}

/// Why a vertex had to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Miss {
    /// A word for programs.
    pub(crate) kind: &'static str,
    /// A sentence for people.
    pub(crate) text: String,
    /// What differs from the last time.
    pub(crate) changes: Vec<MissChange>,
}

/// One difference between two runs of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissChange {
    pub(crate) input: String,
    pub(crate) name: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

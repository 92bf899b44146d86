//! What a build tells while it runs.

use std::fmt;

use serde::Serialize;

use crate::miss::MissReason;

/// Something that happened during a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Milliseconds since the build began.
    pub at_ms: u64,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// More vertices are known. Comes more than once: what is done to find the plan (reading the
    /// Dockerfile, resolving images) is shown as vertices too.
    Planned {
        /// The new vertices.
        vertices: Vec<VertexInfo>,
    },
    /// A vertex began.
    Started {
        /// The vertex.
        vertex: u64,
    },
    /// A step wrote to its standard output or error.
    Log {
        /// The vertex.
        vertex: u64,
        /// Which of the two.
        stream: LogStream,
        /// The bytes as they were written: any encoding, any cut.
        bytes: Vec<u8>,
    },
    /// Bytes were moved (a layer downloaded, a file hashed).
    Progress {
        /// The vertex.
        vertex: u64,
        /// What is being moved: a digest, a path.
        label: String,
        /// Bytes so far.
        current_bytes: u64,
        /// Bytes in all, where known.
        total_bytes: Option<u64>,
    },
    /// A vertex ended.
    Finished {
        /// The vertex.
        vertex: u64,
        /// How.
        outcome: Outcome,
    },
    /// Something that does not stop the build and that a person should know.
    Warning {
        /// What, in one line.
        message: String,
        /// The line in the Dockerfile, from 1, where one is meant.
        line: Option<u32>,
        /// What a build check found, if it was one that warns.
        finding: Option<CheckFinding>,
    },
}

/// Something in a Dockerfile that better were otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckFinding {
    /// The name of the check, as `# check=skip=` takes it.
    pub rule: String,
    /// What the check is about.
    pub description: String,
    /// Where the check is explained.
    pub url: String,
    /// What was found.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// The line, from 1.
    pub line: u32,
    /// The last line.
    pub end_line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The message with a drawing of the place.
    pub drawing: String,
}

impl fmt::Display for CheckFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.drawing)
    }
}

/// A vertex as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexInfo {
    /// Names it within the build's events.
    pub id: u64,
    /// `[build 2/5] RUN npm ci`.
    pub name: String,
    /// The stage that it belongs to; empty for what belongs to none.
    pub stage: String,
    /// The vertices whose results it reads.
    pub inputs: Vec<u64>,
    /// The line of its instruction in the Dockerfile, from 1.
    pub line: Option<u32>,
    /// False for what is not a step of the plan (reading the Dockerfile, resolving an image,
    /// exporting): such vertices are never cached and never counted as executed.
    pub step: bool,
}

/// Where a step wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a vertex ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its result was in the cache.
    Hit,
    /// It ran.
    Executed {
        /// Why its result was not in the cache; absent for what is never cached.
        miss: Option<MissReason>,
    },
    /// Another build was running the same step: this one waited for its result.
    Shared,
    /// It failed.
    Failed {
        /// Why, in one line.
        message: String,
    },
    /// It was stopped because the build was cancelled or another vertex failed.
    Cancelled,
}

//! The graph itself.

use std::collections::{BTreeMap, BTreeSet};

use stagewright_dockerfile::Span;
use stagewright_oci::{ImageConfig, Platform};

use crate::image::HistoryItem;
use crate::op::Op;

/// Names a vertex within its plan: its place in [`Plan::vertices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub usize);

/// What a build does: vertices in an order in which inputs come before their users, and the
/// images that the vertices lead to.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The vertices. Those equal in op and inputs are one vertex.
    pub vertices: Vec<Vertex>,
    /// The image of the target; absent only in a plan under construction.
    pub image: Option<PlanImage>,
    /// The stages that the target reaches, in the order of the Dockerfile.
    pub stages: Vec<StageInfo>,
    /// The values of the arguments before the first `FROM`, and of those that every file has.
    pub global_args: BTreeMap<String, String>,
}

impl Plan {
    /// Returns a vertex.
    ///
    /// # Panics
    /// When the id is of another plan.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }
}

/// A stage that the plan contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInfo {
    /// Its place among the stages of the Dockerfile, from 0.
    pub index: usize,
    /// Its name, if it has one; else `stage-N` is how it is shown.
    pub name: Option<String>,
    /// The snapshot that it ends with.
    pub root: VertexId,
    /// Where its `FROM` stands.
    pub span: Option<Span>,
    /// The image that it starts from; none for a stage on another one, or on nothing.
    pub base: Option<StageBase>,
    /// The values of the build arguments that it declares.
    pub args: BTreeMap<String, String>,
    /// The arguments in its scope that steer the builder: `BUILDKIT_SBOM_SCAN_CONTEXT` and
    /// `BUILDKIT_SBOM_SCAN_STAGE`.
    pub switches: BTreeMap<String, String>,
}

/// What is known of the image that a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageBase {
    /// The platform that was asked for.
    pub expected: Platform,
    /// The platform that the image says that it is for.
    pub actual: Platform,
    /// The names of the variables that it sets.
    pub env: BTreeSet<String>,
}

/// One step of a build.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// What it does.
    pub op: Op,
    /// What it reads. By convention the first input of an exec or a file step is the root file
    /// system that it changes.
    pub inputs: Vec<Input>,
    /// What people see: `[build 2/5] RUN npm ci`.
    pub name: String,
    /// The stage that it belongs to, by name or as `stage-N`; empty for sources outside stages.
    pub stage: String,
    /// Where its instruction stands in the Dockerfile.
    pub span: Option<Span>,
    /// Names this place in the Dockerfile across builds, so that a miss can be compared with the
    /// last time that it ran.
    pub place: String,
    /// A step mounts what it makes, so that its files are wanted as a directory.
    pub mounted: bool,
    /// The image holds what it makes: the layer's name is wanted as soon as the layer is there.
    pub in_image: bool,
    /// Its cached result must not be used (`--no-cache`, `--no-cache-filter`).
    pub no_cache: bool,
}

/// One thing that a vertex reads: the result of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Input {
    /// The vertex that makes it.
    pub vertex: VertexId,
}

/// The image that a plan makes.
#[derive(Debug, Clone)]
pub struct PlanImage {
    /// The vertex whose snapshot is the image's root file system.
    pub root: VertexId,
    /// The platform that it is for.
    pub platform: Platform,
    /// Its config, complete but for `created`, the layers and the history of the steps.
    pub config: ImageConfig,
    /// The history after the base image's own, an item an instruction.
    pub history: Vec<HistoryItem>,
}

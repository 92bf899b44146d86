//! What a build would do, found out without doing it.

use std::sync::Arc;

use stagewright_plan::{Op, Plan, SourceOp, Vertex, VertexId};

use crate::action;
use crate::error::{SolveError, StepError};
use crate::event::VertexInfo;
use crate::miss::MissReason;
use crate::schedule;
use crate::services::Services;
use crate::vertex::{self, VertexResult};

/// A vertex of a plan, and what would become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The vertex.
    pub vertex: VertexInfo,
    /// What would become of it.
    pub verdict: Verdict,
}

/// What would become of a vertex if its plan were built now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Its result is in the cache.
    Hit,
    /// It would run.
    Miss(MissReason),
    /// It reads what these vertices make, which would run or are not known themselves. If they make what they made
    /// before, its result is in the cache; that can't be known without running them.
    DependsOn(Vec<u64>),
    /// It can't be said without changing the store, for this reason.
    Unknown(String),
    /// It is a source, which is not cached by itself: a context, an empty root file system, an image.
    Source,
}

/// Says for every vertex of a plan whether its result is in the cache, and why not. Runs nothing, downloads nothing,
/// and leaves the store as it is.
///
/// # Errors
/// What would fail a build before it runs a step: a file that is not there, one that can't be read.
pub async fn explain(plan: Plan, services: Arc<Services>) -> Result<Vec<Explained>, SolveError> {
    tokio::task::spawn_blocking(move || Explainer::new(&plan, &services).explain())
        .await
        .unwrap_or_else(|join| Err(SolveError::from_panic(&join)))
}

struct Explainer<'a> {
    plan: &'a Plan,
    services: &'a Services,
    /// What each vertex so far makes, where that is known.
    results: Vec<Option<VertexResult>>,
}

impl<'a> Explainer<'a> {
    fn new(plan: &'a Plan, services: &'a Services) -> Self {
        Self {
            plan,
            services,
            results: Vec::with_capacity(plan.vertices.len()),
        }
    }

    fn explain(mut self) -> Result<Vec<Explained>, SolveError> {
        let mut explained = Vec::with_capacity(self.plan.vertices.len());
        let infos = schedule::infos(self.plan, 0);
        for (index, info) in infos.into_iter().enumerate() {
            let vertex = self.plan.vertex(VertexId(index));
            let (verdict, result) = self
                .verdict(vertex)
                .map_err(|error| SolveError::at(vertex, error))?;
            self.results.push(result);
            explained.push(Explained {
                vertex: info,
                verdict,
            });
        }
        Ok(explained)
    }

    fn verdict(&self, vertex: &Vertex) -> Result<(Verdict, Option<VertexResult>), StepError> {
        match &vertex.op {
            Op::Source(SourceOp::Http { .. } | SourceOp::Git { .. }) => {
                let why = "what is there now is on the network".to_owned();
                Ok((Verdict::Unknown(why), None))
            }
            Op::Source(source) => {
                let (result, _) = vertex::solve_source(self.services, source)?;
                Ok((Verdict::Source, Some(result)))
            }
            Op::Exec(_) | Op::File(_) => self.step(vertex),
        }
    }

    fn step(&self, vertex: &Vertex) -> Result<(Verdict, Option<VertexResult>), StepError> {
        let mut unknown: Vec<u64> = Vec::new();
        let mut inputs = Vec::with_capacity(vertex.inputs.len());
        for input in &vertex.inputs {
            match &self.results[input.vertex.0] {
                Some(result) => inputs.push(result.clone()),
                None => unknown.push(input.vertex.0 as u64),
            }
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            unknown.dedup();
            return Ok((Verdict::DependsOn(unknown), None));
        }
        let services = self.services;
        let hit = |key: &_| -> Result<Option<VertexResult>, StepError> {
            let Some(result) = vertex::look_up(services, vertex, Some(key))? else {
                return Ok(None);
            };
            let parent = action::parent(&inputs)?;
            Ok(Some(VertexResult::Snapshot(parent.with(&result))))
        };
        if let Some(quick) = action::quick_parts(&services.options, &vertex.op, &inputs)
            && let Some(result) = hit(&quick.key())?
        {
            return Ok((Verdict::Hit, Some(result)));
        }
        if !self.sources_are_stored(&inputs)? {
            let why = "the files that it reads are not downloaded yet".to_owned();
            return Ok((Verdict::Unknown(why), None));
        }
        let work = action::prepare(services, vertex, &inputs, 0, None)?;
        let key = work.parts.key();
        if let Some(result) = hit(&key)? {
            return Ok((Verdict::Hit, Some(result)));
        }
        let folder = action::source_folder(&vertex.op, &work.selection);
        let reason = vertex::miss_reason(services, self.plan, vertex, &key, &work.parts, &folder)?;
        Ok((Verdict::Miss(reason), None))
    }

    /// Says whether the files that a key depends on can be read: those of what is copied from and of what is bound. The
    /// root file system itself is known by its name.
    fn sources_are_stored(&self, inputs: &[VertexResult]) -> Result<bool, StepError> {
        for input in inputs.iter().skip(1) {
            if let VertexResult::Snapshot(snapshot) = input {
                for layer in snapshot.layers.iter() {
                    if self.services.store.layer(layer)?.is_none() {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

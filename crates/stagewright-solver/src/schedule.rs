//! Runs the vertices of a plan: each once, as soon as its inputs are there.

use std::sync::Arc;

use stagewright_plan::{Plan, VertexId};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::{SolveError, StepError};
use crate::event::{EventKind, Outcome, VertexInfo};
use crate::services::Services;
use crate::vertex::{self, VertexResult};

/// How many steps run at once when the request does not say: steps often wait (for the network,
/// for a sleep), so this is a bound against runaway plans and not a count of processors.
const JOBS_DEFAULT: usize = 64;

/// What all the tasks of one build share.
pub(crate) struct Build {
    pub(crate) plan: Plan,
    pub(crate) services: Arc<Services>,
    /// The id of the plan's first vertex in events.
    pub(crate) first_event_id: u64,
    pub(crate) jobs: Semaphore,
    results: Vec<watch::Sender<Option<VertexResult>>>,
}

impl Build {
    /// Returns the id of a vertex in events.
    pub(crate) fn event_id(&self, id: VertexId) -> u64 {
        self.first_event_id + id.0 as u64
    }

    /// Waits for the result of a vertex; nothing when it failed or was cancelled.
    async fn result(&self, id: VertexId) -> Option<VertexResult> {
        let mut receiver = self.results[id.0].subscribe();
        let cancelled = self.services.cancel.cancelled();
        tokio::select! {
            biased;
            value = receiver.wait_for(Option::is_some) => value.ok().and_then(|value| value.clone()),
            () = cancelled => None,
        }
    }
}

/// Solves a plan and returns the result of each vertex.
///
/// # Errors
/// The first failure; the other vertices are then cancelled, and what was finished stays recorded.
pub(crate) async fn run(
    plan: Plan,
    services: Arc<Services>,
    jobs: Option<usize>,
) -> Result<Vec<VertexResult>, SolveError> {
    let count = plan.vertices.len();
    let first_event_id = services.reporter.reserve(count);
    announce(&plan, &services, first_event_id);
    let build = Arc::new(Build {
        plan,
        services,
        first_event_id,
        jobs: Semaphore::new(jobs.unwrap_or(JOBS_DEFAULT).max(1)),
        results: (0..count).map(|_| watch::Sender::new(None)).collect(),
    });
    let mut tasks = JoinSet::new();
    for index in 0..count {
        tasks.spawn(solve_vertex(Arc::clone(&build), VertexId(index)));
    }
    let mut failure = None;
    while let Some(joined) = tasks.join_next().await {
        let error = match joined {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(join) => SolveError::from_panic(&join),
        };
        build.services.cancel.cancel();
        // The first failure is the cause; what follows it is cancelled because of it.
        if failure.as_ref().is_none_or(SolveError::is_cancelled) {
            failure = Some(error);
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    Ok(build
        .results
        .iter()
        .filter_map(|sender| sender.borrow().clone())
        .collect())
}

fn announce(plan: &Plan, services: &Services, first: u64) {
    let vertices = infos(plan, first);
    services.reporter.send(EventKind::Planned { vertices });
}

/// Returns a plan's vertices as people see them; the first has the id `first`.
pub(crate) fn infos(plan: &Plan, first: u64) -> Vec<VertexInfo> {
    plan.vertices
        .iter()
        .enumerate()
        .map(|(index, vertex)| VertexInfo {
            id: first + index as u64,
            name: vertex.name.clone(),
            stage: vertex.stage.clone(),
            inputs: vertex
                .inputs
                .iter()
                .map(|input| first + input.vertex.0 as u64)
                .collect(),
            line: vertex.span.as_ref().map(|span| span.start.line),
            step: vertex::is_step(&vertex.op),
        })
        .collect()
}

async fn solve_vertex(build: Arc<Build>, id: VertexId) -> Result<(), SolveError> {
    let vertex = build.plan.vertex(id);
    let mut inputs = Vec::with_capacity(vertex.inputs.len());
    for input in &vertex.inputs {
        match build.result(input.vertex).await {
            Some(result) => inputs.push(result),
            None => return Err(SolveError::cancelled()),
        }
    }
    let event_id = build.event_id(id);
    let finished = |outcome| {
        build.services.reporter.send(EventKind::Finished {
            vertex: event_id,
            outcome,
        });
    };
    match vertex::solve(&build, id, &inputs).await {
        Ok((result, outcome)) => {
            build.results[id.0].send_replace(Some(result));
            finished(outcome);
            Ok(())
        }
        Err(StepError::Cancelled) => {
            finished(Outcome::Cancelled);
            Err(SolveError::cancelled())
        }
        Err(error) => {
            finished(Outcome::Failed {
                message: error.to_string(),
            });
            Err(SolveError::at(vertex, error))
        }
    }
}

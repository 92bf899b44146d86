//! From a plan to an image.

use std::sync::Arc;

use stagewright_digest::LayerId;
use stagewright_oci::{History, ImageConfig};
use stagewright_plan::{Plan, PlanImage};

use crate::error::{SolveError, StepError};
use crate::schedule;
use crate::services::Services;
use crate::vertex::{Snapshot, VertexResult};

/// What a plan made.
#[derive(Debug, Clone)]
pub struct Solved {
    /// The config of the image, complete but for the diffIDs.
    pub config: ImageConfig,
    /// The layers of the image, from the bottom up.
    pub layers: Vec<LayerId>,
    /// The root file systems of the plan's stages, in the plan's order.
    pub stages: Vec<Snapshot>,
}

/// Solves a plan.
///
/// # Errors
/// The first failure of a vertex; the rest is then cancelled, and what had finished stays cached.
pub async fn solve(
    plan: Plan,
    services: Arc<Services>,
    jobs: Option<usize>,
) -> Result<Solved, SolveError> {
    let image = plan.image.clone().ok_or_else(|| {
        SolveError::outside(StepError::Internal("the plan has no image".to_owned()))
    })?;
    let stage_roots: Vec<_> = plan.stages.iter().map(|stage| stage.root).collect();
    let store = services.store.clone();
    let results = schedule::run(plan, services, jobs).await;
    // What was made is kept, also by a build that failed: that a step failed is told before that a disk is full.
    let settled = match store.is_settled() {
        true => Ok(Ok(())),
        false => tokio::task::spawn_blocking(move || store.settle()).await,
    };
    let results = results?;
    settled
        .map_err(|join| SolveError::from_panic(&join))?
        .map_err(|error| SolveError::outside(error.into()))?;
    let snapshot = |id: stagewright_plan::VertexId| match results.get(id.0) {
        Some(VertexResult::Snapshot(snapshot)) => Ok(snapshot.clone()),
        _ => Err(SolveError::outside(StepError::Internal(
            "a root is no snapshot".to_owned(),
        ))),
    };
    let root = snapshot(image.root)?;
    let stages = stage_roots
        .into_iter()
        .map(snapshot)
        .collect::<Result<_, _>>()?;
    let config = complete_config(&image, |id| match results.get(id.0) {
        Some(VertexResult::Snapshot(snapshot)) => Some(snapshot),
        _ => None,
    });
    Ok(Solved {
        config,
        layers: root.layers.to_vec(),
        stages,
    })
}

/// Adds the history of the steps: each with the time at which its layer was made, however long ago
/// that was; what has no layer takes the time of what is before it. So an image that is built again
/// from the cache is the same image.
fn complete_config<'a>(
    image: &PlanImage,
    snapshot: impl Fn(stagewright_plan::VertexId) -> Option<&'a Snapshot>,
) -> ImageConfig {
    let mut config = image.config.clone();
    let mut created = config
        .history
        .iter()
        .rev()
        .find_map(|item| item.created.clone());
    for item in &image.history {
        let made = item.vertex.and_then(&snapshot);
        if let Some(ms) = made.and_then(|snapshot| snapshot.created_unix_ms) {
            created = Some(rfc3339(ms));
        }
        config.history.push(History {
            created: created.clone(),
            created_by: Some(item.created_by.clone()),
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer: item.squashed || made.is_none_or(|snapshot| snapshot.added.is_none()),
            ..History::default()
        });
    }
    config.created = created.or(config.created);
    config
}

/// Says in the history who made an entry.
const HISTORY_COMMENT: &str = "stagewright.dockerfile.v0";

/// Formats milliseconds since 1970 as RFC 3339 in UTC.
fn rfc3339(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .unwrap_or(jiff::Timestamp::MAX);
    timestamp.to_string()
}

//! Solves one vertex: key, look up, execute, record.

use std::sync::Arc;
use std::time::Instant;

use stagewright_digest::{ActionKey, LayerId, SnapshotId, StampsDigest};
use stagewright_plan::{FileOp, Op, Plan, SourceOp, Vertex, VertexId};
use stagewright_store::{ActionResult, PlaceRecord};

use crate::action::{self, Work};
use crate::age;
use crate::error::StepError;
use crate::event::{EventKind, Outcome};
use crate::listed_context::ListedContext;
use crate::miss::MissReason;
use crate::parts::Parts;
use crate::remote;
use crate::schedule::Build;
use crate::services::{Services, Turn};

/// What a vertex makes.
#[derive(Debug, Clone)]
pub enum VertexResult {
    /// A root file system.
    Snapshot(Snapshot),
    /// A build context, by name.
    Context(String),
}

/// A root file system: its name, its layers, and when it was last added to.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Names its content.
    pub id: SnapshotId,
    /// Its layers, from the bottom up.
    pub layers: Arc<[LayerId]>,
    /// The layer that its vertex added, if it added one.
    pub added: Option<LayerId>,
    /// When that layer was made, in milliseconds since 1970.
    pub created_unix_ms: Option<u64>,
}

impl Snapshot {
    /// Returns the empty root file system.
    pub fn scratch() -> Self {
        Self {
            id: SnapshotId::scratch(),
            layers: Arc::from([]),
            added: None,
            created_unix_ms: None,
        }
    }

    /// Returns what a stack of layers makes.
    pub fn of_layers(layers: Vec<LayerId>) -> Self {
        Self {
            id: SnapshotId::of(&layers),
            layers: layers.into(),
            ..Self::scratch()
        }
    }

    /// Adds the layer that an action made, if it made one.
    pub(crate) fn with(&self, result: &ActionResult) -> Self {
        let created_unix_ms = Some(result.created_unix_ms);
        match result.layer {
            None => Self {
                added: None,
                created_unix_ms,
                ..self.clone()
            },
            Some(layer) => Self {
                id: SnapshotId::child(&self.id, &layer),
                layers: self.layers.iter().copied().chain([layer]).collect(),
                added: Some(layer),
                created_unix_ms,
            },
        }
    }
}

/// Says whether an op counts as a step: something that can be cached and executed.
pub(crate) fn is_step(op: &Op) -> bool {
    !matches!(op, Op::Source(_))
}

/// Solves a vertex whose inputs are there.
pub(crate) async fn solve(
    build: &Arc<Build>,
    id: VertexId,
    inputs: &[VertexResult],
) -> Result<(VertexResult, Outcome), StepError> {
    let vertex = build.plan.vertex(id);
    let event_id = build.event_id(id);
    build
        .services
        .reporter
        .send(EventKind::Started { vertex: event_id });
    match &vertex.op {
        Op::Source(source @ (SourceOp::Http { .. } | SourceOp::Git { .. })) => {
            let (snapshot, outcome) = remote::solve(&build.services, source, event_id).await?;
            Ok((VertexResult::Snapshot(snapshot), outcome))
        }
        Op::Source(source) => solve_source(&build.services, source),
        Op::Exec(_) | Op::File(_) => {
            let (snapshot, outcome) = solve_step(build, id, inputs).await?;
            Ok((VertexResult::Snapshot(snapshot), outcome))
        }
    }
}

/// A source costs nothing by itself: images are downloaded when a step first reads them, contexts
/// are read by the steps that copy from them. Only what is stored already counts as cached.
pub(crate) fn solve_source(
    services: &Services,
    source: &SourceOp,
) -> Result<(VertexResult, Outcome), StepError> {
    let resolved = Outcome::Executed { miss: None };
    Ok(match source {
        SourceOp::Scratch => (VertexResult::Snapshot(Snapshot::scratch()), resolved),
        SourceOp::Image { layers, .. } => {
            let mut stored = true;
            for layer in layers {
                stored = stored && services.store.layer(layer)?.is_some();
            }
            let snapshot = VertexResult::Snapshot(Snapshot::of_layers(layers.clone()));
            (snapshot, if stored { Outcome::Hit } else { resolved })
        }
        SourceOp::Http { .. } | SourceOp::Git { .. } => {
            return Err(StepError::Internal(
                "a source from the network is not solved here".to_owned(),
            ));
        }
        SourceOp::Context { name } => (VertexResult::Context(name.clone()), resolved),
    })
}

/// What is known of a step before it runs.
enum Prepared {
    /// Its key and its result: the files are those of the last time.
    Known(ActionKey, ActionResult),
    /// What its key is made of.
    Work(Work),
}

async fn solve_step(
    build: &Arc<Build>,
    id: VertexId,
    inputs: &[VertexResult],
) -> Result<(Snapshot, Outcome), StepError> {
    let vertex = build.plan.vertex(id);
    let services = &build.services;
    let Some(VertexResult::Snapshot(parent)) = inputs.first() else {
        return Err(StepError::Internal(format!(
            "{} has no root file system",
            vertex.name
        )));
    };
    services.mounts.note(&vertex.op);
    let quick = action::quick_parts(&services.options, &vertex.op, inputs).map(|parts| parts.key());
    // A result whose parts are lost is a hit all the same, after they are written anew. One from
    // elsewhere never had any, and making them would need the files.
    let from_elsewhere = |key: &ActionKey| services.images.cache().find(key).is_some();
    if let Some(result) = look_up(services, vertex, quick.as_ref())?
        && (result.parts.is_some() || quick.as_ref().is_some_and(from_elsewhere))
    {
        services.note_use(&quick, &result)?;
        return Ok((parent.with(&result), Outcome::Hit));
    }
    // Keys that need files to be read are computed away from the threads that schedule.
    let prepared = blocking(build, id, inputs, |services, vertex, inputs, event| {
        let listed = ListedContext::of(services, vertex, inputs);
        if let Some(listed) = &listed
            && let Some((key, result)) = known_by_stamps(services, vertex, &listed.stamps)?
        {
            return Ok(Prepared::Known(key, result));
        }
        let work = action::prepare(services, vertex, inputs, event, listed)?;
        Ok(Prepared::Work(work))
    });
    let work = match prepared.await? {
        Prepared::Work(work) => work,
        Prepared::Known(key, result) => {
            services.note_use([&key], &result)?;
            return Ok((parent.with(&result), Outcome::Hit));
        }
    };
    let key = work.parts.key();
    if let Some(mut result) = look_up(services, vertex, Some(&key))? {
        services.note_use(quick.iter().chain([&key]), &result)?;
        // What is from elsewhere is recorded when its layer has come.
        if from_elsewhere(&key) && !is_stored(services, &result)? {
            return Ok((parent.with(&result), Outcome::Hit));
        }
        if result.parts.is_none() {
            result.parts = Some(services.store.put_parts(&work.parts.encode())?);
            services.store.record_action(&key, &result)?;
        }
        remember_quick(services, quick.as_ref(), &result)?;
        note_place(services, vertex, &key, &work)?;
        return Ok((parent.with(&result), Outcome::Hit));
    }
    let (result, outcome) = execute(build, id, inputs, work, key).await?;
    services.note_use(quick.iter().chain([&key]), &result)?;
    remember_quick(services, quick.as_ref(), &result)?;
    Ok((parent.with(&result), outcome))
}

/// Runs a step whose result is not there, unless another build is running the same step: then its
/// result is waited for.
async fn execute(
    build: &Arc<Build>,
    id: VertexId,
    inputs: &[VertexResult],
    mut work: Work,
    key: ActionKey,
) -> Result<(ActionResult, Outcome), StepError> {
    let vertex = build.plan.vertex(id);
    let services = &build.services;
    let _running = acquire(build).await?;
    let lock = match services
        .turn(&key, services.options.oldest_for(vertex))
        .await?
    {
        Turn::Own(lock) => lock,
        Turn::Shared(result) => {
            note_place(services, vertex, &key, &work)?;
            return Ok((result, Outcome::Shared));
        }
    };
    services.keep_room().await;
    let folder = action::source_folder(&vertex.op, &work.selection);
    let stamps = work.stamps;
    let parts = std::mem::take(&mut work.parts);
    let shared = Arc::clone(build);
    // What has run is kept, also when the build was cancelled meanwhile.
    let explained = async move {
        let explain = move || -> Result<_, StepError> {
            let Build { plan, services, .. } = &*shared;
            let miss = miss_reason(services, plan, plan.vertex(id), &key, &parts, &folder)?;
            Ok((miss, services.store.put_parts(&parts.encode())?))
        };
        let explained = tokio::task::spawn_blocking(explain).await;
        explained.map_err(|join| StepError::Internal(join.to_string()))?
    };
    let began = Instant::now();
    let made_unix_ms = services.options.clock.now_unix_ms();
    let executed = blocking(build, id, inputs, move |services, vertex, inputs, event| {
        let layer = action::execute(services, vertex, inputs, event, work)?;
        Ok((layer, began.elapsed()))
    });
    // The parts of a copy of many files are long: what is explained with them is found and written meanwhile. A command has
    // the disk to itself: what fails for want of room is the store, which says so.
    let (executed, explained) = match &vertex.op {
        Op::File(_) => tokio::join!(executed, explained),
        _ => {
            let executed = executed.await?;
            (Ok(executed), explained.await)
        }
    };
    let (layer, took) = executed?;
    let (miss, parts) = explained?;
    let result = ActionResult {
        layer,
        parts: Some(parts),
        created_unix_ms: services.options.now_unix_ms,
        made_unix_ms: Some(made_unix_ms),
        duration_ms: age::ms(took),
        ..ActionResult::default()
    };
    services.store.record_action(&key, &result)?;
    let place = PlaceRecord { key, parts, stamps };
    services.store.record_place(&vertex.place, &place)?;
    drop(lock);
    Ok((result, Outcome::Executed { miss: Some(miss) }))
}

async fn acquire(build: &Build) -> Result<tokio::sync::SemaphorePermit<'_>, StepError> {
    tokio::select! {
        biased;
        () = build.services.cancel.cancelled() => Err(StepError::Cancelled),
        permit = build.jobs.acquire() => permit.map_err(|_| StepError::Cancelled),
    }
}

/// Runs blocking work of a vertex on a thread for it.
async fn blocking<T: Send + 'static>(
    build: &Arc<Build>,
    id: VertexId,
    inputs: &[VertexResult],
    work: impl FnOnce(&Services, &Vertex, &[VertexResult], u64) -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    if build.services.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    let build = Arc::clone(build);
    let inputs = inputs.to_vec();
    tokio::task::spawn_blocking(move || {
        work(
            &build.services,
            build.plan.vertex(id),
            &inputs,
            build.event_id(id),
        )
    })
    .await
    .map_err(|join| StepError::Internal(join.to_string()))?
}

pub(crate) fn look_up(
    services: &Services,
    vertex: &Vertex,
    key: Option<&ActionKey>,
) -> Result<Option<ActionResult>, StepError> {
    let (Some(key), Some(oldest)) = (key, services.options.oldest_for(vertex)) else {
        return Ok(None);
    };
    let will_do = |result: &ActionResult| !result.is_before(oldest);
    match services.store.action(key)?.filter(will_do) {
        Some(result) => Ok(Some(result)),
        None => Ok(services.images.cache().find(key).filter(will_do)),
    }
}

/// Finds the key that files with these stamps made the last time at a step's place, and its result. Nothing where any of what
/// is kept of it is lost: whoever reads the files makes it anew.
fn known_by_stamps(
    services: &Services,
    vertex: &Vertex,
    stamps: &StampsDigest,
) -> Result<Option<(ActionKey, ActionResult)>, StepError> {
    let last = services.store.place(&vertex.place)?.filter(|last| {
        !vertex.no_cache
            && last.stamps.as_ref() == Some(stamps)
            && services.store.has_parts(&last.parts)
    });
    let Some(last) = last else {
        return Ok(None);
    };
    let result = services.store.action(&last.key)?;
    let whole = result.filter(|result| result.parts.is_some());
    Ok(whole.map(|result| (last.key, result)))
}

/// Says whether the layer of a result is stored, if it has one.
fn is_stored(services: &Services, result: &ActionResult) -> Result<bool, StepError> {
    Ok(match &result.layer {
        None => true,
        Some(layer) => services.store.layer(layer)?.is_some(),
    })
}

/// Lets the next build find the result by what is known without reading files.
fn remember_quick(
    services: &Services,
    quick: Option<&ActionKey>,
    result: &ActionResult,
) -> Result<(), StepError> {
    if let Some(quick) = quick {
        services.store.record_action(quick, result)?;
    }
    Ok(())
}

pub(crate) fn miss_reason(
    services: &Services,
    plan: &Plan,
    vertex: &Vertex,
    key: &ActionKey,
    parts: &Parts,
    folder: &str,
) -> Result<MissReason, StepError> {
    if vertex.no_cache {
        return Ok(MissReason::NoCache);
    }
    if let Some(reason) = too_old(services, vertex, key)? {
        return Ok(reason);
    }
    let last = services.store.place(&vertex.place)?;
    if last.as_ref().is_some_and(|last| last.key == *key) || services.store.was_evicted(key)? {
        return Ok(MissReason::Evicted);
    }
    let Some(last) = last else {
        return Ok(MissReason::FirstRun);
    };
    let before = services
        .store
        .parts(&last.parts)?
        .and_then(|bytes| Parts::decode(&bytes));
    Ok(before.map_or(MissReason::FirstRun, |before| {
        MissReason::between(&before, parts)
            .below(folder)
            .based_on(base_of(plan, vertex))
    }))
}

/// Says how old the result of a key is that is there, if it is older than the build takes.
fn too_old(
    services: &Services,
    vertex: &Vertex,
    key: &ActionKey,
) -> Result<Option<MissReason>, StepError> {
    let (options, cache) = (&services.options, services.images.cache());
    let (Some(oldest), Some(limit)) = (options.oldest_for(vertex), options.cache_ttl) else {
        return Ok(None);
    };
    let found = services.store.action(key)?;
    // The younger of the two is the one that nearly would have done.
    let made = found.into_iter().chain(cache.find(key));
    let made = made.map(|result| result.made_unix_ms.unwrap_or(result.created_unix_ms));
    Ok(made
        .max()
        .filter(|made| *made < oldest)
        .map(|made| MissReason::TooOld {
            age_ms: options.age_ms(made),
            limit_ms: age::ms(limit),
        }))
}

/// Returns the image that a step lies on directly, as it was asked for.
fn base_of<'a>(plan: &'a Plan, vertex: &Vertex) -> Option<&'a str> {
    // What becomes one layer is what was made on it.
    if vertex.op == Op::File(FileOp::Squash) {
        return None;
    }
    match &plan.vertex(vertex.inputs.first()?.vertex).op {
        Op::Source(SourceOp::Image { reference, .. }) => Some(reference),
        _ => None,
    }
}

/// Remembers what a result that was there was found with at this place in the Dockerfile, for the explanation of the next
/// miss.
fn note_place(
    services: &Services,
    vertex: &Vertex,
    key: &ActionKey,
    work: &Work,
) -> Result<(), StepError> {
    let last = services.store.place(&vertex.place)?;
    let last = last.filter(|last| last.key == *key && services.store.has_parts(&last.parts));
    let place = match last {
        // Stamps that were believed once are true for ever.
        Some(last) if work.stamps.is_none() || work.stamps == last.stamps => return Ok(()),
        Some(last) => PlaceRecord {
            stamps: work.stamps,
            ..last
        },
        None => PlaceRecord {
            key: *key,
            parts: services.store.put_parts(&work.parts.encode())?,
            stamps: work.stamps,
        },
    };
    Ok(services.store.record_place(&vertex.place, &place)?)
}

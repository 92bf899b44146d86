//! The builder: a store, a sandbox and a runtime.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use stagewright_exec::{HostReport, UserNamespace, end_processes_in};
use stagewright_fetch::{RegistryOptions, ServiceEnvironment};
use stagewright_snapshot::{DirectAgent, MappedAgent, Snapshots, TreeAgent};
use stagewright_solver::{CancellationToken, FailedPlace, LazySandbox};
use stagewright_store::{DiskRoom, DiskSpace, Remover, SpaceBounds, Store, StoreOptions};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::build::Build;
use crate::error::{Error, ErrorKind};
use crate::failed_step::KeptStep;
use crate::failure;
use crate::job;
use crate::request::BuildRequest;

/// What a [`Builder`] is made with.
#[derive(Debug, Clone)]
pub struct BuilderOptions {
    /// The folder of the store.
    pub store: PathBuf,
    /// How many bytes the store may take: what is above goes after a build, the least recently used
    /// first. Nothing is a tenth of the disk, at most 20 GiB; 0 is no limit.
    pub store_limit: Option<u64>,
    /// How much is to be free on the store's disk: where less is, results that nobody needs go before a build and after it, the
    /// least recently used first. Nothing is a twentieth of the disk, at most 10 GiB; 0 is nothing to be kept free.
    pub store_min_free: Option<DiskSpace>,
    /// What the store may take however little is free on its disk, and whatever its limit is; only a build that finds the disk
    /// full does not heed it. Nothing is half of the limit, or without a limit a twentieth of the disk, at most 10 GiB.
    pub store_reserved: Option<DiskSpace>,
    /// How registries are reached.
    pub registries: RegistryOptions,
    /// What is taken from the environment where caches in services are asked for.
    pub services: ServiceEnvironment,
}

impl BuilderOptions {
    /// Keeps the store in a folder, and reaches registries with no login and no mirror.
    pub fn at(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            store_limit: None,
            store_min_free: None,
            store_reserved: None,
            registries: RegistryOptions::default(),
            services: ServiceEnvironment::default(),
        }
    }
}

/// Builds images. Clones share everything; it can be used from any number of threads.
#[derive(Clone)]
pub struct Builder(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    /// What it may take.
    pub(crate) bounds: SpaceBounds,
    pub(crate) snapshots: Snapshots,
    pub(crate) sandbox: Arc<LazySandbox>,
    pub(crate) registries: RegistryOptions,
    pub(crate) services: ServiceEnvironment,
    /// Started by the first build.
    runtime: OnceLock<Runtime>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("store", &self.0.store.path())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Opens a store, or makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when its folder cannot be used.
    pub fn open(options: BuilderOptions) -> Result<Self, Error> {
        // Made when a step first needs it.
        let namespace = UserNamespace::if_needed().map(Arc::new);
        let remover = match namespace.clone() {
            Some(namespace) => Remover::new(move |path| namespace.remove(path)),
            None => Remover::none(),
        }
        .vacating(end_processes_in);
        let path = options.store.clone();
        let store = Store::open_with(StoreOptions { path }, Some(remover))?;
        // A file system that does not say how large it is has room.
        let disk = store.disk_room().unwrap_or(DiskRoom {
            total_bytes: u64::MAX,
            free_bytes: u64::MAX,
        });
        let bounds = space_bounds(&options, &disk);
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let agent: Arc<dyn TreeAgent> = match &namespace {
            None => Arc::new(DirectAgent::of_this_user(threads.get())),
            Some(namespace) => Arc::new(MappedAgent::new(Arc::clone(namespace), threads.get())),
        };
        Ok(Self(Arc::new(Inner {
            snapshots: Snapshots::new(store.clone(), agent, threads),
            sandbox: Arc::new(LazySandbox::new(namespace, store.clone())),
            store,
            bounds,
            registries: options.registries,
            services: options.services,
            runtime: OnceLock::new(),
        })))
    }

    /// Starts a build. What is wrong with the request is told by the build's result.
    pub fn build(&self, request: BuildRequest) -> Build {
        let (event_sender, events) = mpsc::unbounded_channel();
        let (result_sender, result) = oneshot::channel();
        let cancel = CancellationToken::new();
        let failed = FailedPlace::default();
        let kept = KeptStep::new(self.clone(), failed.clone());
        let build = Build::new(events, cancel.clone(), result, kept);
        let runtime = match self.runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The receiver is ours and alive.
                let _ = result_sender.send(Err(error));
                return build;
            }
        };
        // The image that the build gives holds on to the sink: the events end with the build, and
        // not with the image.
        let sender = Arc::new(Mutex::new(Some(event_sender)));
        let closing = Arc::clone(&sender);
        let sink = Arc::new(move |event| {
            if let Some(sender) = &*locked(&sender) {
                // Nobody has to listen.
                let _ = sender.send(event);
            }
        });
        let builder = self.clone();
        runtime.spawn(async move {
            let result = job::run(builder, request, sink, cancel, failed).await;
            *locked(&closing) = None;
            // A caller that dropped the build does not want its result.
            let _ = result_sender.send(result);
        });
        build
    }

    /// Runs something on the builder's runtime and waits for what it gives. Blocks.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Self) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = question(self.clone());
        self.runtime()?.spawn(async move {
            // The receiver waits for as long as it takes.
            let _ = sender.send(answer.await);
        });
        receiver.recv().unwrap_or_else(|_| {
            let message = "the task ended without a result";
            Err(Error::new(ErrorKind::Internal, message))
        })
    }

    /// Says what this host can do for steps, which mode is used, and what would give a better one.
    ///
    /// # Errors
    /// [`ErrorKind::Sandbox`] when no mode works.
    pub fn host_report(&self) -> Result<HostReport, Error> {
        let sandbox = self.0.sandbox.get().map_err(failure::of_step)?;
        Ok(sandbox.report().clone())
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Returns the runtime, started by the first who needs it.
    pub(crate) fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.0.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(512)
            .thread_name("stagewright")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("the runtime did not start: {error}"),
                )
            })?;
        Ok(self.0.runtime.get_or_init(|| runtime))
    }
}

/// The share of the disk, one in so many, and the most bytes that are kept free or reserved where nothing is said.
const USUAL_FREE: (u64, u64) = (20, 10 << 30);
/// The same of what a store may take.
const USUAL_LIMIT: (u64, u64) = (10, 20 << 30);

/// Returns what a store on this disk may take.
fn space_bounds(options: &BuilderOptions, disk: &DiskRoom) -> SpaceBounds {
    let usual = |(share, most): (u64, u64)| most.min(disk.total_bytes / share);
    let asked = |space: Option<DiskSpace>| space.map(|space| space.bytes(disk));
    let max_used_bytes = options.store_limit.unwrap_or_else(|| usual(USUAL_LIMIT));
    let reserved = match max_used_bytes {
        0 => usual(USUAL_FREE),
        limit => limit / 2,
    };
    SpaceBounds {
        max_used_bytes,
        min_free_bytes: asked(options.store_min_free).unwrap_or_else(|| usual(USUAL_FREE)),
        reserved_bytes: asked(options.store_reserved).unwrap_or(reserved),
    }
}

/// The option is whole whatever happened to who held it last.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Waiting for its threads could block a caller's runtime: the last build has ended or is
        // being cancelled, and nothing that it does may be cut off, so they end by themselves.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[track_caller]
    fn check(disk_gib: u64, options: BuilderOptions, expected: [u64; 3]) {
        let disk = DiskRoom {
            total_bytes: disk_gib * GIB,
            free_bytes: 0,
        };
        let found = space_bounds(&options, &disk);
        let [max_used_bytes, min_free_bytes, reserved_bytes] =
            expected.map(|tenths| tenths * GIB / 10);
        let expected = SpaceBounds {
            max_used_bytes,
            min_free_bytes,
            reserved_bytes,
        };
        assert_eq!(found, expected, "{options:?}");
    }

    #[test]
    fn a_store_leaves_room_on_its_disk() {
        let usual = BuilderOptions::at("store");
        // In tenths of a GiB.
        check(40, usual.clone(), [40, 20, 20]);
        check(4000, usual.clone(), [200, 100, 100]);
        let unlimited = BuilderOptions {
            store_limit: Some(0),
            ..usual.clone()
        };
        check(40, unlimited, [0, 20, 20]);
        let asked = BuilderOptions {
            store_limit: Some(2 * GIB),
            store_min_free: Some(DiskSpace::Bytes(0)),
            store_reserved: Some(DiskSpace::Percent(5)),
            ..usual
        };
        check(200, asked, [20, 0, 100]);
    }
}

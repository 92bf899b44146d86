//! What the steps of one build use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use stagewright_digest::{ActionKey, LayerId};
use stagewright_exec::{
    HostReport, Mode, Network, ProbeOptions, ResolvConf, Sandbox, Stacking, Ulimit, UserNamespace,
};
use stagewright_layer::Mtime;
use stagewright_plan::Vertex;
use stagewright_snapshot::{Forms, MergedTree, Snapshots};
use stagewright_store::{ActionLock, ActionResult, SpaceBounds, Store};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::age::BuildClock;
use crate::cache_document::CachedResult;
use crate::context_files::ContextFiles;
use crate::error::StepError;
use crate::failed_step::FailedPlace;
use crate::images::Images;
use crate::remote::Remotes;
use crate::reporter::Reporter;
use crate::ssh_agent::SshAgent;
use crate::used_mounts::UsedMounts;
use crate::used_results::UsedResults;
use crate::vertex::Snapshot;
use crate::volume::Volume;

/// What a build is told besides its plan.
#[derive(Debug, Clone)]
pub struct SolveOptions {
    /// The time that results are recorded with and that made directories carry, in milliseconds
    /// since 1970.
    pub now_unix_ms: u64,
    /// The clock.
    pub clock: BuildClock,
    /// Results of commands that were made longer ago before the build began are not used. Enters no key.
    pub cache_ttl: Option<Duration>,
    /// What is to be free on the store's disk before the first step runs.
    pub bounds: SpaceBounds,
    /// The time that files carry in place of their own, in seconds since 1970: those of the context
    /// and made directories carry it, others are no later.
    pub file_time: Option<i64>,
    /// The network of steps that ask for none.
    pub network: Network,
    /// Limits of steps.
    pub limits: Limits,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Secret>,
    /// ssh agents by id.
    pub ssh: BTreeMap<String, SshAgent>,
    /// Entitlements that steps may use.
    pub allow: Vec<String>,
}

/// Limits and surroundings of all steps of a build.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Names for addresses in `/etc/hosts`.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// What `/etc/resolv.conf` shows. Of it the search domains enter keys.
    pub resolv_conf: ResolvConf,
    /// Files of the host that steps see.
    pub volumes: Vec<Volume>,
    /// The size of `/dev/shm` in bytes.
    pub shm_bytes: Option<u64>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// How long a step may take. Enters no key.
    pub timeout: Option<Duration>,
    /// The cgroup that those of steps are made in. Enters no key.
    pub cgroup_parent: Option<PathBuf>,
    /// Limits of memory and processors. They enter no key: a step makes the same with more.
    pub cgroup: stagewright_exec::Limits,
    /// How many bytes of what a step writes are shown, 2 MiB if absent; 0 is no limit.
    pub log_bytes: Option<u64>,
}

/// Where the value of a secret comes from.
#[derive(Clone)]
pub enum Secret {
    /// A file, read when a step needs it.
    File(PathBuf),
    /// The bytes.
    Bytes(Vec<u8>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The sandbox of a builder, probed when the first step runs: a build that runs nothing does not
/// pay for it.
#[derive(Debug)]
pub struct LazySandbox {
    namespace: Option<Arc<UserNamespace>>,
    store: Store,
    probed: OnceLock<Sandbox>,
    /// Held while the host is probed: steps that begin at once wait for one to do it.
    probing: Mutex<()>,
}

impl LazySandbox {
    /// Returns one that is not probed yet. Steps run in a user namespace if there is one, on layers
    /// of a store.
    #[must_use]
    pub fn new(namespace: Option<Arc<UserNamespace>>, store: Store) -> Self {
        Self {
            namespace,
            store,
            probed: OnceLock::new(),
            probing: Mutex::default(),
        }
    }

    /// Returns the sandbox, probing the host if nobody did.
    pub fn get(&self) -> Result<&Sandbox, StepError> {
        if let Some(sandbox) = self.probed.get() {
            return Ok(sandbox);
        }
        // Nothing is behind it that could be half done.
        let _alone = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sandbox) = self.probed.get() {
            return Ok(sandbox);
        }
        let trial = self.store.temp_dir()?;
        for name in ["lower", "upper", "work"] {
            fs_err::create_dir(trial.path().join(name)).map_err(StepError::Io)?;
        }
        let probed = Sandbox::probe(ProbeOptions {
            namespace: self.namespace.clone(),
            trial: Some(trial.path().to_owned()),
            ..ProbeOptions::default()
        })?;
        Ok(self.probed.get_or_init(|| probed))
    }
}

/// What the steps of one build use.
pub struct Services {
    /// The store.
    pub store: Store,
    /// Root file systems.
    pub snapshots: Snapshots,
    /// The sandbox.
    pub sandbox: Arc<LazySandbox>,
    /// Base images and their layers.
    pub images: Arc<Images>,
    /// Files and repositories from the network.
    pub remotes: Arc<Remotes>,
    /// Build contexts by name.
    pub contexts: BTreeMap<String, Arc<ContextFiles>>,
    /// Tells what happens.
    pub reporter: Reporter,
    /// Stops the build.
    pub cancel: CancellationToken,
    /// Where downloads run while a step waits for them.
    pub runtime: Handle,
    /// What the build was told.
    pub options: SolveOptions,
    /// The results that it used.
    pub used: UsedResults,
    /// The cache mounts of its steps.
    pub mounts: UsedMounts,
    /// Whether it was told how steps run.
    pub mode_told: Once,
    /// Where a step that fails is kept, if it is.
    pub failed: Option<FailedPlace>,
    /// Set when a step fails while next to nothing is free on the store's disk.
    pub disk_full: Arc<AtomicBool>,
    /// Filled when it was seen to that there is room on the store's disk.
    pub room_kept: OnceCell<()>,
}

/// What comes of waiting for an action that another build may be running.
pub(crate) enum Turn {
    /// It is to be run, and nobody else does while this is held.
    Own(ActionLock),
    /// Another build made its result.
    Shared(ActionResult),
}

/// A disk has next to nothing free with less than so many bytes, or than one part in `FULL_SHARE` of it.
const FULL_BYTES: u64 = 64 << 20;
const FULL_SHARE: u64 = 64;

impl Services {
    /// Sees to it, before the first step of a build runs, that there is room on the store's disk. What the build has found or
    /// made until then stays.
    pub(crate) async fn keep_room(&self) {
        let keep = async || {
            let bounds = self.options.bounds;
            let room = self.store.disk_room();
            if room.is_ok_and(|room| room.free_bytes < bounds.min_free_bytes) {
                let store = self.store.clone();
                let kept =
                    tokio::task::spawn_blocking(move || store.keep_within_before_use(&bounds))
                        .await;
                // The step may still find room for what it makes.
                tracing::debug!(?kept, "little is free on the store's disk");
            }
        };
        self.room_kept.get_or_init(keep).await;
    }

    /// Notes whether the store's disk is full: a step failed, and what it has written is still there.
    pub(crate) fn note_room(&self) {
        if let Ok(room) = self.store.disk_room()
            && room.free_bytes < FULL_BYTES.min(room.total_bytes / FULL_SHARE)
        {
            self.disk_full.store(true, Ordering::Relaxed);
        }
    }

    /// Tells once a build how steps run, where that is not as root with overlayfs.
    pub(crate) fn tell_mode(&self, report: &HostReport) {
        self.mode_told.call_once(|| {
            tracing::info!(mode = %report.mode, reason = %report.reason, "steps run");
            if report.mode != Mode::Root || report.stacking != Stacking::Overlayfs {
                let name = format!("[internal] steps run in mode {}", report.mode);
                let event = self.reporter.start_internal(&name);
                self.reporter.finish_internal(event, &Ok::<_, String>(()));
            }
            if let Some(message) = report.warning() {
                self.reporter.warn(message);
            }
        });
    }

    /// Returns the time that made directories carry.
    pub(crate) fn now(&self) -> Mtime {
        let ms = self.options.now_unix_ms;
        Mtime {
            seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            nanos: 0,
        }
    }

    /// Sees to it that the layers of base images are stored. Blocks.
    pub(crate) fn ensure(&self, layers: &[LayerId], event: u64) -> Result<(), StepError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(StepError::Cancelled),
                result = self.images.ensure(layers, &self.reporter, event) => result,
            }
        })
    }

    /// Returns the merged view of a root file system. Blocks while layers are downloaded.
    pub(crate) fn tree(&self, snapshot: &Snapshot, event: u64) -> Result<MergedTree, StepError> {
        self.ensure(&snapshot.layers, event)?;
        Ok(self.snapshots.tree(&snapshot.layers)?)
    }

    /// Says which forms the layer of a vertex is made in: as a directory only where a step mounts
    /// it, since files that are only copied or exported are cheaper in one packed file.
    pub(crate) fn forms(&self, vertex: &Vertex) -> Forms {
        Forms {
            packed: !vertex.mounted,
            unpacked: vertex.mounted,
            named: vertex.in_image,
        }
    }

    /// Waits for the turn to run an action while other builds run it. What one of them made meanwhile is shared, if it is not
    /// made before the `oldest` time that will do.
    pub(crate) async fn turn(
        &self,
        key: &ActionKey,
        oldest_unix_ms: Option<u64>,
    ) -> Result<Turn, StepError> {
        let will_do = move |result: &ActionResult| {
            oldest_unix_ms.is_some_and(|oldest| !result.is_before(oldest))
        };
        if let Some(lock) = self.store.try_lock_action(key)? {
            return Ok(Turn::Own(lock));
        }
        loop {
            let store = self.store.clone();
            let cancel = self.cancel.clone();
            let key = *key;
            let wait = move || {
                // Who waits need not wait for the others that waited. What can't be read is told below.
                let made = || matches!(store.action(&key), Ok(Some(result)) if will_do(&result));
                store.lock_action(&key, &|| cancel.is_cancelled() || made())
            };
            let lock = tokio::task::spawn_blocking(wait)
                .await
                .map_err(|join| StepError::Internal(join.to_string()))??;
            if let Some(result) = self.store.action(&key)?.filter(will_do) {
                return Ok(Turn::Shared(result));
            }
            match lock {
                Some(lock) => return Ok(Turn::Own(lock)),
                None if self.cancel.is_cancelled() => return Err(StepError::Cancelled),
                // What was made is gone again.
                None => {}
            }
        }
    }

    /// Returns the results that the build used, each with all its keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn used_results(&self) -> Result<Vec<CachedResult>, StepError> {
        let mut used = self.used.list(&self.store, self.images.cache())?;
        // Where builds share a time they export the same.
        if self.options.file_time.is_some() {
            used.iter_mut()
                .for_each(|result| result.made_unix_ms = None);
        }
        Ok(used)
    }

    /// Remembers that a result was found or made under these keys, and keeps one from elsewhere.
    pub(crate) fn note_use<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k ActionKey> + Clone,
        result: &ActionResult,
    ) -> Result<(), StepError> {
        for key in keys.clone() {
            let oldest = self.options.oldest_unix_ms();
            self.images.cache().adopt(key, &self.store, oldest)?;
        }
        self.used.note(keys, result);
        Ok(())
    }

    /// Returns a build context.
    pub(crate) fn context(&self, name: &str) -> Result<&Arc<ContextFiles>, StepError> {
        self.contexts
            .get(name)
            .ok_or_else(|| StepError::Internal(format!("there is no build context {name:?}")))
    }

    /// Says whether the request allows an entitlement.
    pub(crate) fn require(&self, entitlement: &'static str) -> Result<(), StepError> {
        if self
            .options
            .allow
            .iter()
            .any(|allowed| allowed == entitlement)
        {
            return Ok(());
        }
        Err(StepError::NotAllowed { entitlement })
    }
}

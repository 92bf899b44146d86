//! One build, from its request to its image.

mod attesting;
mod credentials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use stagewright_digest::LayerId;
use stagewright_dockerfile::{Dockerfile, did_you_mean};
use stagewright_fetch::{RegistryOptions, git_commit_time};
use stagewright_oci::Platform;
use stagewright_plan::{
    KnownImages, LowerOptions, Lowered, NetworkMode, Plan, SourceOp, StageInfo, Unset, lower,
};
use stagewright_snapshot::Snapshots;
use stagewright_solver::{
    BuildClock, CancellationToken, ContextFiles, EventKind, EventSink, Explained, FailedPlace,
    Images, ImportedCache, Limits, Remotes, Reporter, Services, SolveOptions, StepError,
    UsedMounts, UsedResults, Volume, fetch_context, solve,
};
use stagewright_store::SpaceBounds;
use tokio::sync::OnceCell;

use self::credentials::{secret_values, ssh_agents};
use crate::builder::Builder;
use crate::cache_transfer::{self, CacheFrom};
use crate::checks::{self, CheckReport};
use crate::describe::{self, Outline, Targets};
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::image::{Image, Made, StageSize};
use crate::input::{Input, RemoteContext};
use crate::name_servers;
use crate::request::{self, BuildRequest, ContextSource, Network};
use crate::tagging::{put_name, unix_ms_now};

/// The build argument that gives everything its time.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// The build argument that takes the place of `# syntax=`.
const SYNTAX: &str = "BUILDKIT_SYNTAX";
/// The build argument by which the `.git` of a context from a repository is kept.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Runs a build.
pub(crate) async fn run(
    builder: Builder,
    request: BuildRequest,
    sink: EventSink,
    cancel: CancellationToken,
    failed: FailedPlace,
) -> Result<Image, Error> {
    let kept = request.keep_failed_step.then_some(failed);
    let mut job = Job::new(builder, request, Reporter::new(sink), cancel).await?;
    job.failed = kept;
    job.run().await
}

/// How often a build begins anew because something that it needed turned out to be damaged.
const RESTARTS_MAX: u32 = 8;
/// How often a build begins anew because the disk was full.
const ROOMS_MAX: u32 = 2;
const FULL_DISK_HELP: &str = "next to nothing is free on the disk that the store is on: make room there, or name another folder for the store";

/// Finds the time that everything is to carry, if it is not to carry its own.
async fn epoch(request: &BuildRequest) -> Option<u64> {
    let argument = request
        .build_args
        .iter()
        .rfind(|(name, _)| name == SOURCE_DATE_EPOCH)
        .and_then(|(_, value)| value.parse().ok());
    match (request.source_date_epoch.or(argument), &request.context) {
        (Some(seconds), _) => Some(seconds),
        (None, _) if !request.reproducible => None,
        (None, ContextSource::Directory(folder)) => {
            let time = git_commit_time(folder).await;
            Some(time.and_then(|time| u64::try_from(time).ok()).unwrap_or(0))
        }
        (None, _) => Some(0),
    }
}

/// Says what a build would do.
pub(crate) async fn explain(
    builder: Builder,
    request: BuildRequest,
) -> Result<Vec<Explained>, Error> {
    let nobody = Reporter::new(Arc::new(|_| {}));
    let job = Job::new(builder, request, nobody, CancellationToken::new()).await?;
    let prepared = job.prepare().await?;
    stagewright_solver::explain(prepared.plan, prepared.services)
        .await
        .map_err(|error| failure::of_solve(error, &prepared.input.source))
}

/// Runs the build checks on what a build would build; without a target, on all stages.
pub(crate) async fn check(builder: Builder, request: BuildRequest) -> Result<CheckReport, Error> {
    let asked = request.clone();
    let job = Job::new(
        builder,
        request,
        Reporter::silent(),
        CancellationToken::new(),
    )
    .await?;
    let (input, images, _) = job.read().await?;
    let mut stages: Vec<StageInfo> = Vec::new();
    let mut targets: Vec<Option<String>> = vec![input.target.clone()];
    if input.target.is_none() {
        let all = 0..input.dockerfile.stages.len();
        targets = all.rev().map(|index| Some(index.to_string())).collect();
    }
    for target in targets {
        let index: Option<usize> = target.as_deref().and_then(|target| target.parse().ok());
        if index.is_some_and(|index| stages.iter().any(|stage| stage.index == index)) {
            continue;
        }
        let plan = job.plan(&input, &images, target).await?;
        stages.extend(plan.stages);
    }
    checks::check_input(&input, &asked, &stages)
}

/// Lists the stages that could be built.
pub(crate) async fn targets(builder: Builder, request: BuildRequest) -> Result<Targets, Error> {
    let job = Job::new(
        builder,
        request,
        Reporter::silent(),
        CancellationToken::new(),
    )
    .await?;
    let (input, _, _) = job.read().await?;
    Ok(describe::targets(&input))
}

/// Says what a target takes.
pub(crate) async fn outline(builder: Builder, request: BuildRequest) -> Result<Outline, Error> {
    let job = Job::new(
        builder,
        request,
        Reporter::silent(),
        CancellationToken::new(),
    )
    .await?;
    let (input, images, _) = job.read().await?;
    let plan = job.plan(&input, &images, input.target.clone()).await?;
    Ok(describe::outline(&input, &plan))
}

/// All that is known before the first step.
struct Prepared {
    input: Input,
    plan: Plan,
    services: Arc<Services>,
}

struct Job {
    builder: Builder,
    /// What the build uses is not collected while it runs.
    session: Snapshots,
    request: BuildRequest,
    reporter: Reporter,
    cancel: CancellationToken,
    platform: Platform,
    now_unix_ms: u64,
    /// When it began, by the clock.
    started_unix_ms: u64,
    /// The caches from elsewhere, read once.
    cache: OnceCell<Arc<ImportedCache>>,
    /// Where a step that fails is kept, if it is.
    failed: Option<FailedPlace>,
    /// A step failed while next to nothing was free on the store's disk.
    disk_full: Arc<AtomicBool>,
    clock: BuildClock,
}

impl Job {
    async fn new(
        builder: Builder,
        mut request: BuildRequest,
        reporter: Reporter,
        cancel: CancellationToken,
    ) -> Result<Self, Error> {
        request.source_date_epoch = epoch(&request).await;
        let platform = match &request.platform {
            None => Platform::host(),
            Some(text) => text
                .parse::<Platform>()
                .map_err(|error| Error::new(ErrorKind::Request, error.to_string()))?,
        };
        if platform.os != "linux" {
            let message = format!("building for {platform} is not supported: only Linux is");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let now_unix_ms = match request.source_date_epoch {
            Some(seconds) => seconds.saturating_mul(1000),
            None => unix_ms_now(),
        };
        let started_unix_ms = unix_ms_now();
        Ok(Self {
            session: builder.inner().snapshots.session(),
            builder,
            request,
            reporter,
            cancel,
            platform,
            now_unix_ms,
            started_unix_ms,
            cache: OnceCell::new(),
            failed: None,
            disk_full: Arc::default(),
            clock: BuildClock::start(started_unix_ms),
        })
    }

    /// Builds. What turns out to be damaged is set aside at once and is then as if it had never been
    /// there: the build begins anew, finds the rest in the cache, and makes what is missing. So it does
    /// when a layer of a cache from elsewhere cannot be had, and when the disk was full and room could be made.
    async fn run(self) -> Result<Image, Error> {
        let (mut restarts, mut rooms, mut first) = (0, 0, true);
        loop {
            let (seen, lost) = (self.builder.damage_seen(), self.lost_layers());
            let mut result = self.run_once(first).await;
            first = false;
            if let Err(error) = &mut result
                && self.found_disk_full(error)
                && !self.cancel.is_cancelled()
            {
                rooms += 1;
                if rooms <= ROOMS_MAX && self.make_room(rooms == ROOMS_MAX).await {
                    continue;
                }
                error.help.get_or_insert_with(|| FULL_DISK_HELP.to_owned());
            }
            let damaged = self.builder.damage_seen() > seen;
            for warning in self.builder.take_warnings() {
                self.reporter.warn(warning);
            }
            let goes_on = damaged && restarts < RESTARTS_MAX || self.lost_layers() > lost;
            match &result {
                Err(error) if goes_on && !self.cancel.is_cancelled() => {
                    if !damaged {
                        self.reporter.warn(format!(
                            "{error}: the build begins anew, and the steps that made it run"
                        ));
                    }
                }
                _ => {
                    self.keep_limit().await;
                    return result;
                }
            }
            restarts += u32::from(damaged);
        }
    }

    fn lost_layers(&self) -> usize {
        self.cache.get().map_or(0, |cache| cache.lost_layers())
    }

    /// Says whether an error may be that of a full disk.
    fn found_disk_full(&self, error: &Error) -> bool {
        // Looked at first: what it says is of this attempt.
        let step = self.disk_full.swap(false, Ordering::Relaxed);
        step || failure::is_of_full_disk(error)
    }

    /// Makes room on the disk that was full; says whether it did.
    async fn make_room(&self, last: bool) -> bool {
        let builder = self.builder.clone();
        let made = tokio::task::spawn_blocking(move || builder.make_room(last)).await;
        // What cannot be removed is no reason of its own: the build says why it failed.
        let Ok(Ok(Some(bytes))) = made else {
            return false;
        };
        // What the step that failed has written is still there.
        drop(self.failed.as_ref().map(FailedPlace::take));
        self.reporter.warn(format!(
            "the disk of the store was full: {} MB of results that nobody needs were removed, and the build begins anew",
            bytes.div_ceil(1_000_000)
        ));
        true
    }

    /// Makes room in the store if it takes too much. The build is done: a failure is only told.
    async fn keep_limit(&self) {
        let builder = self.builder.clone();
        let kept = tokio::task::spawn_blocking(move || builder.keep_limit()).await;
        if let Ok(Err(error)) = kept {
            self.reporter
                .warn(format!("making room in the store failed: {error}"));
        }
    }

    async fn read(&self) -> Result<(Input, Images, Arc<Remotes>), Error> {
        let store = self.session.store();
        let remotes = Arc::new(Remotes::new(
            self.builder.inner().registries.network.clone(),
        ));
        let remote = self.remote_context(&remotes).await?;
        let input = Input::open(&self.request, store, &self.reporter, remote)?;
        let images = Images::new(
            store.clone(),
            self.session.with_latest_time(self.request.file_time()),
            self.registries(),
            input.named_images.clone(),
            self.request.pull,
        );
        Ok((input, images, remotes))
    }

    async fn prepare(&self) -> Result<Prepared, Error> {
        let (input, images, remotes) = self.read().await?;
        let import = || {
            cache_transfer::import(
                &self.request,
                self.registries(),
                &self.builder.inner().services,
                &self.platform,
                &self.reporter,
                self.clock.oldest_unix_ms(self.request.cache_ttl),
            )
        };
        let cache = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(cancelled()),
            cache = self.cache.get_or_init(import) => cache,
        };
        let images = images.with_cache(Arc::clone(cache));
        let plan = self.plan(&input, &images, input.target.clone()).await?;
        let services = self.services(
            input.contexts.clone(),
            &input.secrets,
            input.volumes.clone(),
            images,
            remotes,
        )?;
        let services = Arc::new(services);
        Ok(Prepared {
            input,
            plan,
            services,
        })
    }

    /// Returns how registries are reached.
    fn registries(&self) -> RegistryOptions {
        let mut options = self.builder.inner().registries.clone();
        let hosts = self
            .request
            .cache_from
            .iter()
            .filter_map(CacheFrom::insecure_host);
        options.insecure.extend(hosts);
        options
    }

    /// Tells what the build checks found, and what of the file is not followed.
    fn tell_findings(&self, input: &Input, plan: &Plan) -> Result<(), Error> {
        if let Some(message) = foreign_frontend(&self.request, &input.dockerfile) {
            self.reporter.warn(message);
        }
        let report = checks::check_input(input, &self.request, &plan.stages)?;
        if report.failed {
            return Err(checks::violation(&report));
        }
        for finding in report.findings {
            self.reporter.send(EventKind::Warning {
                message: format!("{}: {}", finding.rule, finding.message),
                line: Some(finding.line),
                finding: Some(finding),
            });
        }
        Ok(())
    }

    async fn run_once(&self, first: bool) -> Result<Image, Error> {
        let tags = crate::image::parse_names(&self.request.tags)?;
        let store = self.session.store();
        let Prepared {
            input,
            plan,
            services,
        } = self.prepare().await?;
        if first {
            self.tell_findings(&input, &plan)?;
        }
        let stage_names: Vec<String> = plan
            .stages
            .iter()
            .map(|stage| {
                stage
                    .name
                    .clone()
                    .unwrap_or_else(|| format!("stage-{}", stage.index))
            })
            .collect();
        let attests = self.request.sbom || self.request.provenance.is_some();
        let kept = attests.then(|| plan.clone());
        let solved = solve(plan, Arc::clone(&services), self.request.jobs)
            .await
            .map_err(|error| failure::of_solve(error, &input.source))?;
        for context in services.contexts.values() {
            context.save().map_err(failure::of_step)?;
            for path in context.skipped() {
                let shown = path.display();
                self.reporter
                    .warn(format!("{shown} is a socket: it is not copied"));
            }
        }
        let used: BTreeSet<LayerId> = solved
            .stages
            .iter()
            .flat_map(|stage| stage.layers.iter().copied())
            .chain(solved.layers.iter().copied())
            .collect();
        // Not the build's time: that may be one that all builds share.
        store.note_use(&used.into_iter().collect::<Vec<_>>(), unix_ms_now())?;
        // An image is kept with all its layers, but those of base images.
        let made_layers: Vec<LayerId> = solved
            .layers
            .iter()
            .filter(|layer| matches!(layer, LayerId::Made(_)))
            .copied()
            .collect();
        services
            .images
            .ensure(&made_layers, &self.reporter, 0)
            .await
            .map_err(failure::of_step)?;
        let attestations = match kept {
            Some(plan) => self.attest(&input, &plan, &services, &solved).await?,
            None => Vec::new(),
        };
        let stages = stage_names
            .into_iter()
            .zip(solved.stages)
            .map(|(name, snapshot)| StageSize {
                name,
                layers: snapshot.layers.to_vec(),
            })
            .collect();
        let made = Made {
            config: solved.config,
            layers: solved.layers,
            stages,
            attestations,
        };
        let services = without_input(services);
        let mut image = Image::assemble(&self.builder, made, services).await?;
        for tag in &tags {
            put_name(&[&image], tag)?;
            image.add_name(tag.to_string());
        }
        Ok(image)
    }

    /// Checks the names of what is to be unset.
    fn check_unset(&self) -> Result<(), Error> {
        let (env, labels) = (&self.request.unset_env, &self.request.unset_labels);
        let is_wrong = |name: &&String| name.is_empty() || name.contains('=');
        let wrong = env.iter().find(is_wrong);
        match wrong.or(labels.iter().find(|name| name.is_empty())) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{name:?} is no name of a variable or a label to unset");
                Err(Error::new(ErrorKind::Request, message))
            }
        }
    }

    /// Lowers the Dockerfile, finding out about the images that it turns out to need.
    async fn plan(
        &self,
        input: &Input,
        images: &Images,
        target: Option<String>,
    ) -> Result<Plan, Error> {
        self.check_unset()?;
        let options = LowerOptions {
            target,
            ..self.lower_options(input)
        };
        let mut known = KnownImages::default();
        loop {
            let needs = match lower(&input.dockerfile, &options, &known)
                .map_err(|error| failure::of_lower(error, &input.source))?
            {
                Lowered::Plan(plan) => return Ok(*plan),
                Lowered::NeedImages(needs) => needs,
            };
            let resolved = needs
                .iter()
                .map(|need| images.resolve(need, &self.reporter));
            let resolved = futures_util::future::join_all(resolved);
            let resolved = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(cancelled()),
                resolved = resolved => resolved,
            };
            for (need, image) in needs.iter().zip(resolved) {
                let image = image.map_err(|error| {
                    let error = failure::of_step_at(error, need.span, &input.source);
                    with_stage_hint(error, &need.reference, input)
                })?;
                known.insert(need, image);
            }
        }
    }

    /// Returns the build arguments. A time that is given otherwise is one too, so that an `ARG` of
    /// its name gets it.
    fn build_args(&self) -> BTreeMap<String, String> {
        let epoch = self.request.source_date_epoch;
        let epoch = epoch.map(|seconds| (SOURCE_DATE_EPOCH.to_owned(), seconds.to_string()));
        epoch
            .into_iter()
            .chain(self.request.build_args.iter().cloned())
            .collect()
    }

    fn lower_options(&self, input: &Input) -> LowerOptions {
        let request = &self.request;
        LowerOptions {
            target: input.target.clone(),
            build_args: self.build_args(),
            labels: request.labels.clone(),
            unset: Unset {
                env: request.unset_env.clone(),
                labels: request.unset_labels.clone(),
                inherited_labels: !request.inherit_labels,
            },
            squash: request.squash,
            platform: self.platform.clone(),
            build_platform: Platform::host(),
            no_cache: request.no_cache,
            no_cache_stages: request.no_cache_filter.clone(),
            network: match request.network {
                // Which way the steps' own network is connected is no matter of the plan.
                Network::Default | Network::Pasta | Network::Slirp4netns => NetworkMode::Default,
                Network::Host => NetworkMode::Host,
                Network::None => NetworkMode::None,
            },
            remote_context: input.remote_context.clone(),
            named: input.named_sources.clone(),
            source_date_epoch: request.source_date_epoch,
            project: input.project.clone(),
        }
    }

    /// Fetches the build context if it lies on the network.
    async fn remote_context(&self, remotes: &Arc<Remotes>) -> Result<Option<RemoteContext>, Error> {
        let ContextSource::Remote(address) = &self.request.context else {
            return Ok(None);
        };
        let keep_git_dir = self
            .request
            .build_args
            .iter()
            .rfind(|(name, _)| name == KEEP_GIT_DIR)
            .map(|(_, value)| matches!(value.as_str(), "1" | "true"));
        let op = SourceOp::remote_context(address, keep_git_dir).ok_or_else(|| {
            let message = format!("{address:?} is not the address of a context");
            Error::new(ErrorKind::Request, message)
        })?;
        let inner = self.builder.inner();
        let images = Images::new(
            self.session.store().clone(),
            self.session.clone(),
            inner.registries.clone(),
            BTreeMap::new(),
            false,
        );
        let services = self.services(
            BTreeMap::new(),
            &self.request.secrets,
            Vec::new(),
            images,
            Arc::clone(remotes),
        )?;
        let tree = fetch_context(&services, &op)
            .await
            .map_err(failure::of_step)?;
        Ok(Some(RemoteContext {
            address: address.clone(),
            op,
            tree,
        }))
    }

    fn services(
        &self,
        contexts: BTreeMap<String, Arc<ContextFiles>>,
        secrets: &[request::Secret],
        volumes: Vec<Volume>,
        images: Images,
        remotes: Arc<Remotes>,
    ) -> Result<Services, Error> {
        let inner = self.builder.inner();
        let request = &self.request;
        let secrets = secret_values(secrets)?;
        let ssh = ssh_agents(&request.ssh)?;
        let mut allow = request.allow.clone();
        // Who asks for the host's network for the whole build allows it.
        if request.network == Network::Host {
            allow.push("network.host".to_owned());
        }
        let limits = Limits {
            extra_hosts: failure::hosts(&request.extra_hosts)?,
            resolv_conf: name_servers::resolv_conf(request)?,
            volumes,
            shm_bytes: request.shm_bytes,
            ulimits: failure::ulimits(&request.ulimits)?,
            timeout: request.step_timeout,
            cgroup_parent: request.cgroup_parent.clone().map(Into::into),
            cgroup: stagewright_exec::Limits {
                memory_bytes: request.memory_bytes,
                memory_swap_bytes: request.memory_swap_bytes,
                cpu_quota_us: request.cpu_quota_us,
                cpu_period_us: request.cpu_period_us,
                cpu_shares: request.cpu_shares,
                cpuset_cpus: request.cpuset_cpus.clone(),
                cpuset_mems: request.cpuset_mems.clone(),
                pids: None,
            },
            log_bytes: request.step_log_bytes_max,
        };
        Ok(Services {
            store: self.session.store().clone(),
            snapshots: self.session.with_latest_time(self.request.file_time()),
            sandbox: Arc::clone(&inner.sandbox),
            images: Arc::new(images),
            remotes,
            contexts,
            reporter: self.reporter.clone(),
            // The solver ends the rest of a build that failed: it may begin anew.
            cancel: self.cancel.child_token(),
            runtime: self.builder.runtime()?.handle().clone(),
            options: SolveOptions {
                now_unix_ms: self.now_unix_ms,
                clock: self.clock,
                cache_ttl: request.cache_ttl,
                bounds: SpaceBounds {
                    max_used_bytes: 0,
                    ..inner.bounds
                },
                file_time: self.request.file_time(),
                network: match request.network {
                    Network::Pasta => stagewright_exec::Network::Pasta,
                    Network::Slirp4netns => stagewright_exec::Network::Slirp4netns,
                    Network::Default | Network::Host | Network::None => {
                        stagewright_exec::Network::Host
                    }
                },
                limits,
                secrets,
                ssh,
                allow,
            },
            used: UsedResults::default(),
            mounts: UsedMounts::default(),
            mode_told: Once::new(),
            failed: self.failed.clone(),
            disk_full: Arc::clone(&self.disk_full),
            room_kept: OnceCell::new(),
        })
    }
}

/// An image may be kept for long, and needs neither the open contexts of its build nor its secrets.
fn without_input(services: Arc<Services>) -> Arc<Services> {
    match Arc::try_unwrap(services) {
        Ok(mut services) => {
            services.contexts.clear();
            services.options.secrets.clear();
            services.options.ssh.clear();
            Arc::new(services)
        }
        // A step that was cut off has not let go of them yet.
        Err(services) => services,
    }
}

fn cancelled() -> Error {
    failure::of_step(StepError::Cancelled)
}

/// Says that a file asks for a frontend which is not Docker's own and which is not run.
fn foreign_frontend(request: &BuildRequest, dockerfile: &Dockerfile) -> Option<String> {
    const OWN: [&str; 4] = [
        "docker/dockerfile",
        "docker/dockerfile-upstream",
        "moby/dockerfile",
        "dockerfile.v0",
    ];
    let given = request.build_args.iter().rfind(|(name, _)| name == SYNTAX);
    let asked = match given {
        Some((_, value)) => value.split_whitespace().next(),
        None => dockerfile.directives.syntax.as_deref(),
    }?;
    let name = asked.strip_prefix("docker.io/").unwrap_or(asked);
    let name = name.split('@').next().unwrap_or(name);
    let name = name.split(':').next().unwrap_or(name);
    let message = format!(
        "the syntax {asked} is ignored: frontends are not run, the file is read as a Dockerfile"
    );
    (!OWN.contains(&name)).then_some(message)
}

/// A name that could not be found as an image may have been meant as a stage's.
fn with_stage_hint(mut error: Error, reference: &str, input: &Input) -> Error {
    let stages = &input.dockerfile.stages;
    let names: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage.name.as_deref())
        .collect();
    if !reference.contains(['/', ':', '@']) && !names.is_empty() && error.help.is_none() {
        let near = did_you_mean(reference, names.iter().copied());
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        error.help = Some(format!(
            "no stage is called {reference:?}, so it was looked up as an image; the stages are {}{near}",
            names.join(", ")
        ));
    }
    error
}

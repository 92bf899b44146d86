//! What a caller asks for.

use std::path::PathBuf;
use std::time::Duration;

use crate::attest::ProvenanceOptions;
use crate::cache_transfer::CacheFrom;
use crate::error::{Error, ErrorKind};
use crate::stage::Stage;
use stagewright_oci::Platform;
use stagewright_plan::RemoteKind;
pub use stagewright_plan::Squash;
use stagewright_solver::Volume;

/// Everything that one build is asked to do. Plain data: fill in what differs from the default.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRequest {
    /// The build context.
    pub context: ContextSource,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// A file with the rules of what of the context is left out, in place of those that are looked for:
    /// the Dockerfile's name with `.dockerignore` or `.containerignore` behind it, then the context's
    /// `.dockerignore` or `.containerignore`. For a context that is a directory.
    pub ignore_file: Option<PathBuf>,
    /// Named contexts (`--build-context`).
    pub named_contexts: Vec<(String, NamedContext)>,
    /// The stage to build: a name or an index. The last stage if absent.
    pub target: Option<String>,
    /// The stage to build, written in code. It may start from stages of the Dockerfile and copy
    /// from them.
    pub stage: Option<Stage>,
    /// Build arguments. A name without a value is given none (the command looks such names up in
    /// its environment first).
    pub build_args: Vec<(String, String)>,
    /// Labels, set after all of the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// Variables that the image does not have, whoever set them. Steps see them all the same.
    pub unset_env: Vec<String>,
    /// Labels that the image does not have, whoever set them.
    pub unset_labels: Vec<String>,
    /// Take over the labels of what a stage starts from; usual.
    pub inherit_labels: bool,
    /// Which layers of the image become one.
    pub squash: Squash,
    /// Names for the image in the store: `name[:tag]`.
    pub tags: Vec<String>,
    /// The platform of the image, as `os/architecture[/variant]`; the host's if absent.
    pub platform: Option<String>,
    /// Ignore the cache for every step.
    pub no_cache: bool,
    /// Ignore the cache for the steps of these stages.
    pub no_cache_filter: Vec<String>,
    /// Run commands again whose results were made longer ago than this when the build begins. What a copy makes follows from
    /// its key, and is never too old. A result counts from when it was made, or made again with the same files, not from when
    /// it was used; one from another cache from what is said there.
    pub cache_ttl: Option<Duration>,
    /// Ask the registries for base images even if the store has images of their names.
    pub pull: bool,
    /// Caches that other builds exported: what the store has not is looked up there. One that cannot
    /// be had is told of and left out.
    pub cache_from: Vec<CacheFrom>,
    /// The network of steps that name none.
    pub network: Network,
    /// Secrets that steps may mount.
    pub secrets: Vec<Secret>,
    /// ssh agents that steps may reach (`RUN --mount=type=ssh`).
    pub ssh: Vec<SshAgent>,
    /// Names for addresses in the steps' `/etc/hosts`, as `(name, address)`.
    pub extra_hosts: Vec<(String, String)>,
    /// The name servers of the steps' `/etc/resolv.conf`, by their addresses; those of the host, or of a
    /// network of the steps' own, if there are none. `none` alone leaves the image's file as it is. They
    /// enter no key, as the addresses of `extra_hosts`.
    pub dns: Vec<String>,
    /// The search domains there; the host's if there are none. `.` alone is none at all.
    pub dns_search: Vec<String>,
    /// The options there; the host's if there are none.
    pub dns_options: Vec<String>,
    /// The size of the steps' `/dev/shm`, in bytes; 64 MiB if absent.
    pub shm_bytes: Option<u64>,
    /// The most memory of a step, in bytes. As all limits here, it needs a cgroup of the host's.
    pub memory_bytes: Option<u64>,
    /// The most memory and swap of a step together: as `memory_bytes` to forbid swap, -1 not to limit
    /// it; twice `memory_bytes` if absent.
    pub memory_swap_bytes: Option<i64>,
    /// The weight of a step's processor time against others', 1,024 being usual.
    pub cpu_shares: Option<u64>,
    /// The most processor time of a step, in microseconds, out of each `cpu_period_us`.
    pub cpu_quota_us: Option<u64>,
    /// The period of `cpu_quota_us`, in microseconds; 100,000 if absent.
    pub cpu_period_us: Option<u64>,
    /// The processors that a step may use, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that a step may use, such as `0,1`.
    pub cpuset_mems: Option<String>,
    /// The cgroup, below the host's cgroup root, that those of steps are made in.
    pub cgroup_parent: Option<String>,
    /// Resource limits of the steps, as `(name, soft, hard)`: `("nofile", 1024, 2048)`.
    pub ulimits: Vec<(String, u64, u64)>,
    /// Folders and files of the host that all `RUN`s see.
    pub volumes: Vec<Volume>,
    /// How long a step may take, without limit if absent. One that takes longer is ended, with all
    /// that it started, and the build fails.
    pub step_timeout: Option<Duration>,
    /// How many bytes of what a step writes are told, 2 MiB if absent; 0 is no limit. What is more is
    /// left out, and that it was is told in its place. The last lines of a step that fails are
    /// in the error all the same.
    pub step_log_bytes_max: Option<u64>,
    /// Keep the step that fails, so that it can be entered ([`Build::kept_step`](crate::Build::kept_step)).
    pub keep_failed_step: bool,
    /// How many steps may run at once; a generous number if absent.
    pub jobs: Option<usize>,
    /// Seconds since 1970 for `created`, the history and all files, for an image that does not depend
    /// on when and where it was built. Files of the context carry this time, before any step sees
    /// them; what steps make carries no later one. The build argument `SOURCE_DATE_EPOCH` says the
    /// same.
    pub source_date_epoch: Option<u64>,
    /// Without a `source_date_epoch`, take the time of the commit that the context's folder is at,
    /// else 0.
    pub reproducible: bool,
    /// Provenance that goes with the image (`--provenance`).
    pub provenance: Option<ProvenanceOptions>,
    /// A list of the packages in the image goes with it, in SPDX (`--sbom`).
    pub sbom: bool,
    /// Entitlements that steps may ask for: `network.host`, `security.insecure`.
    pub allow: Vec<String>,
}

impl BuildRequest {
    /// Asks for a build of the Dockerfile in a directory, with the directory as the context.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self {
            context: ContextSource::Directory(path.into()),
            dockerfile: DockerfileSource::Usual,
            ignore_file: None,
            named_contexts: Vec::new(),
            target: None,
            stage: None,
            build_args: Vec::new(),
            labels: Vec::new(),
            unset_env: Vec::new(),
            unset_labels: Vec::new(),
            inherit_labels: true,
            squash: Squash::No,
            tags: Vec::new(),
            platform: None,
            no_cache: false,
            no_cache_filter: Vec::new(),
            cache_ttl: None,
            pull: false,
            cache_from: Vec::new(),
            network: Network::Default,
            secrets: Vec::new(),
            ssh: Vec::new(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            shm_bytes: None,
            memory_bytes: None,
            memory_swap_bytes: None,
            cpu_shares: None,
            cpu_quota_us: None,
            cpu_period_us: None,
            cpuset_cpus: None,
            cpuset_mems: None,
            cgroup_parent: None,
            ulimits: Vec::new(),
            volumes: Vec::new(),
            step_timeout: None,
            step_log_bytes_max: None,
            keep_failed_step: false,
            jobs: None,
            source_date_epoch: None,
            reproducible: false,
            provenance: None,
            sbom: false,
            allow: Vec::new(),
        }
    }

    /// Returns the time that files carry in place of their own, in seconds since 1970.
    pub(crate) fn file_time(&self) -> Option<i64> {
        self.source_date_epoch
            .map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Asks for a build of a stage that is written in code, with a directory as the context.
    pub fn stage(stage: Stage, context: impl Into<PathBuf>) -> Self {
        Self {
            dockerfile: DockerfileSource::Nothing,
            stage: Some(stage),
            ..Self::directory(context)
        }
    }

    /// Asks for a build of a Dockerfile given as text, with no context.
    pub fn text(dockerfile: impl Into<String>) -> Self {
        Self {
            context: ContextSource::Empty,
            dockerfile: DockerfileSource::Text(dockerfile.into()),
            ..Self::directory("")
        }
    }
}

/// Where a build's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory.
    Directory(PathBuf),
    /// A tar archive in memory or on disk, compressed or not.
    Archive(PathBuf),
    /// A git repository (`https://host/path.git#reference:folder`), an archive or a Dockerfile by
    /// http.
    Remote(String),
    /// No files.
    Empty,
}

/// Writes a platform in its normal form: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`.
///
/// # Errors
/// [`ErrorKind::Request`] for what is none.
pub fn normal_platform(text: &str) -> Result<String, Error> {
    let platform: Platform = text
        .parse()
        .map_err(|error| Error::new(ErrorKind::Request, format!("{error}")))?;
    Ok(platform.to_string())
}

/// Tells whether a text is the address of a git repository or of a file on the web, and not a path.
pub fn is_remote_source(text: &str) -> bool {
    RemoteKind::of(text).is_some()
}

/// Where the Dockerfile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// The one at the context's root that is called `Dockerfile`, `dockerfile` or `Containerfile`, the
    /// first that is there.
    Usual,
    /// A path relative to the context's root.
    InContext(String),
    /// A path outside the context.
    File(PathBuf),
    /// The text itself.
    Text(String),
    /// There is none: the request has a stage that is written in code.
    Nothing,
}

/// A context with a name, which takes the place of a stage or an image of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// A git repository, or a file by http, which is then called `context`.
    Remote(String),
    /// An image by reference (`docker-image://`).
    Image(String),
    /// A stage that is written in code.
    Stage(Stage),
    /// An image in an OCI image layout on disk (`oci-layout://PATH[:TAG|@DIGEST]`).
    OciLayout {
        /// The layout: a directory, or a tar of one.
        path: PathBuf,
        /// The tag or digest in it; the only image if absent.
        reference: Option<String>,
    },
    /// An image in an archive as `docker save` writes it (`docker-archive://PATH[:REFERENCE]`).
    DockerArchive {
        /// The archive.
        path: PathBuf,
        /// The image in it; the only image if absent.
        reference: Option<String>,
    },
}

/// The network of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The host's network.
    #[default]
    Default,
    /// The host's network.
    Host,
    /// Loopback only.
    None,
    /// One of its own, connected to the host's by the program `pasta`. For all steps of a build that
    /// name no network; not for one step.
    Pasta,
    /// As [`Network::Pasta`], by the program `slirp4netns`.
    Slirp4netns,
}

/// A secret that steps may mount. Its value enters no key, no layer and no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name that `RUN --mount=type=secret,id=…` asks for.
    pub id: String,
    /// Its value.
    pub value: SecretValue,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An ssh agent that steps may reach: to list its keys and to have data signed, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAgent {
    /// The name that `RUN --mount=type=ssh,id=…` asks for; `default` if it names none.
    pub id: String,
    /// The socket of an agent, or files of private keys in OpenSSH's format without passphrase.
    pub paths: Vec<PathBuf>,
}

/// The value of a [`Secret`].
#[derive(Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// The content of a file, which is there when the build starts and is read when a step needs it.
    File(PathBuf),
    /// The bytes themselves.
    Bytes(Vec<u8>),
}

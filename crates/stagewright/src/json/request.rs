//! Requests in JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use stagewright_solver::Volume;

use super::stage::{StageJson, stages};
use crate::attest::{AttestArgument, ProvenanceOptions};
use crate::cache_transfer::CacheFrom;
use crate::error::{Error, ErrorKind};
use crate::request::{
    BuildRequest, ContextSource, DockerfileSource, NamedContext, Network, Secret, SecretValue,
    Squash, SshAgent, is_remote_source,
};
use crate::stage::Stage;

/// A [`BuildRequest`]: these are the options of a build in every language.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RequestJson {
    /// The context: a directory, or the address of a git repository or an archive.
    context: Option<String>,
    /// The context as a tar archive.
    context_archive: Option<PathBuf>,
    /// The Dockerfile: a path in the context, or an absolute one.
    dockerfile: Option<String>,
    /// The Dockerfile's text.
    dockerfile_text: Option<String>,
    /// What of the context is left out, in place of its ignore file.
    ignore_file: Option<PathBuf>,
    /// Stages that are written in code, each after those that it needs.
    stages: Vec<StageJson>,
    /// The stage to build, of `stages`.
    stage: Option<usize>,
    build_contexts: BTreeMap<String, ContextJson>,
    target: Option<String>,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    unset_env: Vec<String>,
    unset_labels: Vec<String>,
    inherit_labels: Option<bool>,
    /// `new` or `true` for the layers of the build, `all` for those of the base too.
    squash: SquashJson,
    tags: Vec<String>,
    platform: Option<String>,
    no_cache: bool,
    no_cache_filter: Vec<String>,
    cache_ttl_ms: Option<u64>,
    pull: bool,
    /// As `--cache-from` has them: `type=registry,ref=…`, `type=local,src=…`, or a reference.
    cache_from: Vec<String>,
    network: Option<NetworkJson>,
    secrets: BTreeMap<String, SecretJson>,
    /// Sockets or files of keys by id.
    ssh: BTreeMap<String, Vec<PathBuf>>,
    extra_hosts: BTreeMap<String, String>,
    dns: Vec<String>,
    dns_search: Vec<String>,
    dns_options: Vec<String>,
    shm_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    memory_swap_bytes: Option<i64>,
    cpu_shares: Option<u64>,
    cpu_quota_us: Option<u64>,
    cpu_period_us: Option<u64>,
    cpuset_cpus: Option<String>,
    cpuset_mems: Option<String>,
    cgroup_parent: Option<String>,
    /// As `[name, soft, hard]`.
    ulimits: Vec<(String, u64, u64)>,
    /// As `--volume` has them: `SOURCE:TARGET[:OPTIONS]`.
    volumes: Vec<String>,
    /// As `--device` has them: `DEVICE[:TARGET]`.
    devices: Vec<String>,
    step_timeout_ms: Option<u64>,
    step_log_bytes_max: Option<u64>,
    jobs: Option<usize>,
    source_date_epoch: Option<u64>,
    #[serde(default)]
    reproducible: bool,
    /// As `--provenance` has it: `mode=max`, or a boolean.
    provenance: ProvenanceJson,
    sbom: bool,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ProvenanceJson {
    Asked(bool),
    Options(String),
}

impl Default for ProvenanceJson {
    fn default() -> Self {
        Self::Asked(false)
    }
}

impl TryFrom<ProvenanceJson> for Option<ProvenanceOptions> {
    type Error = Error;

    fn try_from(json: ProvenanceJson) -> Result<Self, Error> {
        match json {
            ProvenanceJson::Asked(asked) => Ok(asked.then(ProvenanceOptions::default)),
            ProvenanceJson::Options(text) => match AttestArgument::provenance(&text)? {
                AttestArgument::Provenance(options) => Ok(options),
                AttestArgument::Sbom(_) => Ok(None),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "squash is a boolean, \"new\" or \"all\"")]
enum SquashJson {
    Asked(bool),
    Which(SquashedJson),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SquashedJson {
    New,
    All,
}

impl Default for SquashJson {
    fn default() -> Self {
        Self::Asked(false)
    }
}

impl From<SquashJson> for Squash {
    fn from(json: SquashJson) -> Self {
        match json {
            SquashJson::Asked(false) => Self::No,
            SquashJson::Asked(true) | SquashJson::Which(SquashedJson::New) => Self::New,
            SquashJson::Which(SquashedJson::All) => Self::All,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ContextJson {
    Text(String),
    Stage { stage: usize },
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum NetworkJson {
    Default,
    Host,
    None,
    Pasta,
    Slirp4netns,
}

impl From<NetworkJson> for Network {
    fn from(network: NetworkJson) -> Self {
        match network {
            NetworkJson::Default => Self::Default,
            NetworkJson::Host => Self::Host,
            NetworkJson::None => Self::None,
            NetworkJson::Pasta => Self::Pasta,
            NetworkJson::Slirp4netns => Self::Slirp4netns,
        }
    }
}

/// The value of a secret.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SecretJson {
    File(PathBuf),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<SecretJson> for SecretValue {
    fn from(secret: SecretJson) -> Self {
        match secret {
            SecretJson::File(path) => Self::File(path),
            SecretJson::Text(text) => Self::Bytes(text.into_bytes()),
            SecretJson::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// Reads a request.
///
/// # Errors
/// [`ErrorKind::Request`] when an option is not known or has a wrong type.
pub fn parse_request(text: &str) -> Result<BuildRequest, Error> {
    let json: RequestJson = parse(text)?;
    let stages = stages(json.stages)?;
    let stage = json.stage.map(|index| pick(&stages, index)).transpose()?;
    let dockerfile = match (json.dockerfile, json.dockerfile_text) {
        (Some(_), Some(_)) => {
            return Err(fail(
                "the Dockerfile is given twice, as a file and as a text",
            ));
        }
        (None, Some(text)) => DockerfileSource::Text(text),
        (Some(file), None) if file.starts_with('/') => DockerfileSource::File(file.into()),
        (Some(file), None) => DockerfileSource::InContext(file),
        (None, None) if stage.is_some() => DockerfileSource::Nothing,
        (None, None) => DockerfileSource::Usual,
    };
    let context = match (json.context, json.context_archive) {
        (Some(_), Some(_)) => return Err(fail("the context is given twice")),
        (None, Some(archive)) => ContextSource::Archive(archive),
        (Some(text), None) if is_remote_source(&text) => ContextSource::Remote(text),
        (Some(path), None) => ContextSource::Directory(path.into()),
        (None, None) => ContextSource::Empty,
    };
    let mut named_contexts = Vec::new();
    for (name, context) in json.build_contexts {
        let context = match context {
            ContextJson::Text(text) => text.parse()?,
            ContextJson::Stage { stage } => NamedContext::Stage(pick(&stages, stage)?),
        };
        named_contexts.push((name, context));
    }
    let mut cache_from = Vec::new();
    for text in &json.cache_from {
        cache_from.extend(CacheFrom::parse_all(text)?);
    }
    Ok(BuildRequest {
        context,
        dockerfile,
        ignore_file: json.ignore_file,
        named_contexts,
        target: json.target,
        stage,
        build_args: json.build_args.into_iter().collect(),
        labels: json.labels.into_iter().collect(),
        unset_env: json.unset_env,
        unset_labels: json.unset_labels,
        inherit_labels: json.inherit_labels.unwrap_or(true),
        squash: json.squash.into(),
        tags: json.tags,
        platform: json.platform,
        no_cache: json.no_cache,
        no_cache_filter: json.no_cache_filter,
        cache_ttl: json.cache_ttl_ms.map(Duration::from_millis),
        pull: json.pull,
        cache_from,
        network: json.network.map(Into::into).unwrap_or_default(),
        secrets: json
            .secrets
            .into_iter()
            .map(|(id, value)| Secret {
                id,
                value: value.into(),
            })
            .collect(),
        ssh: json
            .ssh
            .into_iter()
            .map(|(id, paths)| SshAgent { id, paths })
            .collect(),
        extra_hosts: json.extra_hosts.into_iter().collect(),
        dns: json.dns,
        dns_search: json.dns_search,
        dns_options: json.dns_options,
        shm_bytes: json.shm_bytes,
        memory_bytes: json.memory_bytes,
        memory_swap_bytes: json.memory_swap_bytes,
        cpu_shares: json.cpu_shares,
        cpu_quota_us: json.cpu_quota_us,
        cpu_period_us: json.cpu_period_us,
        cpuset_cpus: json.cpuset_cpus,
        cpuset_mems: json.cpuset_mems,
        cgroup_parent: json.cgroup_parent,
        ulimits: json.ulimits,
        volumes: volumes(&json.volumes, &json.devices)?,
        step_timeout: json.step_timeout_ms.map(Duration::from_millis),
        step_log_bytes_max: json.step_log_bytes_max,
        // Steps are entered on the terminal of a program.
        keep_failed_step: false,
        jobs: json.jobs,
        source_date_epoch: json.source_date_epoch,
        reproducible: json.reproducible,
        provenance: json.provenance.try_into()?,
        sbom: json.sbom,
        allow: json.allow,
    })
}

/// Reads stages and returns the last one.
///
/// # Errors
/// [`ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_stage(text: &str) -> Result<Stage, Error> {
    stages(parse(text)?)?
        .pop()
        .ok_or_else(|| fail("there is no stage"))
}

pub(super) fn parse<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        // The text is ours; where in it the fault lies says nothing to the caller.
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |it| it.0);
        fail(&message.replace('`', "'"))
    })
}

pub(super) fn pick(stages: &[Stage], index: usize) -> Result<Stage, Error> {
    let message = "a stage is named before it is described";
    stages.get(index).cloned().ok_or_else(|| fail(message))
}

fn volumes(volumes: &[String], devices: &[String]) -> Result<Vec<Volume>, Error> {
    let volumes = volumes.iter().map(|text| Volume::parse(text));
    let devices = devices.iter().map(|text| Volume::parse_device(text));
    let read: Result<_, String> = volumes.chain(devices).collect();
    read.map_err(|message| fail(&message))
}

fn fail(message: &str) -> Error {
    Error::new(ErrorKind::Request, message)
}

//! Actions: vertices with their inputs resolved to content, and the keys that they make.
//!
//! What enters the key of each kind of vertex, and what does not. Whoever adds an input adds it
//! here, to the vectors of the tests, and sees to it that a miss because of it reads well.
//!
//! | input | `RUN` | `COPY`, `ADD` | `WORKDIR` |
//! |---|---|---|---|
//! | root file system below | by content ¹ | by content ¹, not with `--link` | by content ¹ |
//! | command, shell included | text | – | – |
//! | environment (`ENV`, each `ARG` in scope) | names and values | – | – |
//! | proxy arguments | no | no | no |
//! | working directory | text | in the destination | in the path |
//! | user | text ² | – | text ² |
//! | network, confinement, name of the host | text | – | – |
//! | limits, `/dev/shm` size, extra hosts' names, search domains | text | – | – |
//! | volumes of the host | target and access; what it holds if that is asked for; never the source | – | – |
//! | extra hosts' addresses, name servers and their options | no | – | – |
//! | limits of memory and processors, cgroup, way to the network (`pasta`), timeout | no | – | – |
//! | heredoc script | text | text | – |
//! | bind mount | target, and the content that it shows | – | – |
//! | cache mount | target and options, and the content that it starts as (`from`); never its own | – | – |
//! | secret, ssh | target and options; never the value | – | – |
//! | files copied | – | names below the source, type, mode ³, owner ³, size, bytes, link target, attributes | – |
//! | times of files | no | no | no |
//! | the time that all files are given, if one is | text | text | text |
//! | directories above a source | – | no | – |
//! | destination, flags | – | text | path |
//! | `--chown` | – | text ² | – |
//! | platform | text | – | – |
//!
//! Layers that become one (`--squash`) are keyed by the [`SnapshotId`] of all that there is, by how many of the lowest layers
//! stay as they are, and by the time that all files are given.
//!
//! ¹ The [`SnapshotId`]: a chain over the layers' contents, so that a step that ran again and made
//! the same files changes nothing after it. ² A name is looked up in the root file system below,
//! which is in the key. ³ Not where `--chmod` or `--chown` decides it.
//!
//! What `ADD` takes from the network is a layer of its own, whose key is described in `remote.rs`;
//! the step copies from it as from an image.
//!
//! A copy from a stage or an image has a second, *quick* key, which holds the [`SnapshotId`] of
//! what it copies from in place of the files: when nothing at all changed there, no file needs to
//! be looked at. Both keys lead to the same result.
//!
//! What a copy from a build context selects is listed first. The stamps of it all, which tell whether what the files hold is
//! known, lead to the key that they made the last time at this place of the Dockerfile: see `listed_context.rs`.
//!
//! [`SnapshotId`]: stagewright_digest::SnapshotId

use std::collections::BTreeMap;

use stagewright_context::glob::has_wildcards;
use stagewright_digest::{LayerId, StampsDigest};
use stagewright_exec::{NameServers, ResolvConf};
use stagewright_plan::{CopyOp, CopySource, ExecOp, FileOp, Op, Vertex};

use crate::copy::{self, Selection};
use crate::error::StepError;
use crate::listed_context::ListedContext;
use crate::miss::{BELOW, FILE};
use crate::parts::Parts;
use crate::services::{Services, SolveOptions};
use crate::vertex::{Snapshot, VertexResult};
use crate::{file_step, run_mounts, run_step};

/// What is known of an action once its key is computed.
pub(crate) struct Work {
    /// What the key is made of.
    pub(crate) parts: Parts,
    /// The files that a copy selected: they are not looked up twice.
    pub(crate) selection: Selection,
    /// The stamps of these files, where they are enough to know them by.
    pub(crate) stamps: Option<StampsDigest>,
}

/// A time that files are given is in every key: what is made with another is another layer.
pub(crate) fn time_part(options: &SolveOptions, parts: &mut Parts) {
    if let Some(time) = options.file_time {
        parts.text("time of files", time.to_string());
    }
}

/// Returns the parts of the quick key of a copy from a snapshot.
pub(crate) fn quick_parts(
    options: &SolveOptions,
    op: &Op,
    inputs: &[VertexResult],
) -> Option<Parts> {
    let copy = match op {
        Op::File(FileOp::Copy(copy)) => copy,
        // It is all that there is to know.
        Op::File(FileOp::Squash) => return squash_parts(options, inputs),
        _ => return None,
    };
    if inputs.len() < 2 {
        return None;
    }
    let mut parts = unread_parts(options, copy, inputs);
    for (place, input) in inputs.iter().enumerate().skip(1) {
        let VertexResult::Snapshot(source) = input else {
            return None;
        };
        let label = match place {
            1 => "source".to_owned(),
            place => format!("source {place}"),
        };
        parts.text(&label, source.id.to_string());
    }
    Some(parts)
}

/// Returns the parts of the key of layers that become one.
fn squash_parts(options: &SolveOptions, inputs: &[VertexResult]) -> Option<Parts> {
    let [VertexResult::Snapshot(base), VertexResult::Snapshot(whole)] = inputs else {
        return None;
    };
    let mut parts = Parts::default();
    time_part(options, &mut parts);
    parts
        .text("step", "squash")
        .text(BELOW, whole.id.to_string())
        .text("layers kept", base.layers.len().to_string());
    Some(parts)
}

/// Returns what is known of a copy without a look at its files.
pub(crate) fn unread_parts(options: &SolveOptions, op: &CopyOp, inputs: &[VertexResult]) -> Parts {
    let mut parts = Parts::default();
    time_part(options, &mut parts);
    copy_parts(op, inputs, &mut parts);
    parts.list("paths", path_sources(op).collect());
    parts
}

/// Computes the parts of an action's key, reading what it must. What a copy takes from a build context may be listed
/// already.
pub(crate) fn prepare(
    services: &Services,
    vertex: &Vertex,
    inputs: &[VertexResult],
    event: u64,
    listed: Option<ListedContext>,
) -> Result<Work, StepError> {
    let mut parts = Parts::default();
    time_part(&services.options, &mut parts);
    let mut selection = Selection::default();
    let mut stamps = None;
    match &vertex.op {
        Op::Exec(exec) => {
            exec_parts(&services.options, exec, inputs, &mut parts);
            run_mounts::parts(services, exec, inputs, event, &mut parts)?;
        }
        Op::File(FileOp::Copy(op)) => {
            copy_parts(op, inputs, &mut parts);
            if let Some(listed) = listed {
                (selection, stamps) = listed.select(op)?;
            } else if inputs.len() > 1 {
                selection = file_step::select(services, op, inputs, event)?;
            }
            parts.files(FILE, copy::selected_files(op, &selection));
        }
        Op::File(FileOp::Mkdir(op)) => {
            parts
                .text("step", "WORKDIR")
                .text("path", &op.path)
                .text("user", &op.user);
            base_part(inputs, &mut parts);
        }
        Op::File(FileOp::Squash) => {
            parts = squash_parts(&services.options, inputs)
                .ok_or_else(|| StepError::Internal("there is nothing to squash".to_owned()))?;
        }
        Op::Source(_) => {
            return Err(StepError::Internal(
                "a source has no key of its own".to_owned(),
            ));
        }
    }
    Ok(Work {
        parts,
        selection,
        stamps,
    })
}

/// Returns the folder that the files of a copy lie in, as the Dockerfile writes it, where they all lie in one: the key
/// knows them only by where they are copied to. Empty for the context itself.
pub(crate) fn source_folder(op: &Op, selection: &Selection) -> String {
    let Op::File(FileOp::Copy(copy)) = op else {
        return String::new();
    };
    let ([CopySource::Path(path)], [matched]) = (&copy.sources[..], &selection.matches[..]) else {
        return String::new();
    };
    let path: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if copy.parents || path.iter().any(|part| has_wildcards(part)) {
        return String::new();
    }
    match (&matched.node.kind, path.split_last()) {
        (copy::NodeKind::Directory, _) => path.join("/"),
        (_, Some((_, above))) => above.join("/"),
        (_, None) => String::new(),
    }
}

/// Executes an action and returns the layer that it made, if it changed anything.
pub(crate) fn execute(
    services: &Services,
    vertex: &Vertex,
    inputs: &[VertexResult],
    event: u64,
    work: Work,
) -> Result<Option<LayerId>, StepError> {
    match &vertex.op {
        Op::Exec(op) => run_step::run(services, op, inputs, event, vertex.in_image),
        Op::File(FileOp::Copy(op)) => {
            file_step::copy(services, op, inputs, event, work.selection, vertex)
        }
        Op::File(FileOp::Mkdir(op)) => file_step::mkdir(services, op, inputs, event, vertex),
        Op::File(FileOp::Squash) => file_step::squash(services, inputs, event, vertex),
        Op::Source(_) => Err(StepError::Internal("a source is not executed".to_owned())),
    }
}

/// Returns the root file system that a step changes.
pub(crate) fn parent(inputs: &[VertexResult]) -> Result<&Snapshot, StepError> {
    match inputs.first() {
        Some(VertexResult::Snapshot(snapshot)) => Ok(snapshot),
        _ => Err(StepError::Internal(
            "a step has no root file system".to_owned(),
        )),
    }
}

fn base_part(inputs: &[VertexResult], parts: &mut Parts) {
    if let Some(VertexResult::Snapshot(parent)) = inputs.first() {
        parts.text(BELOW, parent.id.to_string());
    }
}

fn exec_parts(options: &SolveOptions, op: &ExecOp, inputs: &[VertexResult], parts: &mut Parts) {
    parts
        .text("step", "RUN")
        .list("command", op.argv.clone())
        .map("environment", op.env.clone())
        .text("working directory", &op.cwd)
        .text("user", &op.user)
        .text("network", format!("{:?}", op.network).to_lowercase())
        .text("security", format!("{:?}", op.security).to_lowercase())
        .text("platform", op.platform.to_string());
    if let Some(script) = &op.script {
        parts.text("script", &script.text);
    }
    if let Some(hostname) = &op.hostname {
        parts.text("hostname", hostname);
    }
    let limits = &options.limits;
    if !limits.ulimits.is_empty() {
        parts.list(
            "ulimits",
            limits
                .ulimits
                .iter()
                .map(|limit| format!("{}={}:{}", limit.resource.name(), limit.soft, limit.hard))
                .collect(),
        );
    }
    if let Some(bytes) = limits.shm_bytes {
        parts.text("shm size", bytes.to_string());
    }
    if !limits.extra_hosts.is_empty() {
        // As in BuildKit the names count and the addresses do not.
        parts.list(
            "extra hosts",
            limits
                .extra_hosts
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        );
    }
    if let ResolvConf::With(NameServers {
        search: Some(domains),
        ..
    }) = &limits.resolv_conf
    {
        // As of the hosts, what names mean counts, and where it is asked for does not.
        parts.list("search domains", domains.clone());
    }
    base_part(inputs, parts);
}

/// Everything of a copy but the files.
fn copy_parts(op: &CopyOp, inputs: &[VertexResult], parts: &mut Parts) {
    parts.text("step", "COPY").text("destination", &op.dest);
    let mut flags = BTreeMap::new();
    if let Some(chown) = &op.chown {
        flags.insert("chown".to_owned(), chown.clone());
    }
    if let Some(chmod) = &op.chmod {
        flags.insert("chmod".to_owned(), chmod.to_string());
    }
    // Modes of made directories, `--parents` with several pivots and links above what archives
    // hold were once treated otherwise: results of then are not to be found.
    let treated_otherwise = op.parents || op.unpack || op.chmod.is_some();
    for (name, set) in [
        ("link", op.link),
        ("parents", op.parents),
        ("unpack", op.unpack),
        ("rules 2", treated_otherwise),
    ] {
        if set {
            flags.insert(name.to_owned(), String::new());
        }
    }
    if !op.exclude.is_empty() {
        flags.insert("exclude".to_owned(), op.exclude.join("\n"));
    }
    parts.map("flag", flags);
    for (index, source) in op.sources.iter().enumerate() {
        match source {
            CopySource::Inline { name, text } => {
                parts.text(&format!("heredoc {index} {name}"), text);
            }
            CopySource::Remote { unpack: true, .. } => {
                parts.text(&format!("unpack {index}"), "");
            }
            CopySource::Remote { .. } | CopySource::Path(_) => {}
        }
    }
    // Names of owners are looked up below, so that a linked layer with a named owner depends on it.
    let named_owner = op.chown.as_ref().is_some_and(|chown| {
        chown
            .split(':')
            .any(|part| !part.is_empty() && part.parse::<u32>().is_err())
    });
    if !op.link || named_owner {
        base_part(inputs, parts);
    }
}

/// Returns where the sources of a copy lie in what they are looked up in.
fn path_sources(op: &CopyOp) -> impl Iterator<Item = String> {
    op.sources.iter().filter_map(|source| match source {
        CopySource::Path(path) => Some(path.clone()),
        CopySource::Remote { input, path, .. } => Some(format!("{input} {path}")),
        CopySource::Inline { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stagewright_digest::{ActionKey, ContentDigest};
    use stagewright_dockerfile::chmod::Chmod;
    use stagewright_exec::{Resource, Ulimit};
    use stagewright_oci::Platform;
    use stagewright_plan::{CopyFrom, HeredocScript, NetworkMode, SecurityMode};

    use super::*;
    use crate::services::Limits;

    fn root(name: &str) -> VertexResult {
        let layer = LayerId::Made(ContentDigest::of(name.as_bytes()));
        VertexResult::Snapshot(Snapshot::of_layers(vec![layer]))
    }

    fn options() -> SolveOptions {
        SolveOptions {
            bounds: stagewright_store::SpaceBounds::default(),
            clock: crate::age::BuildClock::start(1),
            cache_ttl: None,
            now_unix_ms: 1,
            file_time: None,
            limits: Limits::default(),
            network: stagewright_exec::Network::Host,
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            allow: Vec::new(),
        }
    }

    fn exec() -> ExecOp {
        ExecOp {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "make".to_owned()],
            env: [("A".to_owned(), "1".to_owned())].into(),
            env_unkeyed: BTreeMap::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            hostname: None,
            platform: Platform::new("linux", "amd64", None),
            mounts: Vec::new(),
            network: NetworkMode::Default,
            security: SecurityMode::Sandbox,
            script: None,
        }
    }

    fn exec_key(change: &dyn Fn(&mut SolveOptions, &mut ExecOp, &mut VertexResult)) -> ActionKey {
        let (mut options, mut op, mut below) = (options(), exec(), root("below"));
        change(&mut options, &mut op, &mut below);
        let mut parts = Parts::default();
        exec_parts(&options, &op, &[below], &mut parts);
        parts.key()
    }

    /// Each line changes one input that the table above says is in the key of a `RUN`.
    #[test]
    fn every_input_of_a_run_changes_its_key() {
        type Change = dyn Fn(&mut SolveOptions, &mut ExecOp, &mut VertexResult);
        fn script() -> HeredocScript {
            HeredocScript {
                target: "/dev/pipes/x".to_owned(),
                text: "#!x".to_owned(),
            }
        }
        let changes: &[&Change] = &[
            &|_, _, _| {},
            &|_, op, _| op.argv[2] = "make all".to_owned(),
            &|_, op, _| op.argv[0] = "/bin/bash".to_owned(),
            &|_, op, _| op.argv = vec!["/bin/sh".to_owned(), "-c make".to_owned()],
            &|_, op, _| drop(op.env.insert("A".to_owned(), "2".to_owned())),
            &|_, op, _| drop(op.env.insert("B".to_owned(), String::new())),
            &|_, op, _| op.env.clear(),
            &|_, op, _| op.cwd = "/w".to_owned(),
            &|_, op, _| op.user = "node".to_owned(),
            &|_, op, _| op.hostname = Some("here".to_owned()),
            &|_, op, _| op.network = NetworkMode::None,
            &|_, op, _| op.network = NetworkMode::Host,
            &|_, op, _| op.security = SecurityMode::Insecure,
            &|_, op, _| op.script = Some(script()),
            &|_, op, _| {
                op.script = Some(HeredocScript {
                    text: "#!y".to_owned(),
                    ..script()
                })
            },
            &|_, op, _| op.platform = Platform::new("linux", "arm64", None),
            &|options, _, _| options.limits.shm_bytes = Some(1),
            &|options, _, _| {
                let limit = Ulimit {
                    resource: Resource::Nofile,
                    soft: 1,
                    hard: 2,
                };
                options.limits.ulimits = vec![limit];
            },
            &|options, _, _| {
                options.limits.extra_hosts = vec![("db".to_owned(), [127, 0, 0, 1].into())];
            },
            &|options, _, _| options.limits.resolv_conf = searched(&[], &["a"]),
            &|options, _, _| options.limits.resolv_conf = searched(&[], &[]),
            &|_, _, below| *below = root("another"),
        ];
        let keys: BTreeSet<ActionKey> = changes.iter().map(|change| exec_key(change)).collect();
        assert_eq!(keys.len(), changes.len());
    }

    #[test]
    fn what_must_not_matter_to_a_run_does_not() {
        let unchanged = exec_key(&|_, _, _| {});
        let proxy = ("http_proxy".to_owned(), "x".to_owned());
        assert_eq!(
            unchanged,
            exec_key(&|_, op, _| op.env_unkeyed = [proxy.clone()].into())
        );
        assert_eq!(
            unchanged,
            exec_key(&|options, _, _| options.now_unix_ms = 99)
        );
        assert_eq!(
            unchanged,
            exec_key(&|options, _, _| options.allow = vec!["x".to_owned()])
        );
        let host = |last| {
            move |options: &mut SolveOptions, _: &mut ExecOp, _: &mut VertexResult| {
                options.limits.extra_hosts = vec![("db".to_owned(), [127, 0, 0, last].into())];
            }
        };
        assert_eq!(exec_key(&host(1)), exec_key(&host(2)));
        let servers = |options: &mut SolveOptions, _: &mut ExecOp, _: &mut VertexResult| {
            options.limits.resolv_conf = ResolvConf::With(NameServers {
                servers: vec![[192, 0, 2, 1].into()],
                options: vec!["ndots:2".to_owned()],
                search: None,
            });
        };
        assert_eq!(unchanged, exec_key(&servers));
        assert_eq!(
            exec_key(&|options, _, _| options.limits.resolv_conf = searched(&[], &["a"])),
            exec_key(&|options, _, _| options.limits.resolv_conf = searched(&[1], &["a"]))
        );
    }

    fn searched(servers: &[u8], domains: &[&str]) -> ResolvConf {
        ResolvConf::With(NameServers {
            servers: servers
                .iter()
                .map(|last| [192, 0, 2, *last].into())
                .collect(),
            search: Some(domains.iter().map(ToString::to_string).collect()),
            options: Vec::new(),
        })
    }

    #[test]
    fn layers_that_become_one_are_keyed_by_what_they_are_and_what_is_kept() {
        let layers = |names: &[&str]| -> VertexResult {
            let layers = names
                .iter()
                .map(|name| LayerId::Made(ContentDigest::of(name.as_bytes())));
            VertexResult::Snapshot(Snapshot::of_layers(layers.collect()))
        };
        let key = |base: &[&str], whole: &[&str], file_time| {
            let options = SolveOptions {
                file_time,
                ..options()
            };
            let parts = squash_parts(&options, &[layers(base), layers(whole)]);
            parts.unwrap().key()
        };
        let keys: BTreeSet<ActionKey> = [
            key(&[], &["a", "b"], None),
            key(&["a"], &["a", "b"], None),
            key(&["a"], &["a", "c"], None),
            key(&["d"], &["d", "b"], None),
            key(&["a"], &["a", "b"], Some(1)),
        ]
        .into();
        assert_eq!(keys.len(), 5);
    }

    /// A change here makes every stored result of a step unfindable: raise the version on purpose.
    #[test]
    fn the_key_of_a_run_is_pinned() {
        assert_eq!(exec_key(&|_, _, _| {}).to_hex(), PINNED_RUN);
    }

    #[test]
    fn the_key_of_a_copy_is_pinned() {
        assert_eq!(copy_key(&|_, _| {}).to_hex(), PINNED_COPY);
    }

    const PINNED_COPY: &str = "a44d9dc612847272b6c91db1deb177d674eff5bce784f6da25bec43f2130f7ae";

    const PINNED_RUN: &str = "d4bfc8b9cbdfbddfa60e13a61fffe13fef7b78c5eb06e0a906906deb485f35a7";

    fn copy() -> CopyOp {
        CopyOp::of("a", "/d", CopyFrom::Context)
    }

    fn copy_key(change: &dyn Fn(&mut CopyOp, &mut VertexResult)) -> ActionKey {
        let (mut op, mut below) = (copy(), root("below"));
        change(&mut op, &mut below);
        let mut parts = Parts::default();
        copy_parts(&op, &[below], &mut parts);
        parts.key()
    }

    #[test]
    fn every_input_of_a_copy_changes_its_key() {
        type Change = dyn Fn(&mut CopyOp, &mut VertexResult);
        fn inline(name: &str, text: &str) -> Vec<CopySource> {
            vec![CopySource::Inline {
                name: name.to_owned(),
                text: text.to_owned(),
            }]
        }
        let changes: &[&Change] = &[
            &|_, _| {},
            &|op, _| op.dest = "/d/".to_owned(),
            &|op, _| op.chown = Some("1:2".to_owned()),
            &|op, _| op.chmod = Chmod::parse("755").ok(),
            &|op, _| op.link = true,
            &|op, _| op.parents = true,
            &|op, _| op.unpack = true,
            &|op, _| op.exclude = vec!["x".to_owned()],
            &|op, _| op.exclude = vec!["x".to_owned(), "y".to_owned()],
            &|op, _| op.sources = inline("f", "1"),
            &|op, _| op.sources = inline("f", "2"),
            &|op, _| op.sources = inline("g", "1"),
            &|op, _| {
                op.sources = vec![CopySource::Remote {
                    input: 2,
                    path: "/f".to_owned(),
                    unpack: true,
                }];
            },
            &|_, below| *below = root("another"),
        ];
        let keys: BTreeSet<ActionKey> = changes.iter().map(|change| copy_key(change)).collect();
        assert_eq!(keys.len(), changes.len());
    }

    #[test]
    fn a_linked_copy_does_not_depend_on_what_is_below() {
        let linked = copy_key(&|op, _| op.link = true);
        let elsewhere = copy_key(&|op, below| {
            op.link = true;
            *below = root("another");
        });
        assert_eq!(linked, elsewhere);
        // A named owner is looked up below.
        let named = |name: &'static str| {
            copy_key(&move |op, below| {
                op.link = true;
                op.chown = Some("node".to_owned());
                *below = root(name);
            })
        };
        assert_ne!(named("one"), named("other"));
    }
}

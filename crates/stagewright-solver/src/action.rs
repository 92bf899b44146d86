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
//! | network, confinement | text | – | – |
//! | limits, `/dev/shm` size, extra hosts' names | text | – | – |
//! | heredoc script | text | text | – |
//! | bind mount | target, and the content that it shows | – | – |
//! | cache mount | target and options; never its content | – | – |
//! | secret, ssh | target and options; never the value | – | – |
//! | files copied | – | names below the source, type, mode ³, owner ³, size, bytes, link target, attributes | – |
//! | times of files | no | no | no |
//! | directories above a source | – | no | – |
//! | destination, flags | – | text | path |
//! | `--chown` | – | text ² | – |
//! | platform | text | – | – |
//!
//! ¹ The [`SnapshotId`]: a chain over the layers' contents, so that a step that ran again and made
//! the same files changes nothing after it. ² A name is looked up in the root file system below,
//! which is in the key. ³ Not where `--chmod` or `--chown` decides it.
//!
//! A copy from a stage or an image has a second, *quick* key, which holds the [`SnapshotId`] of
//! what it copies from in place of the files: when nothing at all changed there, no file needs to
//! be looked at. Both keys lead to the same result.
//!
//! [`SnapshotId`]: stagewright_digest::SnapshotId

use std::collections::BTreeMap;

use stagewright_digest::LayerId;
use stagewright_plan::{CopyFrom, CopyOp, CopySource, ExecOp, FileOp, Op, Vertex};

use crate::copy::{self, Selection};
use crate::error::StepError;
use crate::parts::Parts;
use crate::services::Services;
use crate::vertex::{Snapshot, VertexResult};
use crate::{file_step, run_mounts, run_step};

/// What is known of an action once its key is computed.
pub(crate) struct Work {
    /// What the key is made of.
    pub(crate) parts: Parts,
    /// The files that a copy selected: they are not looked up twice.
    pub(crate) selection: Selection,
}

/// Returns the parts of the quick key of a copy from a snapshot.
pub(crate) fn quick_parts(op: &Op, inputs: &[VertexResult]) -> Option<Parts> {
    let Op::File(FileOp::Copy(copy)) = op else {
        return None;
    };
    let Some(VertexResult::Snapshot(source)) = inputs.get(1) else {
        return None;
    };
    let mut parts = Parts::default();
    copy_parts(copy, inputs, &mut parts);
    parts.text("source", source.id.to_string());
    parts.list("paths", path_sources(copy).map(str::to_owned).collect());
    Some(parts)
}

/// Computes the parts of an action's key, reading what it must.
pub(crate) fn prepare(
    services: &Services,
    vertex: &Vertex,
    inputs: &[VertexResult],
    event: u64,
) -> Result<Work, StepError> {
    let mut parts = Parts::default();
    let mut selection = Selection::default();
    match &vertex.op {
        Op::Exec(exec) => {
            exec_parts(services, exec, inputs, &mut parts);
            run_mounts::parts(services, exec, inputs, event, &mut parts)?;
        }
        Op::File(FileOp::Copy(op)) => {
            copy_parts(op, inputs, &mut parts);
            if op.from != CopyFrom::Nothing {
                selection = file_step::select(services, op, inputs, event)?;
            }
            parts.files("file", copy::selection_digests(op, &selection));
        }
        Op::File(FileOp::Mkdir(op)) => {
            parts
                .text("step", "WORKDIR")
                .text("path", &op.path)
                .text("user", &op.user);
            base_part(inputs, &mut parts);
        }
        Op::Source(_) => {
            return Err(StepError::Internal(
                "a source has no key of its own".to_owned(),
            ));
        }
    }
    Ok(Work { parts, selection })
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
        Op::Exec(op) => run_step::run(services, op, inputs, event),
        Op::File(FileOp::Copy(op)) => {
            file_step::copy(services, op, inputs, event, &work.selection, vertex)
        }
        Op::File(FileOp::Mkdir(op)) => file_step::mkdir(services, op, inputs, event, vertex),
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
        parts.text("files below", parent.id.to_string());
    }
}

fn exec_parts(services: &Services, op: &ExecOp, inputs: &[VertexResult], parts: &mut Parts) {
    parts
        .text("step", "RUN")
        .list("command", op.argv.clone())
        .map("environment", op.env.clone())
        .text("working directory", &op.cwd)
        .text("user", &op.user)
        .text("network", format!("{:?}", op.network).to_lowercase())
        .text("security", format!("{:?}", op.security).to_lowercase())
        .text("platform", services.options.platform.to_string());
    if let Some(script) = &op.script {
        parts.text("script", &script.text);
    }
    let limits = &services.options.limits;
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
    for (name, set) in [
        ("link", op.link),
        ("parents", op.parents),
        ("unpack", op.unpack),
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
        if let CopySource::Inline { name, text } = source {
            parts.text(&format!("heredoc {index} {name}"), text);
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

/// Returns the sources of a copy that are paths.
pub(crate) fn path_sources(op: &CopyOp) -> impl Iterator<Item = &str> {
    op.sources.iter().filter_map(|source| match source {
        CopySource::Path(path) => Some(path.as_str()),
        CopySource::Inline { .. } => None,
    })
}

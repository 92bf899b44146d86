//! Lowers `RUN`.

use stagewright_dockerfile::mount::{Mount, MountKind, mount_from};
use stagewright_dockerfile::{Command, Heredoc, Run, Span};

use super::paths;
use super::stage::StageState;
use super::stages::Source;
use crate::error::LowerError;
use crate::graph::VertexId;
use crate::op::{
    ExecOp, HeredocScript, MountOp, NetworkMode, Op, PlanMount, SecurityMode, SourceOp,
};

/// Where a step finds a heredoc that is a program.
const SCRIPT_DIRECTORY: &str = "/dev/pipes";

/// Names the host that steps see.
const HOSTNAME_ARG: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// Returns what the mounts of a step take files from.
pub(crate) fn mount_sources(run: &Run) -> impl Iterator<Item = String> + '_ {
    run.mounts.iter().filter_map(|mount| mount_from(mount))
}

pub(crate) fn lower(
    state: &mut StageState<'_, '_>,
    run: &Run,
    span: Span,
) -> Result<(), LowerError> {
    if let Some(device) = run.devices.first() {
        let message = format!("RUN --device={device} is not supported");
        return Err(LowerError::unsupported(span, message));
    }
    let (argv, script) = command(state, run);
    let mut sources = Vec::new();
    let mut mounts = Vec::new();
    for mount in &run.mounts {
        mounts.push(lower_mount(state, mount, &mut sources, span)?);
    }
    let (env, env_unkeyed) = state.step_env();
    let op = ExecOp {
        argv: argv.clone(),
        env,
        env_unkeyed,
        cwd: state.workdir().to_owned(),
        user: state.end.config.config.user.clone(),
        hostname: hostname(state),
        platform: state.end.platform.clone(),
        mounts,
        network: match run.network.as_deref() {
            Some("host") => NetworkMode::Host,
            Some("none") => NetworkMode::None,
            _ => state.lowering.options.network,
        },
        security: match run.security.as_deref() {
            Some("insecure") => SecurityMode::Insecure,
            _ => SecurityMode::Sandbox,
        },
        script,
    };
    let text = shown(run);
    let created_by = format!("RUN {}{}", state.args_prefix(), argv.join(" "));
    state.add_step(Op::Exec(op), &sources, &text, span);
    let vertex = Some(state.end.root);
    state.history(created_by, vertex);
    Ok(())
}

/// The name of the host is given by an argument of the request, as in BuildKit.
fn hostname(state: &StageState<'_, '_>) -> Option<String> {
    let given = state.lowering.options.build_args.get(HOSTNAME_ARG);
    given.filter(|name| !name.is_empty()).cloned()
}

/// What people see of a command.
fn shown(run: &Run) -> String {
    let command = match &run.command {
        Command::Shell(text) => text.clone(),
        Command::Exec(words) => super::image_config::quoted_list(words),
    };
    match run.heredocs.first() {
        None => format!("RUN {command}"),
        Some(heredoc) => {
            let first = heredoc.body.lines().next().unwrap_or_default();
            format!("RUN {command} ({first}...)")
        }
    }
}

/// Makes the argument vector. A heredoc alone is the script itself: run by the shell, or, with
/// `#!` in its first line, put beside the step as a program. With a command in front of it, it is
/// the shell's to read.
fn command(state: &StageState<'_, '_>, run: &Run) -> (Vec<String>, Option<HeredocScript>) {
    let (Command::Shell(text), Some(first)) = (&run.command, run.heredocs.first()) else {
        return (state.with_shell(&run.command), None);
    };
    if !is_heredoc_alone(text, &run.heredocs) {
        let mut script = text.clone();
        for heredoc in &run.heredocs {
            script += &format!("\n{}{}", heredoc.body, heredoc.name);
        }
        return (state.shell_words(&script), None);
    }
    if first.body.starts_with("#!") {
        let target = format!("{SCRIPT_DIRECTORY}/{}", first.name);
        let script = HeredocScript {
            target: target.clone(),
            text: first.body.clone(),
        };
        return (vec![target], Some(script));
    }
    (state.shell_words(&first.body), None)
}

fn is_heredoc_alone(text: &str, heredocs: &[Heredoc]) -> bool {
    let text = text.trim();
    heredocs.len() == 1 && text.starts_with("<<") && !text.contains(char::is_whitespace)
}

fn lower_mount(
    state: &mut StageState<'_, '_>,
    text: &str,
    sources: &mut Vec<VertexId>,
    span: Span,
) -> Result<PlanMount, LowerError> {
    let expanded = state.expand(text, span)?;
    let fail = |message: String| LowerError::at(span, format!("--mount={text}: {message}"));
    let mut mount = Mount::parse(&expanded).map_err(fail)?;
    if !mount.target.is_empty() {
        mount.target = paths::absolute(state.workdir(), &mount.target);
    }
    if mount.target == "/" {
        return Err(fail("invalid mount target \"/\"".to_owned()));
    }
    let op = match &mount.kind {
        MountKind::Bind { from, .. } => {
            let vertex = match from {
                Some(from) => source(state, from, span)?,
                None => context(state, "context", span),
            };
            input(sources, vertex)
        }
        MountKind::Cache {
            from: Some(from), ..
        } => {
            let vertex = source(state, from, span)?;
            input(sources, vertex)
        }
        _ => MountOp::None,
    };
    Ok(PlanMount { mount, op })
}

/// Adds a source to the inputs of a step. Input 0 is the step's root file system.
fn input(sources: &mut Vec<VertexId>, vertex: VertexId) -> MountOp {
    sources.push(vertex);
    MountOp::Input(sources.len())
}

pub(crate) fn context(state: &mut StageState<'_, '_>, name: &str, span: Span) -> VertexId {
    if name == "context"
        && let Some(op) = state.lowering.options.remote_context.clone()
    {
        return state.source(op, "[internal] load remote build context".to_owned(), span);
    }
    let shown = match name {
        "context" => "[internal] load build context".to_owned(),
        name => format!("[context {name}] load from client"),
    };
    state.source(
        SourceOp::Context {
            name: name.to_owned(),
        },
        shown,
        span,
    )
}

fn source(state: &mut StageState<'_, '_>, from: &str, span: Span) -> Result<VertexId, LowerError> {
    source_vertex(state, from, false, span)
}

/// Returns the vertex of what `--from` or `from=` names.
pub(crate) fn source_vertex(
    state: &mut StageState<'_, '_>,
    from: &str,
    takes_index: bool,
    span: Span,
) -> Result<VertexId, LowerError> {
    match state
        .lowering
        .stages
        .from(from, state.index, takes_index, span)?
    {
        Source::Scratch => Ok(state.source(SourceOp::Scratch, "FROM scratch".to_owned(), span)),
        Source::Stage(index) => Ok(state.lowering.ends[&index].root),
        Source::Files(name) => Ok(context(state, &name, span)),
        Source::Remote { name, op } => {
            Ok(state.source(*op, format!("[context {name}] load from the network"), span))
        }
        Source::Image(reference) => Ok(state.image(&reference, span, false)?.0),
    }
}

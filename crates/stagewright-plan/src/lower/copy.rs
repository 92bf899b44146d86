//! Lowers `COPY` and `ADD`.

use stagewright_dockerfile::chmod::Chmod;
use stagewright_dockerfile::{Add, Copy, Heredoc, Span};

use super::stage::StageState;
use super::{paths, run};
use crate::error::LowerError;
use crate::op::{CopyFrom, CopyOp, CopySource, FileOp, Op, SourceOp};

/// What `COPY` and `ADD` have in copied.
struct Sources<'a> {
    keyword: &'static str,
    sources: &'a [String],
    heredocs: &'a [Heredoc],
    dest: &'a str,
    chown: Option<&'a str>,
    chmod: Option<&'a str>,
    link: bool,
    parents: bool,
    exclude: &'a [String],
    unpack: bool,
    from: Option<&'a str>,
}

pub(crate) fn lower_copy(
    state: &mut StageState<'_, '_>,
    copy: &Copy,
    span: Span,
) -> Result<(), LowerError> {
    let copied = Sources {
        keyword: "COPY",
        sources: &copy.sources,
        heredocs: &copy.heredocs,
        dest: &copy.dest,
        chown: copy.chown.as_deref(),
        chmod: copy.chmod.as_deref(),
        link: copy.link,
        parents: copy.parents,
        exclude: &copy.exclude,
        unpack: false,
        from: copy.from.as_deref(),
    };
    lower(state, &copied, span)
}

pub(crate) fn lower_add(
    state: &mut StageState<'_, '_>,
    add: &Add,
    span: Span,
) -> Result<(), LowerError> {
    if add.checksum.is_some() {
        return Err(LowerError::unsupported(
            span,
            "ADD --checksum is not supported yet",
        ));
    }
    if add.keep_git_dir.is_some() {
        return Err(LowerError::unsupported(
            span,
            "ADD --keep-git-dir is not supported yet",
        ));
    }
    let copied = Sources {
        keyword: "ADD",
        sources: &add.sources,
        heredocs: &add.heredocs,
        dest: &add.dest,
        chown: add.chown.as_deref(),
        chmod: add.chmod.as_deref(),
        link: add.link,
        parents: false,
        exclude: &add.exclude,
        unpack: add.unpack.unwrap_or(true),
        from: None,
    };
    lower(state, &copied, span)
}

fn lower(
    state: &mut StageState<'_, '_>,
    copied: &Sources<'_>,
    span: Span,
) -> Result<(), LowerError> {
    let paths = state.expand_all(copied.sources, span)?;
    if copied.keyword == "ADD"
        && let Some(remote) = paths.iter().find(|path| is_remote(path))
    {
        let message = format!("ADD of {remote} is not supported yet");
        return Err(LowerError::unsupported(span, message)
            .help("download it in a RUN step, or put it into the build context"));
    }
    let dest_text = state.expand(copied.dest, span)?;
    let several = paths.len() + copied.heredocs.len() > 1;
    let dest = paths::destination(state.workdir(), &dest_text);
    if several && !dest.ends_with('/') {
        let message = format!(
            "when using {} with more than one source file, the destination must be a directory and end with a /",
            copied.keyword
        );
        return Err(LowerError::at(span, message).help(format!("write {dest_text}/")));
    }
    let mut sources: Vec<CopySource> = Vec::new();
    for heredoc in copied.heredocs {
        sources.push(inline(state, heredoc, span)?);
    }
    sources.extend(paths.iter().cloned().map(CopySource::Path));
    let chown = copied
        .chown
        .map(|chown| state.expand(chown, span))
        .transpose()?;
    let chmod = match copied.chmod {
        None => None,
        Some(chmod) => {
            let chmod = state.expand(chmod, span)?;
            Some(Chmod::parse(&chmod).map_err(|message| LowerError::at(span, message))?)
        }
    };
    let (from, inputs) = source(state, copied, paths.is_empty(), span)?;
    let op = CopyOp {
        sources,
        dest,
        chown: chown.filter(|chown| !chown.is_empty()),
        chmod,
        link: copied.link,
        parents: copied.parents,
        exclude: state.expand_all(copied.exclude, span)?,
        unpack: copied.unpack,
        from,
    };
    let text = shown(copied, &paths, &dest_text);
    state.add_step(Op::File(FileOp::Copy(op)), &inputs, &text, span);
    let vertex = Some(state.end.root);
    state.history(text, vertex);
    Ok(())
}

/// Returns what a copy reads from.
fn source(
    state: &mut StageState<'_, '_>,
    copied: &Sources<'_>,
    inline_only: bool,
    span: Span,
) -> Result<(CopyFrom, Vec<crate::graph::VertexId>), LowerError> {
    if inline_only {
        return Ok((CopyFrom::Nothing, Vec::new()));
    }
    let vertex = match copied.from {
        None => run::context(state, "context", span),
        Some(from) => run::source_vertex(state, from, true, span)?,
    };
    let is_context = matches!(
        state.lowering.vertices.op(vertex),
        Op::Source(SourceOp::Context { .. })
    );
    let from = if is_context {
        CopyFrom::Context
    } else {
        CopyFrom::Snapshot
    };
    Ok((from, vec![vertex]))
}

/// A heredoc is expanded unless its name is quoted.
fn inline(
    state: &StageState<'_, '_>,
    heredoc: &Heredoc,
    span: Span,
) -> Result<CopySource, LowerError> {
    let text = if heredoc.expand {
        state
            .lowering
            .words
            .expand_raw(&heredoc.body, &state.end.env, span)?
    } else {
        heredoc.body.clone()
    };
    Ok(CopySource::Inline {
        name: heredoc.name.clone(),
        text,
    })
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

fn shown(copied: &Sources<'_>, paths: &[String], dest: &str) -> String {
    let mut words = vec![copied.keyword.to_owned()];
    words.extend(copied.from.map(|from| format!("--from={from}")));
    words.extend(copied.chown.map(|chown| format!("--chown={chown}")));
    words.extend(copied.chmod.map(|chmod| format!("--chmod={chmod}")));
    words.extend(copied.link.then(|| "--link".to_owned()));
    words.extend(copied.parents.then(|| "--parents".to_owned()));
    words.extend(
        copied
            .heredocs
            .iter()
            .map(|heredoc| format!("<<{}", heredoc.name)),
    );
    words.extend(paths.iter().cloned());
    words.push(dest.to_owned());
    words.join(" ")
}

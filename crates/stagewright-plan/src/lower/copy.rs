//! Lowers `COPY` and `ADD`.

use stagewright_dockerfile::chmod::Chmod;
use stagewright_dockerfile::{Add, Copy, Heredoc, Span};

use super::stage::StageState;
use super::{paths, run};
use crate::error::LowerError;
use crate::graph::VertexId;
use crate::op::{CopyFrom, CopyOp, CopySource, FileOp, Op, SourceOp};
use crate::remote::{RemoteKind, shown_url, url_file_name};

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
    /// Archives of the context are unpacked.
    unpack: bool,
    /// What `ADD` says of what comes from the network.
    remote: RemoteFlags<'a>,
    from: Option<&'a str>,
}

/// Flags of `ADD` that are about what comes from the network.
#[derive(Clone, Copy, Default)]
struct RemoteFlags<'a> {
    allowed: bool,
    checksum: Option<&'a str>,
    keep_git_dir: Option<bool>,
    unpack: Option<bool>,
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
        remote: RemoteFlags::default(),
        from: copy.from.as_deref(),
    };
    lower(state, &copied, span)
}

pub(crate) fn lower_add(
    state: &mut StageState<'_, '_>,
    add: &Add,
    span: Span,
) -> Result<(), LowerError> {
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
        remote: RemoteFlags {
            allowed: true,
            checksum: add.checksum.as_deref(),
            keep_git_dir: add.keep_git_dir,
            unpack: add.unpack,
        },
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
    let dest_text = state.expand(copied.dest, span)?;
    let dest = paths::destination(state.workdir(), &dest_text);
    let mut sources: Vec<CopySource> = Vec::new();
    for heredoc in copied.heredocs {
        sources.push(inline(state, heredoc, span)?);
    }
    let local_only = |path: &&String| kind_of(copied, path).is_none();
    let inline_only = paths.iter().find(local_only).is_none();
    let (from, mut inputs) = source(state, copied, inline_only, span)?;
    let checksum = checksum(state, copied, &paths, span)?;
    for path in &paths {
        let Some(kind) = kind_of(copied, path) else {
            sources.push(CopySource::Path(path.clone()));
            continue;
        };
        inputs.push(remote(
            state,
            copied.remote,
            path,
            kind,
            checksum.as_deref(),
            span,
        )?);
        sources.push(CopySource::Remote {
            // The first input is the root file system.
            input: inputs.len(),
            path: match kind {
                RemoteKind::Http => format!("/{}", url_file_name(path)),
                RemoteKind::Git => "/".to_owned(),
            },
            unpack: kind == RemoteKind::Http && copied.remote.unpack == Some(true),
        });
    }
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
) -> Result<(CopyFrom, Vec<VertexId>), LowerError> {
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

fn kind_of(copied: &Sources<'_>, path: &str) -> Option<RemoteKind> {
    copied
        .remote
        .allowed
        .then(|| RemoteKind::of(path))
        .flatten()
}

/// Expands `--checksum`, which is of one source from the network.
fn checksum(
    state: &StageState<'_, '_>,
    copied: &Sources<'_>,
    paths: &[String],
    span: Span,
) -> Result<Option<String>, LowerError> {
    let Some(checksum) = copied.remote.checksum else {
        return Ok(None);
    };
    match paths {
        [one] if copied.heredocs.is_empty() && kind_of(copied, one).is_some() => {}
        [_] | [] => {
            let message = "--checksum is for a file or a git repository from the network";
            return Err(LowerError::at(span, message).help("leave it out"));
        }
        _ => {
            let message = "--checksum can be of one source only";
            return Err(LowerError::at(span, message).help("write an ADD for each source"));
        }
    }
    Ok(Some(state.expand(checksum, span)?).filter(|checksum| !checksum.is_empty()))
}

/// Adds the vertex of something from the network.
fn remote(
    state: &mut StageState<'_, '_>,
    flags: RemoteFlags<'_>,
    url: &str,
    kind: RemoteKind,
    checksum: Option<&str>,
    span: Span,
) -> Result<VertexId, LowerError> {
    let shown = shown_url(url);
    let (op, name) = match kind {
        RemoteKind::Http => {
            let checksum = checksum
                .map(|text| {
                    text.parse().map_err(|error| {
                        LowerError::at(span, format!("--checksum={text}: {error}"))
                            .help("write --checksum=sha256: and 64 hex digits")
                    })
                })
                .transpose()?;
            let op = SourceOp::Http {
                url: url.to_owned(),
                name: url_file_name(url),
                checksum,
                unpack: false,
            };
            (op, shown)
        }
        RemoteKind::Git => {
            let op = SourceOp::Git {
                url: url.to_owned(),
                checksum: checksum.map(str::to_owned),
                keep_git_dir: flags.keep_git_dir,
            };
            (op, format!("git {shown}"))
        }
    };
    Ok(state.source(op, format!("[source] {name}"), span))
}

fn shown(copied: &Sources<'_>, paths: &[String], dest: &str) -> String {
    let mut words = vec![copied.keyword.to_owned()];
    words.extend(copied.from.map(|from| format!("--from={from}")));
    words.extend(copied.chown.map(|chown| format!("--chown={chown}")));
    words.extend(copied.chmod.map(|chmod| format!("--chmod={chmod}")));
    words.extend(copied.link.then(|| "--link".to_owned()));
    words.extend(copied.parents.then(|| "--parents".to_owned()));
    let remote = &copied.remote;
    words.extend(
        remote
            .checksum
            .map(|checksum| format!("--checksum={checksum}")),
    );
    words.extend(
        remote
            .keep_git_dir
            .map(|keep| format!("--keep-git-dir={keep}")),
    );
    words.extend(remote.unpack.map(|unpack| format!("--unpack={unpack}")));
    words.extend(
        copied
            .heredocs
            .iter()
            .map(|heredoc| format!("<<{}", heredoc.name)),
    );
    words.extend(paths.iter().map(|path| match kind_of(copied, path) {
        Some(_) => shown_url(path),
        None => path.clone(),
    }));
    words.push(dest.to_owned());
    words.join(" ")
}

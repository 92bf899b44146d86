//! Finds what the sources of a copy name.

use stagewright_context::Patterns;
use stagewright_context::glob::has_wildcards;
use stagewright_layer::EntryPath;
use stagewright_plan::{CopyOp, CopySource};

use super::tree::{Node, NodeKind, SourceTree, Sources};
use crate::error::StepError;

/// What one source of a copy matched: one file, or one directory whose contents are copied.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    /// The last part of the path as it was asked for: the name in a destination directory.
    pub(crate) name: Vec<u8>,
    /// What was found, links followed.
    pub(crate) node: Node,
    /// For a directory, everything below it that is not excluded, by path relative to it, each
    /// directory before its contents.
    pub(crate) below: Vec<(EntryPath, Node)>,
    /// Where it was found: the place of the tree among the inputs.
    pub(crate) input: usize,
    /// If it is an archive, it is unpacked.
    pub(crate) unpack: bool,
}

/// What all path sources of a copy matched, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) matches: Vec<Match>,
}

/// The place of the build context, stage or image among the inputs of a copy.
pub(crate) const MAIN_INPUT: usize = 1;

/// Looks up the sources of a copy.
///
/// A pattern that matches nothing selects nothing; a plain path that is not there is an error.
pub(crate) fn select(op: &CopyOp, sources: &Sources) -> Result<Selection, StepError> {
    let exclude = patterns("--exclude", &op.exclude)?;
    let mut matches = Vec::new();
    for source in &op.sources {
        let (path, input, unpack) = match source {
            CopySource::Inline { .. } => continue,
            CopySource::Path(path) => (path, MAIN_INPUT, op.unpack),
            CopySource::Remote {
                input,
                path,
                unpack,
            } => (path, *input, *unpack),
        };
        let tree = sources.tree(input)?;
        let first = matches.len();
        if op.parents {
            matches.extend(select_with_parents(path, tree, &exclude)?);
        } else if let CopySource::Remote { .. } = source {
            matches.extend(remote(path, tree, &exclude)?);
        } else {
            for found in tree.find(path)? {
                let name = found.named.name().unwrap_or_default().to_vec();
                matches.extend(matched(&found.path, name, tree, &exclude)?);
            }
        }
        for matched in &mut matches[first..] {
            (matched.input, matched.unpack) = (input, unpack);
        }
    }
    Ok(Selection { matches })
}

/// Makes the match of something from the network, whose name may hold what would be a wildcard.
fn remote(
    path: &str,
    tree: &dyn SourceTree,
    exclude: &Patterns,
) -> Result<Option<Match>, StepError> {
    let path =
        EntryPath::clean(path.as_bytes()).map_err(|error| StepError::Copy(error.to_string()))?;
    let name = path.name().unwrap_or_default().to_vec();
    matched(&path, name, tree, exclude)
}

/// Makes the match of a path that exists, or nothing where `--exclude` leaves it out.
fn matched(
    path: &EntryPath,
    name: Vec<u8>,
    tree: &dyn SourceTree,
    exclude: &Patterns,
) -> Result<Option<Match>, StepError> {
    let mut entries = tree.walk(path)?.into_iter();
    let Some((_, node)) = entries.next() else {
        return Ok(None);
    };
    if node.kind != NodeKind::Directory {
        let excluded = exclude.matches(&name);
        return Ok((!excluded).then(|| Match {
            name,
            node,
            below: Vec::new(),
            input: MAIN_INPUT,
            unpack: false,
        }));
    }
    let below = entries.collect();
    Ok(Some(Match {
        name,
        node,
        below: without_excluded(below, exclude),
        input: MAIN_INPUT,
        unpack: false,
    }))
}

/// Removes what the patterns exclude. An excluded directory stays where something below it does.
fn without_excluded(entries: Vec<(EntryPath, Node)>, exclude: &Patterns) -> Vec<(EntryPath, Node)> {
    if exclude.is_empty() {
        return entries;
    }
    let mut kept: Vec<(EntryPath, Node)> = Vec::new();
    // Excluded directories that something below may bring back, from the top.
    let mut pending: Vec<(EntryPath, Node)> = Vec::new();
    for (path, node) in entries {
        pending.retain(|(above, _)| path.is_within(above));
        if !exclude.matches(path.as_bytes()) {
            kept.append(&mut pending);
            kept.push((path, node));
        } else if node.kind == NodeKind::Directory {
            pending.push((path, node));
        }
    }
    kept
}

/// Returns what a path source of a copy is looked up as in its tree.
pub(crate) fn looked_up<'a>(op: &CopyOp, path: &'a str) -> &'a str {
    match op.parents {
        true => at_pivot(path).0,
        false => path,
    }
}

/// Splits a source of `--parents` into the directory that it is looked up in, and what is kept of it.
fn at_pivot(path: &str) -> (&str, &str) {
    path.split_once("/./")
        .unwrap_or_else(|| ("/", path.strip_prefix("./").unwrap_or(path)))
}

/// `--parents`: what follows `/./` (else the whole path) keeps its directories. What stands before
/// it may have wildcards too.
fn select_with_parents(
    path: &str,
    tree: &dyn SourceTree,
    exclude: &Patterns,
) -> Result<Vec<Match>, StepError> {
    let (base, kept) = at_pivot(path);
    let include = patterns("--parents", &[kept.trim_start_matches('/').to_owned()])?;
    let everything = kept.is_empty() || kept == ".";
    let mut matches = Vec::new();
    for found in tree.find(base)? {
        let mut entries = tree.walk(&found.path)?.into_iter();
        let Some((_, node)) = entries.next() else {
            continue;
        };
        let mut below: Vec<(EntryPath, Node)> = Vec::new();
        let mut pending: Vec<(EntryPath, Node)> = Vec::new();
        for (relative, node) in entries {
            pending.retain(|(above, _)| relative.is_within(above));
            if everything || include.matches(relative.as_bytes()) {
                below.append(&mut pending);
                below.push((relative, node));
            } else if node.kind == NodeKind::Directory {
                pending.push((relative, node));
            }
        }
        if !below.is_empty() {
            matches.push(Match {
                name: Vec::new(),
                node,
                below: without_excluded(below, exclude),
                input: MAIN_INPUT,
                unpack: false,
            });
        }
    }
    if matches.is_empty() && !has_wildcards(path) {
        return Err(not_found(path, tree));
    }
    Ok(matches)
}

fn patterns(flag: &str, patterns: &[String]) -> Result<Patterns, StepError> {
    Patterns::new(patterns.iter().map(String::as_str))
        .map_err(|error| StepError::Copy(format!("{flag}: {error}")))
}

fn not_found(path: &str, tree: &dyn SourceTree) -> StepError {
    let place = tree.describe();
    StepError::NotFound {
        path: path.to_owned(),
        place,
        hint: String::new(),
    }
}

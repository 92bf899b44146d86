//! What of a selection enters the key of a copy.

use std::collections::BTreeMap;

use stagewright_digest::{ContentDigest, Encoder};
use stagewright_layer::EntryKind;
use stagewright_plan::CopyOp;

use super::select::Selection;
use super::tree::{Node, NodeKind};
use crate::parallel;

/// The version of what is said of a file. Raise it with any change of [`selection_digests`].
pub(crate) const NODE_VERSION: u32 = 1;

/// Names what a copy selected: a digest for each entry, by the path that it has below the
/// destination. Two selections with equal maps give the same layer on the same root file system.
///
/// The name of a matched file counts, the directories above it in the source do not; times do not;
/// the mode does not where `--chmod` decides it, nor the owner where `--chown` does.
pub(crate) fn selection_digests(op: &CopyOp, selection: &Selection) -> BTreeMap<String, String> {
    // Files that follow one another to one place: the last one stays.
    let ordered = selection.matches.len() > 1 && !op.dest.ends_with('/');
    let mut all: Vec<Selected<'_>> = Vec::new();
    for (source, matched) in selection.matches.iter().enumerate() {
        let is_directory = matched.node.kind == NodeKind::Directory;
        if !is_directory {
            let digest = node_digest(op, &matched.node);
            all.push(Selected::new(source, &matched.name, digest));
        }
        let below = parallel::map(&matched.below, |(path, node)| {
            Selected::new(source, path.as_bytes(), node_digest(op, node))
        });
        all.extend(below);
        // A file is not a directory that holds it. A name of the source has no slash at its end.
        if is_directory || ordered {
            let name = String::from_utf8_lossy(&matched.name);
            all.push(Selected {
                label: match is_directory {
                    true => format!("{source}: a directory"),
                    false => format!("{source}: {name}/"),
                },
                source,
                path: b"",
                digest: String::new(),
            });
        }
    }
    // They are nearly in order: sorting them and making the map of all at once is much faster than insertions.
    all.sort_by(|one, other| one.label.cmp(&other.label));
    let mut last = String::new();
    let labelled = all.into_iter().enumerate().map(|(at, selected)| {
        let Selected {
            label,
            source,
            path,
            digest,
        } = selected;
        // Two sources may give the same name, or a name that is not UTF-8: both stay apart.
        if at > 0 && label == last {
            return (format!("{label} ({source}, {})", hex(path)), digest);
        }
        last.clone_from(&label);
        (label, digest)
    });
    labelled.collect()
}

/// One file, directory or link of a selection.
struct Selected<'a> {
    label: String,
    /// Which of the sources gave it.
    source: usize,
    path: &'a [u8],
    digest: String,
}

impl<'a> Selected<'a> {
    fn new(source: usize, path: &'a [u8], digest: String) -> Self {
        let label = String::from_utf8_lossy(path).into_owned();
        Self {
            label,
            source,
            path,
            digest,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    ContentDigest::of(bytes).to_hex()
}

fn node_digest(op: &CopyOp, node: &Node) -> String {
    let mut encoder = Encoder::new("copied-node", NODE_VERSION);
    match &node.kind {
        NodeKind::File {
            bytes,
            content,
            inode: _,
        } => {
            encoder.number("file", *bytes);
            if let Some(content) = content {
                encoder.bytes("content", content.as_bytes());
            }
        }
        NodeKind::Directory => drop(encoder.flag("directory", true)),
        NodeKind::Symlink { target } => drop(encoder.bytes("symlink", target)),
        NodeKind::Special(EntryKind::CharDevice { major, minor }) => {
            encoder
                .number("char-major", u64::from(*major))
                .number("minor", u64::from(*minor));
        }
        NodeKind::Special(EntryKind::BlockDevice { major, minor }) => {
            encoder
                .number("block-major", u64::from(*major))
                .number("minor", u64::from(*minor));
        }
        NodeKind::Special(_) => drop(encoder.flag("pipe", true)),
    }
    let is_link = matches!(node.kind, NodeKind::Symlink { .. });
    if !is_link {
        // A symbolic mode such as `u+x` starts from the source's mode, an octal one replaces it.
        let is_directory = node.kind == NodeKind::Directory;
        let mode = op.chmod.as_ref().map_or(node.metadata.mode, |chmod| {
            chmod.apply(node.metadata.mode, is_directory)
        });
        encoder.number("mode", u64::from(mode));
    }
    if op.chown.is_none() {
        encoder
            .number("uid", u64::from(node.metadata.uid))
            .number("gid", u64::from(node.metadata.gid));
    }
    encoder.map("xattrs", node.metadata.xattrs.iter());
    ContentDigest::from_bytes(encoder.finish()).to_string()
}

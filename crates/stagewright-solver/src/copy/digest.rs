//! What of a selection enters the key of a copy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use stagewright_digest::{ContentDigest, Encoder};
use stagewright_layer::EntryKind;
use stagewright_plan::CopyOp;

use super::select::Selection;
use super::tree::{Node, NodeKind};
use crate::parallel;

/// Names what a copy selected: a digest for each entry, by the path that it has below the
/// destination. Two selections with equal maps give the same layer on the same root file system.
///
/// The name of a matched file counts, the directories above it in the source do not; times do not;
/// the mode does not where `--chmod` decides it, nor the owner where `--chown` does.
pub(crate) fn selection_digests(op: &CopyOp, selection: &Selection) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    let several = selection.matches.len() > 1;
    for (index, matched) in selection.matches.iter().enumerate() {
        let mut add = |path: &[u8], digest: String| {
            match digests.entry(String::from_utf8_lossy(path).into_owned()) {
                Entry::Vacant(entry) => drop(entry.insert(digest)),
                // Two sources may give the same name, or a name that is not UTF-8: both stay apart.
                Entry::Occupied(entry) => {
                    let label = format!("{} ({index}, {})", entry.key(), hex(path));
                    digests.insert(label, digest);
                }
            }
        };
        if matched.node.kind != NodeKind::Directory {
            add(&matched.name, node_digest(op, &matched.node));
        }
        let below = parallel::map(&matched.below, |(_, node)| node_digest(op, node));
        for ((path, _), digest) in matched.below.iter().zip(below) {
            add(path.as_bytes(), digest);
        }
        if matched.node.kind == NodeKind::Directory && (several || matched.below.is_empty()) {
            digests.insert(format!("{index}: a directory"), String::new());
        }
    }
    digests
}

fn hex(bytes: &[u8]) -> String {
    ContentDigest::of(bytes).to_hex()
}

fn node_digest(op: &CopyOp, node: &Node) -> String {
    let mut encoder = Encoder::new("copied-node", 1);
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

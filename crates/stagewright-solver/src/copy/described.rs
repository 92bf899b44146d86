//! What of a selection enters the key of a copy.

use std::fmt::Write as _;

use stagewright_digest::{ContentDigest, Encoder};
use stagewright_layer::EntryKind;
use stagewright_plan::CopyOp;

use super::select::Selection;
use super::tree::{Node, NodeKind};
use crate::file_list::FileList;
use crate::parallel;

/// Describes what a copy selected: each entry by the path that it has below the destination. Two selections with equal lists
/// give the same layer on the same root file system. A change of what is said needs another version of keys.
///
/// The name of a matched file counts, the directories above it in the source do not; times do not;
/// the mode does not where `--chmod` decides it, nor the owner where `--chown` does.
pub(crate) fn selected_files(op: &CopyOp, selection: &Selection) -> FileList {
    // Files that follow one another to one place: the last one stays.
    let ordered = selection.matches.len() > 1 && !op.dest.ends_with('/');
    let mut files = FileList::default();
    // Of each, in the order in which they are added: which of the sources gave it, and its path.
    let mut origins: Vec<(usize, &[u8])> = Vec::new();
    for (source, matched) in selection.matches.iter().enumerate() {
        let name = || String::from_utf8_lossy(&matched.name);
        let is_directory = matched.node.kind == NodeKind::Directory;
        if !is_directory {
            files.push(
                |text| text.push_str(&name()),
                |text| Describing::new(op).describe(&matched.node, text),
            );
            origins.push((source, &matched.name));
        }
        let below = parallel::shares(&matched.below, |share| {
            let mut files = FileList::with_capacity(share.len());
            let mut describing = Describing::new(op);
            for (path, node) in share {
                files.push(
                    |text| text.push_str(&String::from_utf8_lossy(path.as_bytes())),
                    |text| describing.describe(node, text),
                );
            }
            files
        });
        below.into_iter().for_each(|share| files.append(share));
        origins.extend(
            matched
                .below
                .iter()
                .map(|(path, _)| (source, path.as_bytes())),
        );
        // A file is not a directory that holds it. A name of the source has no slash at its end.
        if is_directory || ordered {
            let label = match is_directory {
                true => format!("{source}: a directory"),
                false => format!("{source}: {}/", name()),
            };
            files.push(|text| text.push_str(&label), |_| {});
            origins.push((source, b""));
        }
    }
    // Two sources may give the same name, or a name that is not UTF-8: both stay apart.
    files.sort(&|at| {
        let (source, path) = origins[at];
        format!(" ({source}, {})", ContentDigest::of(path).to_hex())
    });
    files
}

/// Appends what entries are to texts.
struct Describing<'a> {
    op: &'a CopyOp,
    /// The access of the last entry, and how it is written: mostly the next one has the same.
    last: Option<(Access, String)>,
}

/// The mode and the owner of an entry, where they count.
type Access = (Option<u32>, Option<(u32, u32)>);

impl<'a> Describing<'a> {
    fn new(op: &'a CopyOp) -> Self {
        Self { op, last: None }
    }

    /// Appends what an entry is, its length, what it holds or points to, its mode, its owner and its attributes. What does
    /// not count is a dash.
    fn describe(&mut self, node: &Node, text: &mut String) {
        describe_kind(&node.kind, text);
        text.push_str(self.access(node));
        if !node.metadata.xattrs.is_empty() {
            let mut encoder = Encoder::new("attributes", 1);
            encoder.map("xattrs", node.metadata.xattrs.iter());
            text.push(' ');
            ContentDigest::from_bytes(encoder.finish()).append_hex(text);
        }
    }

    fn access(&mut self, node: &Node) -> &str {
        let metadata = &node.metadata;
        let mode = match (&node.kind, &self.op.chmod) {
            (NodeKind::Symlink { .. }, _) => None,
            (_, None) => Some(metadata.mode),
            // A symbolic mode such as `u+x` starts from the source's mode, an octal one replaces it.
            (kind, Some(chmod)) => Some(chmod.apply(metadata.mode, *kind == NodeKind::Directory)),
        };
        let owner = (self.op.chown.is_none()).then_some((metadata.uid, metadata.gid));
        let access = (mode, owner);
        let last = self.last.take().filter(|(last, _)| *last == access);
        let (_, text) = self.last.insert(last.unwrap_or_else(|| {
            let mode = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
            let owner = owner.map_or("-".to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
            (access, format!(" {mode} {owner}"))
        }));
        text
    }
}

fn describe_kind(kind: &NodeKind, text: &mut String) {
    match kind {
        NodeKind::File { bytes, content, .. } => {
            add(text, format_args!("file {bytes} "));
            match content {
                Some(content) => content.append_hex(text),
                None => text.push('-'),
            }
        }
        NodeKind::Directory => text.push_str("directory"),
        // It may hold any byte.
        NodeKind::Symlink { target } => {
            text.push_str("symlink ");
            ContentDigest::of(target).append_hex(text);
        }
        NodeKind::Special(EntryKind::CharDevice { major, minor }) => {
            add(text, format_args!("char {major}:{minor}"));
        }
        NodeKind::Special(EntryKind::BlockDevice { major, minor }) => {
            add(text, format_args!("block {major}:{minor}"));
        }
        NodeKind::Special(_) => text.push_str("pipe"),
    }
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("because text takes all");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stagewright_dockerfile::chmod::Chmod;
    use stagewright_layer::{EntryPath, Metadata, Mtime};
    use stagewright_plan::CopyFrom;

    use super::*;
    use crate::copy::select::Match;

    fn op() -> CopyOp {
        CopyOp::of("x", "/", CopyFrom::Context)
    }

    fn node(kind: NodeKind) -> Node {
        Node {
            path: EntryPath::root(),
            kind,
            metadata: Metadata::with_mode(0o644),
        }
    }

    fn file(bytes: u64, content: &[u8]) -> Node {
        node(NodeKind::File {
            bytes,
            content: Some(ContentDigest::of(content)),
            inode: None,
            linked: false,
        })
    }

    fn described(op: &CopyOp, node: &Node) -> String {
        let mut text = String::new();
        Describing::new(op).describe(node, &mut text);
        text
    }

    #[test]
    fn all_that_counts_of_an_entry_is_said() {
        let changed = |change: &dyn Fn(&mut Metadata)| {
            let mut node = file(1, b"a");
            change(&mut node.metadata);
            node
        };
        let xattr = |name: &str, value: &str| (name.into(), value.into());
        let device = |major, minor| EntryKind::CharDevice { major, minor };
        let link = |target: &str| {
            node(NodeKind::Symlink {
                target: target.into(),
            })
        };
        let nodes = [
            file(1, b"a"),
            file(2, b"a"),
            file(1, b"b"),
            changed(&|metadata| metadata.mode = 0o755),
            changed(&|metadata| metadata.uid = 1),
            changed(&|metadata| metadata.gid = 1),
            changed(&|metadata| metadata.xattrs = [xattr("a", "b")].into()),
            changed(&|metadata| metadata.xattrs = [xattr("a", "c")].into()),
            changed(&|metadata| metadata.xattrs = [xattr("b", "b")].into()),
            node(NodeKind::Directory),
            link("a"),
            link("b"),
            node(NodeKind::Special(device(1, 23))),
            node(NodeKind::Special(device(12, 3))),
            node(NodeKind::Special(EntryKind::BlockDevice {
                major: 1,
                minor: 23,
            })),
            node(NodeKind::Special(EntryKind::Fifo)),
        ];
        let texts: BTreeSet<String> = nodes.iter().map(|node| described(&op(), node)).collect();
        assert_eq!(texts.len(), nodes.len(), "{texts:#?}");
        // It is in keys: see their version.
        let digest = ContentDigest::of(b"a").to_hex();
        assert_eq!(
            described(&op(), &nodes[0]),
            format!("file 1 {digest} 644 0:0")
        );
        let later = changed(&|metadata| metadata.mtime = Mtime::seconds(9));
        assert_eq!(described(&op(), &later), described(&op(), &nodes[0]));
        // What the copy decides does not count.
        let given = CopyOp {
            chown: Some("1:2".to_owned()),
            chmod: Chmod::parse("755").ok(),
            ..op()
        };
        let same: BTreeSet<String> = nodes[3..6]
            .iter()
            .map(|node| described(&given, node))
            .collect();
        assert_eq!(same, [described(&given, &nodes[0])].into());
    }

    #[test]
    fn entries_are_listed_by_where_they_go_and_none_is_lost() {
        let path = |text: &str| EntryPath::parse(text.as_bytes()).unwrap();
        let directory = |below: Vec<(EntryPath, Node)>| Match {
            name: b"x".to_vec(),
            node: node(NodeKind::Directory),
            below,
            input: 1,
            unpack: false,
        };
        let selection = Selection {
            matches: vec![
                directory(vec![
                    (path("a"), node(NodeKind::Directory)),
                    (path("a/b"), file(1, b"1")),
                    (path("a-b"), file(1, b"2")),
                ]),
                directory(vec![(path("a-b"), file(1, b"3"))]),
            ],
        };
        let files = selected_files(&op(), &selection);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path).collect();
        assert_eq!(paths[..4], ["0: a directory", "1: a directory", "a", "a-b"]);
        assert!(
            paths[4].starts_with("a-b (1, ") && paths[5..] == ["a/b"],
            "{paths:?}"
        );
        let of_first = described(&op(), &file(1, b"2"));
        assert!(
            files
                .iter()
                .any(|found| found == ("a-b", of_first.as_str()))
        );
    }
}

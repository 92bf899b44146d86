//! Leaving out what a step did not change.

use std::collections::HashSet;

use stagewright_layer::{Entry, EntryKind, EntryPath, LayerIndex, Metadata, Record, xattr_belongs};

use crate::agent::Prune;
use crate::content::NewEntry;
use crate::error::SnapshotError;
use crate::tree::{MergedTree, TreeEntry};

/// Leaves out of the difference that a step made what is as it was below:
///
/// - directories with nothing left in them and the attributes that they had: overlayfs copies a
///   directory up as soon as something in it is touched, and leaves it there;
/// - files and symbolic links that equal their lower ones in everything, also in their times;
/// - opaque marks on directories that hide nothing.
///
/// So a step that changes nothing makes nothing, and what is left depends on what the step did and
/// not on how.
pub(crate) fn prune_step(
    index: LayerIndex,
    parent: &MergedTree,
) -> Result<(LayerIndex, Prune), SnapshotError> {
    let is_unchanged: &IsUnchanged = &|entry: &Entry, below: &TreeEntry| {
        let same_kind = match &entry.kind {
            // Copying up a file cuts it from its other names.
            EntryKind::File { .. } | EntryKind::Symlink { .. } => entry.kind == *below.kind(),
            _ => false,
        };
        same_kind && entry.metadata == below.entry.metadata
    };
    prune(index, parent, is_unchanged)
}

/// As [`prune_step`] for entries that are in the order of paths, without leaving out files: what is copied counts.
pub(crate) fn prune_copy(entries: &mut Vec<NewEntry>, parent: &MergedTree) {
    let mut kept = vec![true; entries.len()];
    // What follows of what is kept: it lies in a directory if anything does.
    let mut last: Option<&EntryPath> = None;
    for (entry, kept) in entries.iter_mut().zip(&mut kept).rev() {
        if let NewEntry::Other(Entry {
            path,
            kind: EntryKind::Directory { opaque },
            metadata,
        }) = entry
        {
            let below = parent.lookup(path);
            let holds = last.as_ref().is_some_and(|last| last.is_within(path));
            if *opaque && hides_nothing(path, below.as_ref(), parent) {
                *opaque = false;
            }
            let only_holds = path.is_root() || !holds;
            *kept = *opaque || !only_holds || !is_as_below(metadata, below.as_ref());
        }
        if *kept {
            let entry: &NewEntry = entry;
            last = Some(entry.path());
        }
    }
    let mut kept = kept.into_iter();
    entries.retain(|_| kept.next().unwrap_or(true));
}

/// Leaves out whiteouts of what is not below: fuse-overlayfs makes some for what a step made itself.
pub(crate) fn without_idle_whiteouts(
    index: LayerIndex,
    parent: &MergedTree,
) -> Result<LayerIndex, SnapshotError> {
    let mut records = index.into_records();
    records.retain(|record| {
        record.entry.kind != EntryKind::Whiteout || parent.lookup(&record.entry.path).is_some()
    });
    LayerIndex::from_records(records).map_err(SnapshotError::Entries)
}

/// Gives what a step changed to whom it belonged, when the files on disk don't say it.
pub(crate) fn restore_owners(
    index: LayerIndex,
    parent: &MergedTree,
) -> Result<LayerIndex, SnapshotError> {
    let mut records = index.into_records();
    for record in &mut records {
        let Entry {
            path,
            kind,
            metadata,
        } = &mut record.entry;
        let below = parent.lookup(path);
        let same_kind = |below: &TreeEntry| {
            std::mem::discriminant(below.kind()) == std::mem::discriminant(kind)
        };
        if let Some(below) = below.filter(same_kind) {
            (metadata.uid, metadata.gid) = (below.entry.metadata.uid, below.entry.metadata.gid);
        }
    }
    LayerIndex::from_records(records).map_err(SnapshotError::Entries)
}

/// Says whether a step left a file or a symbolic link as it was.
type IsUnchanged = dyn Fn(&Entry, &TreeEntry) -> bool;

fn prune(
    index: LayerIndex,
    parent: &MergedTree,
    is_unchanged: &IsUnchanged,
) -> Result<(LayerIndex, Prune), SnapshotError> {
    let linked: HashSet<EntryPath> = index
        .entries()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Hardlink { target } => Some(target.clone()),
            _ => None,
        })
        .collect();
    let mut done = Prune::default();
    let mut kept: Vec<Record> = Vec::with_capacity(index.len());
    // From the bottom up, so that what a directory holds is decided before itself.
    for mut record in index.into_records().into_iter().rev() {
        let Entry {
            path,
            kind,
            metadata,
        } = &mut record.entry;
        let below = match kind {
            EntryKind::Whiteout | EntryKind::Hardlink { .. } => None,
            _ if linked.contains(path) => None,
            _ => parent.lookup(path),
        };
        let unchanged = match kind {
            EntryKind::Directory { opaque } => {
                if *opaque && hides_nothing(path, below.as_ref(), parent) {
                    *opaque = false;
                    done.clear_opaque.push(path.clone());
                }
                let holds = kept
                    .last()
                    .is_some_and(|last| last.entry.path.is_within(path));
                !*opaque && !holds && is_as_below(metadata, below.as_ref())
            }
            _ => below.is_some_and(|below| is_unchanged(&record.entry, &below)),
        };
        if unchanged {
            let path = record.entry.path;
            done.clear_opaque.retain(|cleared| *cleared != path);
            if !path.is_root() {
                done.remove.push(path);
            }
        } else {
            kept.push(record);
        }
    }
    // A root directory that only holds changes says nothing itself.
    if kept.last().is_some_and(|last| last.entry.path.is_root()) {
        let root = kept.last().map(|last| &last.entry);
        let same = root.is_some_and(|root| {
            root.kind == (EntryKind::Directory { opaque: false })
                && parent
                    .lookup(&EntryPath::root())
                    .is_some_and(|below| same_attributes(&root.metadata, &below.entry.metadata))
        });
        if same {
            kept.pop();
        }
    }
    kept.reverse();
    let index = LayerIndex::from_records(kept).map_err(SnapshotError::Entries)?;
    Ok((index, done))
}

/// Says whether an opaque mark hides nothing.
fn hides_nothing(path: &EntryPath, below: Option<&TreeEntry>, parent: &MergedTree) -> bool {
    below.is_none_or(|below| below.kind().is_directory() && parent.children(path).is_empty())
}

/// Says whether there is a directory below with these attributes.
fn is_as_below(metadata: &Metadata, below: Option<&TreeEntry>) -> bool {
    below.is_some_and(|below| {
        below.kind().is_directory() && same_attributes(metadata, &below.entry.metadata)
    })
}

/// Compares attributes without times.
fn same_attributes(one: &Metadata, other: &Metadata) -> bool {
    let own = |metadata: &Metadata| {
        let mut metadata = metadata.clone();
        metadata.mtime = stagewright_layer::Mtime::default();
        metadata.xattrs.retain(|name, _| xattr_belongs(name));
        metadata
    };
    own(one) == own(other)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stagewright_digest::ContentDigest;
    use stagewright_layer::Mtime;

    use super::*;
    use crate::content::Content;
    use crate::tree::TreeLayer;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    fn entry(at: &str, kind: EntryKind, mode: u32, seconds: i64) -> Record {
        let mtime = Mtime::seconds(seconds);
        let metadata = Metadata {
            mode,
            mtime,
            ..Metadata::default()
        };
        Entry {
            path: path(at),
            kind,
            metadata,
        }
        .into()
    }

    fn directory(at: &str, seconds: i64) -> Record {
        entry(at, EntryKind::Directory { opaque: false }, 0o755, seconds)
    }

    fn opaque(at: &str) -> Record {
        entry(at, EntryKind::Directory { opaque: true }, 0o755, 0)
    }

    fn file(at: &str, text: &str, seconds: i64) -> Record {
        let content = ContentDigest::of(text.as_bytes());
        let kind = EntryKind::File {
            bytes: text.len() as u64,
            content,
        };
        entry(at, kind, 0o644, seconds)
    }

    fn parent() -> MergedTree {
        let records = vec![
            directory("", 1),
            directory("empty", 1),
            directory("tmp", 1),
            file("tmp/old", "old", 1),
        ];
        let index = Arc::new(LayerIndex::from_records(records).unwrap());
        MergedTree::new([TreeLayer {
            index,
            packed: None,
            unpacked: None,
            keeper: None,
            namespace: None,
        }])
    }

    fn check(records: Vec<Record>, kept: &[&str], removed: &[&str], cleared: &[&str]) {
        let index = LayerIndex::from_records(records).unwrap();
        let (index, prune) = prune_step(index, &parent()).unwrap();
        let left: Vec<_> = index.entries().map(|entry| entry.path.clone()).collect();
        let paths = |list: &[&str]| list.iter().map(|text| path(text)).collect::<Vec<_>>();
        assert_eq!(left, paths(kept));
        assert_eq!(prune.remove, paths(removed));
        assert_eq!(prune.clear_opaque, paths(cleared));
    }

    /// As [`check`], for what is copied.
    fn check_copy(records: Vec<Record>, kept: &[&str]) {
        let new = |record: Record| match record.entry.kind {
            EntryKind::File { .. } => NewEntry::File {
                path: record.entry.path,
                metadata: record.entry.metadata,
                content: Content::bytes(*b"x"),
            },
            _ => NewEntry::Other(record.entry),
        };
        let mut entries: Vec<NewEntry> = records.into_iter().map(new).collect();
        prune_copy(&mut entries, &parent());
        let left: Vec<_> = entries.iter().map(|entry| entry.path().clone()).collect();
        let kept: Vec<_> = kept.iter().map(|text| path(text)).collect();
        assert_eq!(left, kept);
        let opaque = EntryKind::Directory { opaque: true };
        for entry in entries {
            if let NewEntry::Other(entry) = entry {
                assert!(entry.kind != opaque || entry.path == path("tmp"));
            }
        }
    }

    #[test]
    fn of_a_copy_only_directories_are_left_out() {
        check_copy(vec![directory("", 9), directory("tmp", 9)], &[]);
        check_copy(vec![], &[]);
        let again = || file("tmp/old", "old", 1);
        let records = || vec![directory("", 9), directory("tmp", 9), again()];
        check_copy(records(), &["tmp", "tmp/old"]);
        check_copy(vec![directory("new", 9)], &["new"]);
        let mut other = directory("tmp", 1);
        other.entry.metadata.uid = 5;
        check_copy(vec![other], &["tmp"]);
        let mut root = directory("", 1);
        root.entry.metadata.mode = 0o700;
        check_copy(vec![root, file("f", "x", 1)], &["", "f"]);
        check_copy(vec![opaque("tmp")], &["tmp"]);
        check_copy(vec![opaque("new")], &["new"]);
        check_copy(vec![opaque("empty")], &[]);
    }

    #[test]
    fn a_step_that_touches_directories_changes_nothing() {
        check(
            vec![directory("", 9), directory("tmp", 9)],
            &[],
            &["tmp"],
            &[],
        );
        check(vec![], &[], &[], &[]);
    }

    #[test]
    fn files_count_when_anything_differs() {
        check(vec![file("tmp/old", "old", 1)], &[], &["tmp/old"], &[]);
        let root = || directory("", 9);
        let kept = ["tmp", "tmp/old"];
        check(
            vec![root(), directory("tmp", 9), file("tmp/old", "old", 2)],
            &kept,
            &[],
            &[],
        );
        check(
            vec![root(), directory("tmp", 9), file("tmp/old", "new", 1)],
            &kept,
            &[],
            &[],
        );
        let linked = entry(
            "tmp/z",
            EntryKind::Hardlink {
                target: path("tmp/old"),
            },
            0o644,
            1,
        );
        let records = vec![directory("tmp", 9), file("tmp/old", "old", 1), linked];
        check(records, &["tmp", "tmp/old", "tmp/z"], &[], &[]);
    }

    #[test]
    fn directories_count_when_they_are_new_or_differ() {
        check(vec![directory("new", 9)], &["new"], &[], &[]);
        let mut other = directory("tmp", 1);
        other.entry.metadata.uid = 5;
        check(vec![other], &["tmp"], &[], &[]);
        let mut root = directory("", 1);
        root.entry.metadata.mode = 0o700;
        check(vec![root, file("f", "x", 1)], &["", "f"], &[], &[]);
    }

    #[test]
    fn opaque_marks_count_when_they_hide_something() {
        check(vec![opaque("tmp")], &["tmp"], &[], &[]);
        check(vec![opaque("new")], &["new"], &[], &["new"]);
        check(vec![opaque("empty")], &[], &["empty"], &[]);
        check(vec![opaque("tmp/old")], &["tmp/old"], &[], &[]);
        let whiteout: Record = Entry::whiteout(path("tmp/old")).into();
        check(
            vec![directory("tmp", 9), whiteout],
            &["tmp", "tmp/old"],
            &[],
            &[],
        );
    }
}

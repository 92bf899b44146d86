//! Making the unpacked form of a layer, in the memory that a few of its entries take.

use std::iter::{Fuse, Peekable};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use stagewright_layer::{Entry, EntryKind, EntryPath, IndexFault, IndexReader, Metadata, Record};

use crate::agent::entry_of;
use crate::content::{Content, NewEntry};
use crate::create::{CreateOptions, ENTRIES_AT_ONCE, NewTree, PIECE_BYTES};
use crate::error::SnapshotError;
use crate::file::LayerFiles;
use crate::parallel::on_threads;
use crate::tree::TreeLayer;

/// Of one directory a thread takes so many entries at a time, unless they have so many bytes.
const ENTRIES_OF_ONE_DIRECTORY_MAX: usize = 2_048;
const BYTES_AT_ONCE: u64 = 1 << 20;

/// A layer whose unpacked form is to be made. What its entries say of each other was checked when its index was made.
#[derive(Debug, Clone, Copy)]
pub enum Unpacking<'a> {
    /// One whose index is in memory.
    Layer(&'a TreeLayer),
    /// One that is being made: its index is read as often as it is needed.
    Draft {
        /// Its index.
        index: &'a Path,
        /// How many entries that has.
        entries: u64,
        /// Its packed form.
        packed: &'a Path,
    },
}

/// The entries of a layer in the order of paths.
type Entries<'a> = Box<dyn Iterator<Item = Result<NewEntry, SnapshotError>> + Send + 'a>;

impl<'a> Unpacking<'a> {
    /// Returns the entries with their bytes.
    pub(crate) fn entries(&self) -> Result<Entries<'a>, SnapshotError> {
        match *self {
            Self::Layer(layer) => {
                let files = Arc::new(LayerFiles::new(layer.clone()));
                let records = layer.index.records().iter().enumerate();
                Ok(Box::new(
                    records.map(move |(at, record)| Ok(entry_of(&files, at, record))),
                ))
            }
            Self::Draft { index, packed, .. } => {
                let index = fs::File::open(index).map_err(SnapshotError::Draft)?;
                let records = IndexReader::new(index).map_err(SnapshotError::Draft)?;
                let tar = Arc::new(fs::File::open(packed).map_err(SnapshotError::Draft)?);
                Ok(Box::new(records.map(move |record| {
                    let Record { entry, data } = record.map_err(SnapshotError::Draft)?;
                    Ok(match (entry.kind, data) {
                        (EntryKind::File { bytes, content }, Some(data)) => NewEntry::File {
                            path: entry.path,
                            metadata: entry.metadata,
                            content: Content::draft(Arc::clone(&tar), data, bytes, content),
                        },
                        (kind, _) => NewEntry::Other(Entry { kind, ..entry }),
                    })
                })))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Layer(layer) => layer.index.len(),
            Self::Draft { entries, .. } => usize::try_from(*entries).unwrap_or(usize::MAX),
        }
    }
}

/// Makes the files of a layer in a new directory `root`, as overlayfs takes it for a lower one.
///
/// Nothing can lead out of the directory: it is new, its directories are made first, and symbolic
/// links are made only where nothing lies below them. The entries are gone through once for each of these, and not kept.
pub(crate) fn unpack(
    root: &Path,
    layer: &Unpacking<'_>,
    options: CreateOptions,
) -> Result<(), SnapshotError> {
    let tree = NewTree::begin(root, options)?;
    let has_links = make_directories(&tree, layer.entries()?)?;
    make_files(&tree, layer)?;
    if has_links {
        make_links(&tree, layer.entries()?)?;
    }
    finish_directories(&tree, layer.entries()?)
}

/// Makes all directories, also those that are only mentioned. Returns whether there are hard links.
fn make_directories(tree: &NewTree<'_>, entries: Entries<'_>) -> Result<bool, SnapshotError> {
    let mut has_links = false;
    let mut last: Option<EntryPath> = None;
    // What came last and is no directory: everything below it would follow directly.
    let mut leaf: Option<EntryPath> = None;
    // The last directory and those above it, from the root down.
    let mut open = vec![EntryPath::root()];
    let make = |path: &EntryPath, mode| {
        let made = tree.make_directory(path, mode);
        made.map_err(|source| tree.failed(path, source))
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path().clone();
        if last.as_ref().is_some_and(|last| *last >= path) {
            return Err(SnapshotError::Entries(IndexFault::Order { path }));
        }
        if leaf.as_ref().is_some_and(|leaf| path.is_within(leaf)) {
            return Err(SnapshotError::Entries(IndexFault::BelowNonDirectory {
                path,
            }));
        }
        while open.last().is_some_and(|open| !path.is_within(open)) {
            open.pop();
        }
        if !open.last().is_some_and(|open| path.is_directly_in(open)) {
            for above in path.ancestors().skip(open.len()) {
                // It gets no attributes later.
                make(&above, 0o755)?;
                open.push(above);
            }
        }
        match &entry {
            NewEntry::Other(Entry {
                kind: EntryKind::Directory { .. },
                ..
            }) => {
                if !path.is_root() {
                    make(&path, 0o700)?;
                    open.push(path.clone());
                }
            }
            NewEntry::Other(other) => {
                has_links |= matches!(other.kind, EntryKind::Hardlink { .. });
                leaf = Some(path.clone());
            }
            NewEntry::File { .. } => leaf = Some(path.clone()),
        }
        last = Some(path);
    }
    Ok(has_links)
}

/// Makes everything but directories and hard links, in parallel.
fn make_files(tree: &NewTree<'_>, layer: &Unpacking<'_>) -> Result<(), SnapshotError> {
    // Guards what comes next: who makes files takes some of them at a time.
    let entries = Mutex::new(layer.entries()?.fuse().peekable());
    let failed = AtomicBool::new(false);
    let work = || {
        let mut piece = vec![0; PIECE_BYTES];
        let mut own = Vec::with_capacity(ENTRIES_AT_ONCE);
        while !failed.load(Ordering::Relaxed) {
            {
                let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                take_some(&mut entries, &mut own);
            }
            if own.is_empty() {
                break;
            }
            for entry in own.drain(..) {
                if let Err(error) = entry.and_then(|entry| tree.make(&entry, &mut piece)) {
                    // The others stop at their next turn.
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(Vec::<()>::new())
    };
    let turns = layer.len().div_ceil(ENTRIES_AT_ONCE);
    on_threads(tree.options.threads.min(turns).max(1), work).map(drop)
}

/// Takes what a thread makes at once: so much of one directory as is little work, for directories have a lock in the kernel
/// that threads should not fight for.
fn take_some(
    entries: &mut Peekable<Fuse<Entries<'_>>>,
    own: &mut Vec<Result<NewEntry, SnapshotError>>,
) {
    let mut bytes = 0;
    while let Some(next) = entries.peek() {
        if own.len() >= ENTRIES_AT_ONCE {
            let goes_on = match (own.last(), next) {
                (Some(Ok(last)), Ok(next)) => last.path().is_beside(next.path()),
                _ => false,
            };
            if !goes_on || bytes >= BYTES_AT_ONCE || own.len() >= ENTRIES_OF_ONE_DIRECTORY_MAX {
                return;
            }
        }
        if let Ok(NewEntry::File { content, .. }) = next {
            bytes += content.known_bytes().unwrap_or(0);
        }
        own.extend(entries.next());
    }
}

fn make_links(tree: &NewTree<'_>, entries: Entries<'_>) -> Result<(), SnapshotError> {
    for entry in entries {
        if let NewEntry::Other(Entry {
            path,
            kind: EntryKind::Hardlink { target },
            ..
        }) = entry?
        {
            tree.link(&target, &path)?;
        }
    }
    Ok(())
}

/// Gives directories their attributes, from the bottom up, after everything in them is made: that would change their times.
fn finish_directories(tree: &NewTree<'_>, entries: Entries<'_>) -> Result<(), SnapshotError> {
    let finish = |(path, opaque, metadata): &(EntryPath, bool, Metadata)| {
        let finished = tree.finish_directory(path, *opaque, metadata);
        finished.map_err(|source| tree.failed(path, source))
    };
    let mut open: Vec<(EntryPath, bool, Metadata)> = vec![];
    for entry in entries {
        let entry = entry?;
        while let Some(last) = open.pop_if(|(path, ..)| !entry.path().is_within(path)) {
            finish(&last)?;
        }
        if let NewEntry::Other(Entry {
            path,
            kind: EntryKind::Directory { opaque },
            metadata,
        }) = entry
        {
            open.push((path, opaque, metadata));
        }
    }
    open.iter().rev().try_for_each(finish)
}

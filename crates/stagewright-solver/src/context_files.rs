//! A build context as the steps of a build read it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use stagewright_context::{Context, ContextFile, Entry, EntryKind, Patterns, StatCache};
use stagewright_digest::ContentDigest;
use stagewright_layer::{EntryKind as LayerKind, EntryPath, Metadata, Mtime};
use stagewright_snapshot::Content;
use stagewright_store::{CONTEXT_KIND, Store};

use crate::copy::{Found, Node, NodeKind, SourceTree};
use crate::error::StepError;
use crate::parallel;

/// A build context with what is known of its files' content.
pub struct ContextFiles {
    context: Context,
    /// How messages name it.
    description: String,
    /// Where the stat cache is stored, and its name there: it belongs to the context's folder.
    document: Option<(Store, String)>,
    /// The time of all files, in place of their own.
    time: Option<Mtime>,
    /// What has no place in an image. Held only to look up or insert.
    skipped: Mutex<BTreeSet<PathBuf>>,
    /// Read by one step at a time: two that read the same files need not both hash them. Absent while no step asked for
    /// files.
    cache: Mutex<Option<StatCache>>,
}

impl ContextFiles {
    /// Opens a context. What an earlier build learned of its files is loaded when the first step asks for files.
    pub fn open(context: Context, description: &str, store: &Store) -> Self {
        let document = ContentDigest::of(context.path().as_os_str().as_bytes()).to_hex();
        let description = description.to_owned();
        Self {
            context,
            description,
            document: Some((store.clone(), document)),
            time: None,
            skipped: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// Gives all files this time, in seconds since 1970, in place of their own.
    #[must_use]
    pub fn with_time(self, time: Option<i64>) -> Self {
        Self {
            time: time.map(Mtime::seconds),
            ..self
        }
    }

    /// Returns what was passed over though a step asked for it: sockets, by their paths.
    pub fn skipped(&self) -> Vec<PathBuf> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.iter().cloned().collect()
    }

    /// Opens a folder that is there for one build: nothing is remembered of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn temporary(path: &Path, description: &str) -> Result<Self, StepError> {
        Ok(Self {
            context: Context::open(path, Patterns::default())?,
            description: description.to_owned(),
            document: None,
            time: None,
            skipped: Mutex::default(),
            cache: Mutex::default(),
        })
    }

    /// Stores what was learned of the files, for the next build.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save(&self) -> Result<(), StepError> {
        let cache = self.cache();
        if let Some((store, document)) = &self.document
            && let Some(cache) = cache.as_ref().filter(|cache| cache.is_changed())
        {
            store.remember_document(CONTEXT_KIND, document, &cache.encode())?;
        }
        Ok(())
    }

    /// Lists the regular files that the ignore rules leave.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(&self) -> Result<Vec<Entry>, StepError> {
        let walk = self.context.walk(Path::new(""))?;
        let entries = walk.entries.into_iter();
        Ok(entries
            .filter(|entry| entry.kind == EntryKind::File)
            .collect())
    }

    /// Opens a regular file of the context; nothing for one that is not there any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_file(&self, path: &Path) -> Result<Option<ContextFile>, StepError> {
        let entry = self.context.lookup(path)?;
        let file = entry.map(|entry| self.context.open_file(&entry));
        Ok(file.transpose()?)
    }

    /// Loads the stat cache. A damaged one is an empty one.
    fn load(&self) -> Result<StatCache, StepError> {
        let stored = match &self.document {
            Some((store, document)) => store.document(CONTEXT_KIND, document)?,
            None => None,
        };
        Ok(stored
            .and_then(|bytes| StatCache::decode(&bytes).ok())
            .unwrap_or_default())
    }

    /// Says whether what is learned of the files is remembered from one build to the next.
    pub(crate) fn is_remembered(&self) -> bool {
        self.document.is_some()
    }

    /// Lists what is at a path whose links are resolved, and all below it, in the order of [`SourceTree::walk`]. No file is
    /// read.
    pub(crate) fn list(&self, path: &EntryPath) -> Result<Vec<Entry>, StepError> {
        let walk = self.context.walk(path.as_path())?;
        if !walk.skipped.is_empty() {
            let skipped = walk.skipped.into_iter().map(|skipped| skipped.path);
            self.skipped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(skipped);
        }
        Ok(walk.entries)
    }

    /// Reads of listed files what is not known of them. Says also whether all are known by their stamps now.
    pub(crate) fn read(
        &self,
        path: &EntryPath,
        mut entries: Vec<Entry>,
    ) -> Result<(Vec<(EntryPath, Node)>, bool), StepError> {
        let mut guard = self.cache();
        let cache = match &mut *guard {
            Some(cache) => cache,
            empty => empty.insert(self.load()?),
        };
        let known = self.context.digest(&mut entries, cache)?;
        if path.is_root() {
            cache.retain_walked(Path::new(""), &entries);
        }
        drop(guard);
        let nodes = parallel::map(&entries, |entry| {
            let full = entry_path(&entry.path)?;
            let relative = full.relative_to(path).unwrap_or_else(EntryPath::root);
            Ok((relative, node(full, entry, self.time)))
        });
        let nodes: Result<_, StepError> = nodes.into_iter().collect();
        Ok((nodes?, known))
    }

    fn path_of(&self, node: &Node) -> PathBuf {
        self.context.path().join(node.path.as_path())
    }

    fn cache(&self) -> MutexGuard<'_, Option<StatCache>> {
        // A panic while the cache was held leaves records that are each still true.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceTree for ContextFiles {
    fn find(&self, source: &str) -> Result<Vec<Found>, StepError> {
        let found = self.context.find(source)?;
        found
            .into_iter()
            .map(|found| {
                Ok(Found {
                    named: entry_path(&found.named)?,
                    path: entry_path(&found.path)?,
                })
            })
            .collect()
    }

    fn walk(&self, path: &EntryPath) -> Result<Vec<(EntryPath, Node)>, StepError> {
        let (nodes, _) = self.read(path, self.list(path)?)?;
        Ok(nodes)
    }

    fn content(&self, node: &Node) -> Result<Content, StepError> {
        Ok(Content::file(self.path_of(node)))
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

fn entry_path(path: &Path) -> Result<EntryPath, StepError> {
    EntryPath::clean(path.as_os_str().as_bytes())
        .map_err(|error| StepError::Copy(error.to_string()))
}

/// Everything in a context belongs to root, as BuildKit's client sends it.
fn node(path: EntryPath, entry: &Entry, time: Option<Mtime>) -> Node {
    let kind = match &entry.kind {
        EntryKind::Directory => NodeKind::Directory,
        EntryKind::File => NodeKind::File {
            bytes: entry.bytes,
            content: entry.content,
            inode: None,
            linked: false,
        },
        EntryKind::Symlink { target } => NodeKind::Symlink {
            target: target.as_os_str().as_bytes().to_vec(),
        },
        EntryKind::Fifo => NodeKind::Special(LayerKind::Fifo),
        EntryKind::CharDevice { major, minor } => NodeKind::Special(LayerKind::CharDevice {
            major: *major,
            minor: *minor,
        }),
        EntryKind::BlockDevice { major, minor } => NodeKind::Special(LayerKind::BlockDevice {
            major: *major,
            minor: *minor,
        }),
    };
    let metadata = Metadata {
        mode: entry.mode,
        uid: 0,
        gid: 0,
        mtime: time.unwrap_or_else(|| mtime(entry.mtime_ns)),
        xattrs: entry.xattrs.iter().cloned().collect(),
    };
    Node {
        path,
        kind,
        metadata,
    }
}

fn mtime(nanoseconds: i128) -> Mtime {
    const NANOS: i128 = 1_000_000_000;
    Mtime {
        seconds: i64::try_from(nanoseconds.div_euclid(NANOS)).unwrap_or_default(),
        nanos: u32::try_from(nanoseconds.rem_euclid(NANOS)).unwrap_or_default(),
    }
}

//! A build context as one copy sees it, listed before anything of it is read.
//!
//! What the files hold is known by their stamps, for as long as these are believed (`stagewright_context::StatCache`); all
//! else that the key of a copy is made of is seen when they are listed. So the same list leads to the same key, and one hash
//! over it is enough to find the key again that it made the last time: neither what is known of each file is looked up then,
//! nor are the parts of the key made.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stagewright_context::{Entry, EntryKind};
use stagewright_digest::{Encoder, StampsDigest};
use stagewright_layer::EntryPath;
use stagewright_plan::{CopyOp, CopySource, FileOp, Op, Vertex};
use stagewright_snapshot::Content;

use crate::action;
use crate::context_files::ContextFiles;
use crate::copy::{self, Found, Node, Selection, SourceTree, Sources};
use crate::error::StepError;
use crate::parts::KEY_VERSION;
use crate::services::Services;
use crate::vertex::VertexResult;

/// The version of what stamps are made of. Raise it, too, when a copy selects otherwise of what is listed and no version of the
/// product parts the two.
const STAMPS_VERSION: u32 = 1;

/// What a copy selects from, listed and not read yet.
pub(crate) struct ListedContext {
    /// Names the list, and all else that the key of the copy is made of.
    pub(crate) stamps: StampsDigest,
    tree: ListedTree,
}

/// A context whose files are read out of what was listed before.
struct ListedTree {
    files: Arc<ContextFiles>,
    /// What each source names.
    found: BTreeMap<String, Vec<Found>>,
    /// By path. Held only to take one out.
    listed: Mutex<BTreeMap<EntryPath, Vec<Entry>>>,
    /// Whether all that was read is known by the stamps of the list.
    known: AtomicBool,
}

impl ListedContext {
    /// Lists what a copy selects from. Nothing for other steps, for contexts that are there for one build, and where it
    /// fails: then it fails again where the files are read, and is told there.
    pub(crate) fn of(
        services: &Services,
        vertex: &Vertex,
        inputs: &[VertexResult],
    ) -> Option<Self> {
        let (Op::File(FileOp::Copy(op)), [_, VertexResult::Context(name)]) = (&vertex.op, inputs)
        else {
            return None;
        };
        let files = services.context(name).ok()?;
        if !files.is_remembered() {
            return None;
        }
        let unread = action::unread_parts(&services.options, op, inputs).key();
        let mut encoder = Encoder::new("copied-stamps", STAMPS_VERSION);
        encoder
            .bytes("copy", unread.as_bytes())
            .number("key version", u64::from(KEY_VERSION))
            // Which of the listed files are selected is what the code says.
            .text("selected by", env!("CARGO_PKG_VERSION"));
        let tree = ListedTree::new(op, Arc::clone(files), &mut encoder).ok()?;
        Some(Self {
            stamps: StampsDigest::from_bytes(encoder.finish()),
            tree,
        })
    }

    /// Selects the files, reading what is not known of them. Returns the stamps too if they lead to these files from now on.
    pub(crate) fn select(
        self,
        op: &CopyOp,
    ) -> Result<(Selection, Option<StampsDigest>), StepError> {
        let tree = Arc::new(self.tree);
        let mut sources = Sources::default();
        sources.insert(copy::MAIN_INPUT, Arc::clone(&tree) as _);
        let selection = copy::select(op, &sources)?;
        let known = tree.known.load(Ordering::Relaxed);
        Ok((selection, known.then_some(self.stamps)))
    }
}

impl ListedTree {
    fn new(
        op: &CopyOp,
        files: Arc<ContextFiles>,
        encoder: &mut Encoder,
    ) -> Result<Self, StepError> {
        let mut tree = Self {
            files,
            found: BTreeMap::new(),
            listed: Mutex::default(),
            known: AtomicBool::new(true),
        };
        let listed = tree
            .listed
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for source in &op.sources {
            let CopySource::Path(path) = source else {
                continue;
            };
            let source = copy::looked_up(op, path);
            let found = tree.files.find(source)?;
            encoder.text("source", source);
            for found in &found {
                if !listed.contains_key(&found.path) {
                    listed.insert(found.path.clone(), tree.files.list(&found.path)?);
                }
                encoder
                    .bytes("found", found.named.as_bytes())
                    .bytes("at", found.path.as_bytes());
                put_all(encoder, &listed[&found.path]);
            }
            tree.found.insert(source.to_owned(), found);
        }
        Ok(tree)
    }
}

impl SourceTree for ListedTree {
    fn find(&self, source: &str) -> Result<Vec<Found>, StepError> {
        match self.found.get(source) {
            Some(found) => Ok(found.clone()),
            None => self.files.find(source),
        }
    }

    fn walk(&self, path: &EntryPath) -> Result<Vec<(EntryPath, Node)>, StepError> {
        let listed = self
            .listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(path);
        let again = listed.is_none();
        let entries = match listed {
            Some(entries) => entries,
            // Two sources name it.
            None => self.files.list(path)?,
        };
        let (nodes, known) = self.files.read(path, entries)?;
        // It may have changed since it was listed first.
        if again || !known {
            self.known.store(false, Ordering::Relaxed);
        }
        Ok(nodes)
    }

    fn content(&self, node: &Node) -> Result<Content, StepError> {
        self.files.content(node)
    }

    fn describe(&self) -> String {
        self.files.describe()
    }
}

/// As much of a list is hashed at a time.
const CHUNK_BYTES: usize = 32 * 1024;

/// Adds all that a list says of what the key of a copy is made of.
fn put_all(encoder: &mut Encoder, entries: &[Entry]) {
    encoder.number("entries", entries.len() as u64);
    let mut chunk = Vec::new();
    for entry in entries {
        put(&mut chunk, entry);
        if chunk.len() > CHUNK_BYTES {
            encoder.bytes("chunk", &chunk);
            chunk.clear();
        }
    }
    encoder.bytes("chunk", &chunk);
}

/// Of a file its stamp stands for its bytes and its attributes. What others are has no stamp: it is all there.
fn put(chunk: &mut Vec<u8>, entry: &Entry) {
    put_bytes(chunk, entry.path.as_os_str().as_bytes());
    chunk.extend_from_slice(&entry.mode.to_le_bytes());
    match &entry.kind {
        EntryKind::File => {
            chunk.push(b'f');
            let stamp = &entry.stamp;
            for number in [stamp.dev, stamp.ino, stamp.bytes] {
                chunk.extend_from_slice(&number.to_le_bytes());
            }
            for time in [stamp.mtime_ns, stamp.ctime_ns] {
                chunk.extend_from_slice(&time.to_le_bytes());
            }
            return;
        }
        EntryKind::Directory => chunk.push(b'd'),
        EntryKind::Symlink { target } => {
            chunk.push(b'l');
            put_bytes(chunk, target.as_os_str().as_bytes());
        }
        EntryKind::Fifo => chunk.push(b'p'),
        EntryKind::CharDevice { major, minor } => put_device(chunk, b'c', *major, *minor),
        EntryKind::BlockDevice { major, minor } => put_device(chunk, b'b', *major, *minor),
    }
    put_number(chunk, entry.xattrs.len());
    for (name, value) in &entry.xattrs {
        put_bytes(chunk, name);
        put_bytes(chunk, value);
    }
}

fn put_device(chunk: &mut Vec<u8>, kind: u8, major: u32, minor: u32) {
    chunk.push(kind);
    chunk.extend_from_slice(&major.to_le_bytes());
    chunk.extend_from_slice(&minor.to_le_bytes());
}

fn put_bytes(chunk: &mut Vec<u8>, bytes: &[u8]) {
    put_number(chunk, bytes.len());
    chunk.extend_from_slice(bytes);
}

fn put_number(chunk: &mut Vec<u8>, number: usize) {
    chunk.extend_from_slice(&(number as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stagewright_context::FileStamp;

    use super::*;

    fn entry(kind: EntryKind) -> Entry {
        Entry {
            path: "a/b".into(),
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            bytes: 3,
            mtime_ns: 4,
            stamp: FileStamp {
                dev: 5,
                ino: 6,
                bytes: 3,
                mtime_ns: 4,
                ctime_ns: 7,
            },
            xattrs: Vec::new(),
            content: None,
        }
    }

    fn link(target: &str) -> Entry {
        entry(EntryKind::Symlink {
            target: target.into(),
        })
    }

    fn digest(entries: &[Entry]) -> StampsDigest {
        let mut encoder = Encoder::new("copied-stamps", STAMPS_VERSION);
        put_all(&mut encoder, entries);
        StampsDigest::from_bytes(encoder.finish())
    }

    /// Each line changes one thing that the key of a copy depends on, or that tells whether a file's content is known.
    #[test]
    fn whatever_is_listed_changes_the_stamps() {
        let file = |change: &dyn Fn(&mut Entry)| {
            let mut entry = entry(EntryKind::File);
            change(&mut entry);
            entry
        };
        let folder = |name: &str, value: &str| Entry {
            xattrs: vec![(name.into(), value.into())],
            ..entry(EntryKind::Directory)
        };
        let device = |major, minor| entry(EntryKind::CharDevice { major, minor });
        let lists: &[&[Entry]] = &[
            &[],
            &[file(&|_| {})],
            &[file(&|_| {}), file(&|_| {})],
            &[file(&|entry| entry.path = "a/c".into())],
            &[file(&|entry| entry.mode = 0o755)],
            &[file(&|entry| entry.stamp.dev = 6)],
            &[file(&|entry| entry.stamp.ino = 7)],
            &[file(&|entry| entry.stamp.bytes = 4)],
            &[file(&|entry| entry.stamp.mtime_ns = 5)],
            &[file(&|entry| entry.stamp.ctime_ns = 8)],
            &[entry(EntryKind::Directory)],
            &[folder("user.a", "1")],
            &[folder("user.a", "2")],
            &[folder("user.a1", "")],
            &[link("x")],
            &[link("y")],
            &[entry(EntryKind::Fifo)],
            &[device(1, 2)],
            &[device(1, 3)],
            &[device(2, 2)],
            &[entry(EntryKind::BlockDevice { major: 1, minor: 2 })],
        ];
        let digests: BTreeSet<StampsDigest> = lists.iter().map(|list| digest(list)).collect();
        assert_eq!(digests.len(), lists.len());
    }

    /// A change here makes all stamps unknown, which costs one build: raise the version on purpose.
    #[test]
    fn stamps_are_pinned() {
        let list = [
            entry(EntryKind::Directory),
            entry(EntryKind::File),
            link("x"),
        ];
        assert_eq!(digest(&list).to_hex(), PINNED);
    }

    const PINNED: &str = "b178b60a319c7862e1fa5d8115cc56c0f8bbc0396bc6614aad5686b161a1e079";
}

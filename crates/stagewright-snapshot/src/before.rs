//! What a tree was like before a step, to find what the step changed where no overlay keeps it apart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use stagewright_layer::{Entry, EntryPath, Record};

use crate::look::{Node, Tree};

/// How often, a millisecond apart, the file system's clock is looked at until it has moved.
const TRIES: usize = 200;

/// A file that can be told from any other, and from itself when it has changed: no program can set
/// the time of the last change of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    born: Option<(i64, u32)>,
    changed: (i64, u32),
    is_directory: bool,
}

impl From<&Node> for Stamp {
    fn from(node: &Node) -> Self {
        Self {
            file: node.file,
            born: node.born,
            changed: node.changed,
            is_directory: node.is_directory(),
        }
    }
}

/// What a tree was like.
#[derive(Debug, Clone, Default)]
pub struct Before(BTreeMap<EntryPath, Stamp>);

impl Before {
    /// Looks at a tree that nobody changes. `scratch` is a directory of the same file system, in
    /// which its clock is read: what is changed after this has a later time than all that is there.
    pub(crate) fn look(tree: &dyn Tree, scratch: &Path) -> io::Result<Self> {
        let mut stamps = BTreeMap::new();
        let mut waiting = vec![(EntryPath::root(), tree.top()?)];
        while let Some((path, node)) = waiting.pop() {
            if node.is_directory() {
                for (name, node) in tree.list(&path)?.0 {
                    waiting.push((path.child(&name).map_err(io::Error::other)?, node));
                }
            }
            stamps.insert(path, Stamp::from(&node));
        }
        let latest = stamps.values().map(|stamp| stamp.changed).max();
        let clock = scratch.join("clock");
        for _ in 0..TRIES {
            fs::write(&clock, b"")?;
            let now = crate::look::changed(&fs::File::open(&clock)?.into())?;
            fs::remove_file(&clock)?;
            if latest.is_none_or(|latest| now > latest) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(stamps))
    }

    /// Says whether what is at a path now is what was there, unchanged.
    pub(crate) fn is_same(&self, path: &EntryPath, now: &Node) -> bool {
        self.0.get(path) == Some(&Stamp::from(now))
    }

    /// Says whether a directory took the place of something else.
    pub(crate) fn is_replaced(&self, path: &EntryPath, now: &Node) -> bool {
        let now = Stamp::from(now);
        let same = |before: &Stamp| {
            before.is_directory && before.file == now.file && before.born == now.born
        };
        self.0.get(path).is_some_and(|before| !same(before))
    }

    /// Returns whiteouts for what is gone. `stayed` says of the path of a directory whether it is
    /// still the one that it was: what was in another is hidden by that.
    pub(crate) fn whiteouts(
        &self,
        is_there: impl Fn(&EntryPath) -> bool,
        stayed: impl Fn(&EntryPath) -> bool,
    ) -> Vec<Record> {
        let gone = self.0.keys().filter(|path| !is_there(path));
        let hidden = |path: &&EntryPath| path.parent().is_some_and(|parent| stayed(&parent));
        gone.filter(hidden)
            .map(|path| Entry::whiteout(path.clone()).into())
            .collect()
    }
}

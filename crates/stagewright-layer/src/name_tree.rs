//! Names in directories, in little memory.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::arena::{Arena, Place};
use crate::path::EntryPath;

/// What is said of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nothing but that something lies below it.
    Mentioned,
    Directory,
    Symlink,
    /// A file, a device or a pipe.
    Other,
    Whiteout,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(u32);

/// Stands for no node.
const NONE: u32 = u32::MAX;

/// 24 bytes: there is one for each name, and a million of them are to fit into the memory of a small machine.
#[derive(Debug)]
struct Stored {
    above: u32,
    /// The name below it that came last.
    last_below: u32,
    /// The name beside it that came before.
    before: u32,
    /// The name, and behind it what is said of it, or where that lies.
    row: Place,
    name_bytes: u8,
    kind: Kind,
    opaque: bool,
    /// What is said of it lies elsewhere: it is another name of what was said before.
    elsewhere: bool,
}

/// Paths with something said of each. A name is stored once however many paths lead through it.
#[derive(Debug)]
pub(crate) struct NameTree {
    nodes: Vec<Stored>,
    /// Nodes by what they are below of and their name.
    names: HashTable<u32>,
    hasher: RandomState,
    rows: Arena,
    /// How many names something is said of.
    entries: usize,
    /// The directory that was looked for last: entries of one mostly come behind one another.
    last_directory: Option<(EntryPath, Node)>,
}

impl Default for NameTree {
    fn default() -> Self {
        let mut rows = Arena::default();
        let root = Stored {
            above: NONE,
            last_below: NONE,
            before: NONE,
            row: rows.push(&[]),
            name_bytes: 0,
            kind: Kind::Mentioned,
            opaque: false,
            elsewhere: false,
        };
        Self {
            nodes: vec![root],
            names: HashTable::new(),
            hasher: RandomState::new(),
            rows,
            entries: 0,
            last_directory: None,
        }
    }
}

impl NameTree {
    pub(crate) const ROOT: Node = Node(0);

    /// Returns how many names something is said of.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Returns the node of a name in a directory.
    pub(crate) fn child(&self, directory: Node, name: &[u8]) -> Option<Node> {
        let hash = self.hash(directory, name);
        let same = |node: &u32| {
            let stored = &self.nodes[*node as usize];
            stored.above == directory.0 && self.name(Node(*node)) == name
        };
        self.names.find(hash, same).copied().map(Node)
    }

    /// Returns the node of a path.
    pub(crate) fn find(&self, path: &EntryPath) -> Option<Node> {
        let mut at = Self::ROOT;
        for name in path.components() {
            at = self.child(at, name)?;
        }
        Some(at)
    }

    /// Returns the node of the directory that was looked for last, if it is the one that holds `path`.
    pub(crate) fn last_directory_of(&self, path: &EntryPath) -> Option<Node> {
        let (directory, node) = self.last_directory.as_ref()?;
        path.is_directly_in(directory).then_some(*node)
    }

    /// Takes note of the node of the directory that holds `path`.
    pub(crate) fn note_directory_of(&mut self, path: &EntryPath, node: Node) {
        if let Some(directory) = path.parent() {
            self.last_directory = Some((directory, node));
        }
    }

    /// Returns the node of a name in a directory, which is made if it is missing. Something must be said of it, or of
    /// something below it, at once.
    pub(crate) fn child_or_new(&mut self, directory: Node, name: &[u8]) -> Node {
        if let Some(node) = self.child(directory, name) {
            return node;
        }
        let node = u32::try_from(self.nodes.len())
            .ok()
            .filter(|node| *node != NONE)
            .expect("because so many names fit into no memory");
        let row = self.rows.push(&[name]);
        let above = &mut self.nodes[directory.0 as usize];
        let before = std::mem::replace(&mut above.last_below, node);
        self.nodes.push(Stored {
            above: directory.0,
            last_below: NONE,
            before,
            row,
            name_bytes: u8::try_from(name.len())
                .expect("because paths were checked for names of at most 255 bytes"),
            kind: Kind::Mentioned,
            opaque: false,
            elsewhere: false,
        });
        let hash = self.hash(directory, name);
        let (nodes, rows, hasher) = (&self.nodes, &self.rows, &self.hasher);
        self.names.insert_unique(hash, node, |node| {
            let stored = &nodes[*node as usize];
            let name = &rows.from(stored.row)[..usize::from(stored.name_bytes)];
            hasher.hash_one((stored.above, name))
        });
        Node(node)
    }

    /// Says something of a node, in place of what was said before.
    pub(crate) fn say(&mut self, node: Node, kind: Kind, opaque: bool, said: &[u8]) {
        self.put(node, kind, opaque, said, false);
    }

    /// Says of a node what is said of another one at this moment, whose other name it becomes.
    pub(crate) fn say_again(&mut self, node: Node, kind: Kind, said: Place) {
        self.put(node, kind, false, &said.to_bytes(), true);
    }

    fn put(&mut self, node: Node, kind: Kind, opaque: bool, said: &[u8], elsewhere: bool) {
        if self.kind(node) == Kind::Mentioned {
            self.entries += 1;
        }
        let old = &self.nodes[node.0 as usize];
        let (mut row, name_bytes) = (old.row, usize::from(old.name_bytes));
        // Mostly its name was the last thing that was added.
        if !self.rows.extend_last(row.after(name_bytes), said) {
            let mut name = [0; u8::MAX as usize];
            name[..name_bytes].copy_from_slice(&self.rows.from(row)[..name_bytes]);
            row = self.rows.push(&[&name[..name_bytes], said]);
        }
        let stored = &mut self.nodes[node.0 as usize];
        (stored.row, stored.kind) = (row, kind);
        (stored.opaque, stored.elsewhere) = (opaque, elsewhere);
    }

    /// Returns where that lies which is said of a node: the same for all names of a file.
    pub(crate) fn said(&self, node: Node) -> Place {
        let stored = &self.nodes[node.0 as usize];
        let behind = stored.row.after(stored.name_bytes.into());
        if !stored.elsewhere {
            return behind;
        }
        let place = self.rows.from(behind)[..8].try_into();
        Place::from_bytes(place.expect("because it is 8 bytes"))
    }

    /// Returns what begins at a place.
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        self.rows.from(place)
    }

    pub(crate) fn kind(&self, node: Node) -> Kind {
        self.nodes[node.0 as usize].kind
    }

    pub(crate) fn is_opaque(&self, node: Node) -> bool {
        self.nodes[node.0 as usize].opaque
    }

    pub(crate) fn set_opaque(&mut self, node: Node) {
        self.nodes[node.0 as usize].opaque = true;
    }

    pub(crate) fn name(&self, node: Node) -> &[u8] {
        let stored = &self.nodes[node.0 as usize];
        &self.rows.from(stored.row)[..usize::from(stored.name_bytes)]
    }

    /// Returns whether there is anything below a node.
    pub(crate) fn has_below(&self, node: Node) -> bool {
        self.nodes[node.0 as usize].last_below != NONE
    }

    /// Returns the path of a node.
    pub(crate) fn path(&self, node: Node) -> EntryPath {
        let mut nodes = vec![];
        let mut at = node;
        while at != Self::ROOT {
            nodes.push(at);
            at = Node(self.nodes[at.0 as usize].above);
        }
        let names: Vec<&[u8]> = nodes.iter().rev().map(|node| self.name(*node)).collect();
        EntryPath::parse(&names.join(&b'/')).expect("because it is made of names of paths")
    }

    /// Forgets what is below a node.
    pub(crate) fn clear_below(&mut self, node: Node) {
        let mut waiting = vec![];
        let mut next = std::mem::replace(&mut self.nodes[node.0 as usize].last_below, NONE);
        loop {
            if next == NONE {
                match waiting.pop() {
                    Some(node) => next = node,
                    None => return,
                }
                continue;
            }
            // What was looked for last may be gone.
            self.last_directory = None;
            let hash = self.hash(Node(self.nodes[next as usize].above), self.name(Node(next)));
            if let Ok(found) = self.names.find_entry(hash, |node| *node == next) {
                found.remove();
            }
            let gone = &self.nodes[next as usize];
            if gone.kind != Kind::Mentioned {
                self.entries -= 1;
            }
            if gone.last_below != NONE {
                waiting.push(gone.last_below);
            }
            next = gone.before;
        }
    }

    /// Returns the nodes directly below one, in the order of their names.
    pub(crate) fn below(&self, node: Node) -> Vec<Node> {
        let mut nodes = vec![];
        let mut next = self.nodes[node.0 as usize].last_below;
        while next != NONE {
            nodes.push(Node(next));
            next = self.nodes[next as usize].before;
        }
        // Mostly they came in order.
        nodes.reverse();
        nodes.sort_unstable_by(|one, other| self.name(*one).cmp(self.name(*other)));
        nodes
    }

    fn hash(&self, directory: Node, name: &[u8]) -> u64 {
        self.hasher.hash_one((directory.0, name))
    }
}

//! What is to be removed, and what was.

use super::contents::{Item, ItemKind};
use super::space::DiskSpace;

/// What a garbage collection may remove. Nothing that runs, or that an image with a name needs, is
/// ever removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Also base images, and results of steps that made no files.
    pub all: bool,
    /// Stop when the store takes no more than this, the least recently used going first. Of this and what
    /// follows 0 is as if it were not said.
    pub max_used: Option<DiskSpace>,
    /// Stop when so much is free on the store's disk, and remove nothing if it is.
    pub min_free: Option<DiskSpace>,
    /// What the store may take whatever else is said: stop there.
    pub reserved: Option<DiskSpace>,
    /// Only what was last used before this time, in milliseconds since 1970.
    pub used_before_unix_ms: Option<u64>,
    /// Only things of these kinds; all when empty.
    pub kinds: Vec<ItemKind>,
    /// Only things whose names begin with one of these, without the name of the hash function or with
    /// it; all when empty.
    pub ids: Vec<String>,
    /// Do not wait for another collection that runs: remove nothing then.
    pub unless_running: bool,
}

impl PruneOptions {
    /// Says whether a thing is one of those that are asked for.
    pub(super) fn names(&self, item: &Item) -> bool {
        let old = self
            .used_before_unix_ms
            .is_none_or(|time| item.last_used_unix_ms < time);
        let kind = self.kinds.is_empty() || self.kinds.contains(&item.kind);
        old && kind && self.names_id(&item.id)
    }

    /// Says whether only some things are asked for: the rest is then not even tidied up.
    pub(super) fn is_narrow(&self) -> bool {
        !self.kinds.is_empty() || !self.ids.is_empty()
    }

    /// Says whether anything may go that nobody needs.
    pub(super) fn is_of_all(&self) -> bool {
        self.all && self.used_before_unix_ms.is_none() && !self.is_narrow()
    }

    fn names_id(&self, id: &str) -> bool {
        let bare = id.split_once(':').map_or(id, |(_, hex)| hex);
        self.ids.is_empty()
            || self
                .ids
                .iter()
                .any(|wanted| id.starts_with(wanted) || bare.starts_with(wanted))
    }
}

/// What a garbage collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The things, in the order in which they went.
    pub items: Vec<Item>,
    /// The bytes that they took.
    pub bytes: u64,
    /// The bytes of what is left, as it was measured before.
    pub left_bytes: u64,
    /// Another collection was running.
    pub was_running: bool,
}

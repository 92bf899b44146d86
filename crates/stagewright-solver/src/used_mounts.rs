//! The cache mounts that the steps of a build have: what of them goes with its cache to other machines.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stagewright_dockerfile::mount::MountKind;
use stagewright_plan::{Op, PlanMount};

use crate::cache_document::CachedMount;
use crate::error::StepError;
use crate::reporter::Reporter;
use crate::services::Services;

/// How long a cache mount is waited for that steps of other builds use.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The cache mounts that the steps of a build have, whether or not they ran.
#[derive(Debug, Default)]
pub struct UsedMounts(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// Their ids in the store.
    ids: BTreeSet<String>,
    /// What the ids of those begin with that start as other files, which only a step that runs looks at.
    begins: BTreeSet<String>,
}

/// Returns the name of a cache mount: its id, or else its target.
pub(crate) fn name_of<'m>(id: Option<&'m str>, target: &'m str) -> &'m str {
    id.filter(|id| !id.is_empty()).unwrap_or(target)
}

/// Returns what the id of a cache that starts as other files begins with.
pub(crate) fn begin_of(name: &str) -> String {
    format!("{name} of ")
}

impl UsedMounts {
    /// Adds those of a step.
    pub(crate) fn note(&self, op: &Op) {
        let Op::Exec(op) = op else {
            return;
        };
        for PlanMount { mount, .. } in &op.mounts {
            if let MountKind::Cache { id, from, .. } = &mount.kind {
                let name = name_of(id.as_deref(), &mount.target);
                match from {
                    None => self.names().ids.insert(name.to_owned()),
                    Some(_) => self.names().begins.insert(begin_of(name)),
                };
            }
        }
    }

    /// Adds one by its id in the store.
    pub(crate) fn note_id(&self, id: &str) {
        self.names().ids.insert(id.to_owned());
    }

    /// Returns their ids. Of those that start as other files and that no step looked at, what an imported cache has.
    fn ids<'k>(&self, imported: impl Iterator<Item = &'k String>) -> BTreeSet<String> {
        let names = self.names();
        let mut ids = names.ids.clone();
        // Where such a step ran it is known which one it used: others are what it started as before.
        let begins: Vec<&String> = names
            .begins
            .iter()
            .filter(|begin| !ids.iter().any(|id| id.starts_with(*begin)))
            .collect();
        let begun = imported.filter(|id| begins.iter().any(|begin| id.starts_with(*begin)));
        let begun: Vec<String> = begun.cloned().collect();
        ids.extend(begun);
        ids
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // The sets are whole whatever happened to their last user.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Services {
    /// Returns what the cache mounts of the build's steps hold that are not `known` yet, as layers that are made for it: of one
    /// that is not in the store, what an imported cache says that it held. Waits a while for the steps of other builds that
    /// use one, and leaves it out then. Blocks.
    ///
    /// # Errors
    /// When one cannot be read or stored.
    pub fn used_mounts(
        &self,
        known: &mut Vec<CachedMount>,
        reporter: &Reporter,
    ) -> Result<(), StepError> {
        let imported = self.images.cache();
        for id in self.mounts.ids(imported.mount_ids()) {
            if known.iter().any(|known| known.id == id) {
                continue;
            }
            let began = Instant::now();
            let late = || began.elapsed() > WAIT_MAX;
            let layer = match self.store.made_cache_mount(&id, &late)? {
                Some(lease) => self.snapshots.commit_directory(lease.path())?,
                None if late() => {
                    reporter.warn(format!(
                        "the cache mount {id} does not go with the cache: steps of other builds use it all the time"
                    ));
                    None
                }
                None => imported.mount(&id),
            };
            known.extend(layer.map(|layer| CachedMount { id, layer }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_starts_as_other_files_is_known_by_its_begin_until_a_step_runs() {
        let mounts = UsedMounts::default();
        mounts.note_id("a");
        mounts.names().begins.insert(begin_of("b"));
        let known = ["b of 1", "b of 2", "bb of 3", "c"].map(str::to_owned);
        let ids = || Vec::from_iter(mounts.ids(known.iter()));
        assert_eq!(ids(), ["a", "b of 1", "b of 2"]);
        mounts.note_id("b of 2");
        assert_eq!(ids(), ["a", "b of 2"]);
    }
}

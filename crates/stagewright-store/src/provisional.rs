//! Layers that are not durable yet.
//!
//! A build waits for the disk once, at its end, and not after each step. Until then the record of a layer that it made has
//! another name, and a mark in it: the boot of the machine, and a word of its own. While the machine runs, such a layer is as good as any, for
//! every process, also when its maker was killed: what was written is in memory. After the power was lost its
//! mark is of another boot, and the layer counts as one that nobody finished.
//!
//! Whoever made or found such a layer settles it before it reports anything: all is made durable, then the records get their
//! names, then that is made durable. A result whose layer has a mark is only as durable as the layer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use fs_err as fs;
use stagewright_digest::LayerId;

use crate::disk;
use crate::error::StoreError;
use crate::files::file_name;
use crate::layer::{LayerRecord, PROVISIONAL, RECORD};
use crate::store::Store;

/// The layers with a mark that the users of one store of this process made or found.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    marks: Mutex<BTreeMap<LayerId, String>>,
    /// Held while they are settled: who comes then waits for it.
    settling: Mutex<()>,
}

impl Unsettled {
    pub(crate) fn note(&self, id: &LayerId, mark: &str) {
        self.marks().insert(*id, mark.to_owned());
    }

    fn marks(&self) -> MutexGuard<'_, BTreeMap<LayerId, String>> {
        // The map is whole whatever happened to its last user.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Says whether there is nothing to settle.
    pub fn is_settled(&self) -> bool {
        self.unsettled().marks().is_empty()
    }

    /// Makes durable whatever this process stored and found that is not yet, before something is reported that
    /// needs it. Nothing happens when there is nothing of the kind.
    ///
    /// # Errors
    /// When the file system can't write it. Those layers are settled the next time.
    pub fn settle(&self) -> Result<(), StoreError> {
        let unsettled = self.unsettled();
        let _alone = unsettled
            .settling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let marks = unsettled.marks().clone();
        if marks.is_empty() {
            return Ok(());
        }
        disk::sync_file_system(self.path())?;
        for (id, mark) in &marks {
            self.take_mark_off(id, mark)?;
        }
        disk::sync_file_system(self.path())?;
        // What was made or found meanwhile waits for the next time.
        unsettled
            .marks()
            .retain(|id, mark| marks.get(id) != Some(mark));
        Ok(())
    }

    /// Nothing happens to a layer that has another mark by now, or none, or is gone.
    fn take_mark_off(&self, id: &LayerId, mark: &str) -> Result<(), StoreError> {
        let directory = self.layer_directory(id);
        if !directory.exists() {
            return Ok(());
        }
        let _lock = self.lock_layer(id)?;
        let record = self.read_record(&directory)?;
        if record.is_some_and(|record| record.provisional.as_deref() == Some(mark)) {
            disk::rename(&directory.join(PROVISIONAL), &directory.join(RECORD))?;
        }
        Ok(())
    }
}

/// Returns the mark of a layer that was made in a draft, whose name is its own, where the boot of the machine can be told.
pub(crate) fn mark(draft: &Path) -> Option<String> {
    Some(format!("{} {}", boot()?, file_name(draft)))
}

/// Says whether a layer is lost: it had a mark when the power went.
pub(crate) fn is_lost(record: &LayerRecord) -> bool {
    let Some(mark) = &record.provisional else {
        return false;
    };
    boot().is_none_or(|boot| mark.split(' ').next() != Some(&boot))
}

/// Returns what names the boot of this machine; see `random(4)`.
fn boot() -> Option<String> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|boot| !boot.is_empty())
    };
    BOOT.get_or_init(read).as_deref().map(crate::fault::boot)
}

#[cfg(test)]
mod tests {
    use stagewright_digest::{ActionKey, ContentDigest};

    use super::*;
    use crate::{ActionResult, Layer, StoreOptions};

    fn open(folder: &tempfile::TempDir) -> Store {
        let path = folder.path().join("store");
        Store::open(StoreOptions { path }).unwrap()
    }

    fn id() -> LayerId {
        LayerId::Made(ContentDigest::of(b"a layer"))
    }

    fn publish(store: &Store, text: &str) -> Layer {
        let draft = store.layer_draft().unwrap();
        fs::write(draft.packed(), text).unwrap();
        fs::write(draft.index(), "an index").unwrap();
        draft.publish(&id(), LayerRecord::default()).unwrap()
    }

    fn publish_unpacked(store: &Store) -> Layer {
        let draft = store.layer_draft().unwrap();
        fs::create_dir(draft.fs()).unwrap();
        draft.publish(&id(), LayerRecord::default()).unwrap()
    }

    /// Has a layer look like one that was made before the machine was started.
    fn start_again(store: &Store) {
        let mut record = store.layer(&id()).unwrap().unwrap().record;
        let mark = record.provisional.take().unwrap();
        let word = mark.split_once(' ').unwrap().1;
        record.provisional = Some(format!("another-boot {word}"));
        store.write_record(&id(), &record).unwrap();
    }

    fn result() -> ActionResult {
        ActionResult {
            layer: Some(id()),
            ..ActionResult::default()
        }
    }

    fn provisional(store: &Store) -> Option<String> {
        store.layer(&id()).unwrap().unwrap().record.provisional
    }

    #[test]
    fn a_layer_is_there_for_everybody_at_once_and_durable_when_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (open(&folder), open(&folder));
        publish(&store, "files");
        assert!(provisional(&store).is_some());
        let seen = other.layer(&id()).unwrap().unwrap();
        assert_eq!(
            fs::read_to_string(seen.packed_path().unwrap()).unwrap(),
            "files"
        );
        store.settle().unwrap();
        assert_eq!(provisional(&other), None);
        // Who found it has nothing to do any more.
        other.settle().unwrap();
        assert_eq!(provisional(&other), None);
    }

    /// The record has the one name or the other, and who looks for both one after the other may miss it.
    #[test]
    fn a_layer_is_there_while_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        for round in 0..20 {
            let id = |number: u8| LayerId::Made(ContentDigest::of(&[round, number]));
            let ids: Vec<LayerId> = (0..16).map(id).collect();
            for id in &ids {
                let draft = store.layer_draft().unwrap();
                fs::write(draft.packed(), "files").unwrap();
                draft.publish(id, LayerRecord::default()).unwrap();
            }
            std::thread::scope(|scope| {
                let settling = scope.spawn(|| store.settle().unwrap());
                while !settling.is_finished() {
                    for id in &ids {
                        assert!(store.layer(id).unwrap().is_some(), "in round {round}");
                        let read = store.read_record(&store.layer_directory(id)).unwrap();
                        assert!(read.is_some(), "in round {round}");
                    }
                }
            });
        }
    }

    #[test]
    fn who_finds_a_layer_of_somebody_who_was_killed_settles_it() {
        let folder = tempfile::tempdir().unwrap();
        let (killed, other) = (open(&folder), open(&folder));
        publish(&killed, "files");
        std::mem::forget(killed);
        let key = ActionKey::from_bytes([1; 32]);
        other.record_action(&key, &result()).unwrap();
        other.settle().unwrap();
        assert_eq!(provisional(&other), None);
        assert_eq!(other.action(&key).unwrap(), Some(result()));
    }

    #[test]
    fn what_was_not_settled_when_the_power_went_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        publish(&store, "perhaps not there any more");
        let key = ActionKey::from_bytes([1; 32]);
        store.record_action(&key, &result()).unwrap();
        start_again(&store);
        let later = open(&folder);
        assert_eq!(later.layer(&id()).unwrap(), None);
        assert_eq!(later.action(&key).unwrap(), None);
        let whole = later.verify(false, &|_| panic!("it is not there")).unwrap();
        assert_eq!(whole.damaged, vec![]);
        // The old store would take off a mark that is not its own any more.
        store.settle().unwrap();
        assert_eq!(later.layer(&id()).unwrap(), None);
        let made = publish(&later, "whole");
        assert_eq!(
            fs::read_to_string(made.packed_path().unwrap()).unwrap(),
            "whole"
        );
        later.settle().unwrap();
        assert_eq!(provisional(&later), None);
        assert_eq!(later.action(&key).unwrap(), Some(result()));
    }

    #[test]
    fn what_was_lost_is_removed_by_a_collection() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        publish(&store, "files");
        start_again(&store);
        drop(store);
        let later = open(&folder);
        later.prune(&crate::PruneOptions::default()).unwrap();
        assert!(!later.layer_directory(&id()).exists());
    }

    #[test]
    fn a_form_that_is_added_while_a_layer_is_settled_is_settled_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let (store, other) = (open(&folder), open(&folder));
        publish(&store, "files");
        let before = provisional(&other).unwrap();
        publish_unpacked(&store);
        other.take_mark_off(&id(), &before).unwrap();
        assert!(provisional(&store).is_some());
        store.settle().unwrap();
        assert_eq!(provisional(&store), None);
    }

    #[test]
    fn what_is_made_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        publish(&store, "files");
        store.settle().unwrap();
        let record = store.layer_directory(&id()).join(RECORD);
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&record).unwrap());
        let before = inode();
        publish(&store, "files");
        assert_eq!(inode(), before);
        assert_eq!(provisional(&store), None);
        let left = fs::read_dir(store.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_form_that_comes_later_does_not_make_a_layer_provisional_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        publish(&store, "files");
        store.settle().unwrap();
        let both = publish_unpacked(&store);
        assert!(both.unpacked_path().is_some() && both.packed_path().is_some());
        assert_eq!(provisional(&store), None);
    }
}

//! The results that a build used, found or made: what is exported as its cache.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stagewright_digest::ActionKey;
use stagewright_store::{ActionResult, Store};

use crate::cache_document::CachedResult;
use crate::error::StepError;
use crate::imported_cache::ImportedCache;
use crate::parts::Parts;

/// The results that a build used.
#[derive(Debug, Default)]
pub struct UsedResults(Mutex<Vec<(Vec<ActionKey>, ActionResult)>>);

impl UsedResults {
    /// Adds a result and the keys that it was, or would be, found by.
    pub(crate) fn note<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k ActionKey>,
        result: &ActionResult,
    ) {
        let keys = keys.into_iter().copied().collect();
        self.used().push((keys, result.clone()));
    }

    /// Returns the results, each with all its keys, in an order that is always the same.
    pub(crate) fn list(
        &self,
        store: &Store,
        imported: &ImportedCache,
    ) -> Result<Vec<CachedResult>, StepError> {
        let used = self.used().clone();
        let mut results = BTreeSet::new();
        for (keys, result) in used {
            let mut all: BTreeSet<ActionKey> = BTreeSet::new();
            all.extend(&keys);
            // What was found by what is known without reading files is found by its files, too.
            if let Some(parts) = &result.parts
                && let Some(parts) = store.parts(parts)?
                && let Some(parts) = Parts::decode(&parts)
            {
                all.insert(parts.key());
            }
            for key in &keys {
                if let Some(known) = imported.result(key)
                    && known.layer == result.layer
                {
                    all.extend(&known.keys);
                }
            }
            results.insert(CachedResult {
                keys: all.into_iter().collect(),
                layer: result.layer,
                created_unix_ms: result.created_unix_ms,
                made_unix_ms: result.made_unix_ms,
            });
        }
        Ok(results.into_iter().collect())
    }

    fn used(&self) -> MutexGuard<'_, Vec<(Vec<ActionKey>, ActionResult)>> {
        // The list is whole whatever happened to its last user.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

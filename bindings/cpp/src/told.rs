//! Events, as C++ takes them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stagewright::{Events, json};

/// The events of something, until there will be none any more. Held by whoever waits for one.
pub(crate) struct Told(Mutex<Option<Events>>);

impl Told {
    pub(crate) fn new(events: Option<Events>) -> Self {
        Self(Mutex::new(events))
    }

    /// Blocks until the next event, in JSON; an empty text when there will be none any more.
    pub(crate) fn next(&self) -> String {
        let mut events = locked(&self.0);
        match events.as_mut().and_then(Events::next_blocking) {
            Some(event) => json::event(&event).to_string(),
            None => {
                *events = None;
                String::new()
            }
        }
    }

    /// Forgets them: nobody will read them.
    pub(crate) fn forget(&self) {
        *locked(&self.0) = None;
    }
}

/// The state is whole whatever happened to who held it last.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

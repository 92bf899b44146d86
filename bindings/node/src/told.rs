//! Events, as JavaScript takes them.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use stagewright::{Events, json};

/// How many events are handed over at once.
const EVENTS_MAX: usize = 256;

/// The events of something, until there will be none any more.
pub(crate) struct Told(Mutex<Option<Events>>);

impl Told {
    pub(crate) fn new(events: Option<Events>) -> Self {
        Self(Mutex::new(events))
    }

    /// Waits for events, in JSON; an empty list when there will be none any more.
    pub(crate) async fn next(&self) -> Vec<String> {
        let next = poll_fn(|context| {
            let mut events = locked(&self.0);
            let mut found = Vec::new();
            let Some(open) = &mut *events else {
                return Poll::Ready(found);
            };
            while found.len() < EVENTS_MAX {
                match open.poll_next(context) {
                    Poll::Ready(Some(event)) => found.push(json::event(&event).to_string()),
                    Poll::Ready(None) => {
                        *events = None;
                        break;
                    }
                    Poll::Pending if found.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(found)
        });
        next.await
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

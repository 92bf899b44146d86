//! Builds that run.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use napi_derive::napi;
use stagewright::{Build, Canceller, Events, json};

use crate::errors::thrown;
use crate::image::NativeImage;

/// How many events are handed over at once.
const EVENTS_MAX: usize = 256;

/// A build.
#[napi]
pub struct NativeBuild {
    build: Mutex<Option<Build>>,
    events: Mutex<Option<Events>>,
    canceller: Canceller,
}

impl NativeBuild {
    pub(crate) fn new(mut build: Build) -> Self {
        Self {
            events: Mutex::new(build.events()),
            canceller: build.canceller(),
            build: Mutex::new(Some(build)),
        }
    }
}

#[napi]
impl NativeBuild {
    /// Waits for the image; to be called once.
    #[napi]
    pub async fn result(&self) -> napi::Result<NativeImage> {
        let result = poll_fn(|context| {
            let mut build = locked(&self.build);
            let Some(running) = &mut *build else {
                return Poll::Ready(None);
            };
            let polled = Pin::new(running).poll(context);
            if polled.is_ready() {
                *build = None;
            }
            polled.map(Some)
        });
        match result.await {
            Some(Ok(image)) => Ok(NativeImage::new(image)),
            Some(Err(error)) => Err(thrown(&error)),
            None => Err(napi::Error::from_reason("the result was taken before")),
        }
    }

    /// Waits for events, in JSON; an empty list when there will be none any more.
    #[napi]
    pub async fn next_events(&self) -> napi::Result<Vec<String>> {
        let next = poll_fn(|context| {
            let mut events = locked(&self.events);
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
        Ok(next.await)
    }

    /// Forgets the events: nobody will read them.
    #[napi]
    pub fn drop_events(&self) {
        *locked(&self.events) = None;
    }

    /// Stops the build.
    #[napi]
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

/// The state is whole whatever happened to who held it last.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Builds that run.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;

use napi_derive::napi;
use stagewright::{Build, Canceller};

use crate::errors::thrown;
use crate::image::NativeImage;
use crate::told::{Told, locked};

/// A build.
#[napi]
pub struct NativeBuild {
    build: Mutex<Option<Build>>,
    told: Told,
    canceller: Canceller,
}

impl NativeBuild {
    pub(crate) fn new(mut build: Build) -> Self {
        Self {
            told: Told::new(build.events()),
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
        Ok(self.told.next().await)
    }

    /// Forgets the events: nobody will read them.
    #[napi]
    pub fn drop_events(&self) {
        self.told.forget();
    }

    /// Stops the build.
    #[napi]
    pub fn cancel(&self) {
        self.canceller.cancel();
    }
}

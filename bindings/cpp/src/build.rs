//! Builds that run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stagewright::{Build, Canceller, Events, Image, json};

use crate::image::NativeImage;
use crate::owned::Owned;
use crate::thrown::Thrown;

/// A build.
pub(crate) struct NativeBuild(Owned<Running>);

struct Running {
    /// Held by whoever waits for the end; others wait for it then.
    build: Mutex<State>,
    /// Held by whoever waits for an event.
    events: Mutex<Option<Events>>,
    canceller: Canceller,
}

enum State {
    Running(Option<Build>),
    Ended(Box<Result<Image, Thrown>>),
}

impl NativeBuild {
    pub(crate) fn new(mut build: Build) -> Self {
        Self(Owned::new(Running {
            events: Mutex::new(build.events()),
            canceller: build.canceller(),
            build: Mutex::new(State::Running(Some(build))),
        }))
    }

    /// Blocks until the next event; an empty text when there will be none any more.
    pub(crate) fn next_event(&self) -> Result<String, Thrown> {
        let mut events = locked(&self.0.get()?.events);
        let event = events.as_mut().and_then(Events::next_blocking);
        Ok(match event {
            Some(event) => json::event(&event).to_string(),
            None => {
                *events = None;
                String::new()
            }
        })
    }

    /// Forgets the events: nobody will read them.
    pub(crate) fn drop_events(&self) -> Result<(), Thrown> {
        *locked(&self.0.get()?.events) = None;
        Ok(())
    }

    pub(crate) fn cancel(&self) -> Result<(), Thrown> {
        self.0.get()?.canceller.cancel();
        Ok(())
    }

    /// Blocks until the build has ended; gives the same each time.
    pub(crate) fn wait(&self) -> Result<Box<NativeImage>, Thrown> {
        let mut state = locked(&self.0.get()?.build);
        if let State::Running(build) = &mut *state
            && let Some(build) = build.take()
        {
            *state = State::Ended(Box::new(build.wait().map_err(Thrown::from)));
        }
        match &*state {
            State::Ended(result) => match &**result {
                Ok(image) => Ok(Box::new(NativeImage::new(image.clone()))),
                Err(error) => Err(error.clone()),
            },
            State::Running(_) => Err(stagewright::Error::new(
                stagewright::ErrorKind::Internal,
                "a wait for this build did not come back",
            )
            .into()),
        }
    }
}

/// The state is whole whatever happened to who held it last.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

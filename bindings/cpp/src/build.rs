//! Builds that run.

use std::sync::Mutex;

use stagewright::{Build, Canceller, Image};

use crate::image::NativeImage;
use crate::owned::Owned;
use crate::thrown::Thrown;
use crate::told::{Told, locked};

/// A build.
pub(crate) struct NativeBuild(Owned<Running>);

struct Running {
    /// Held by whoever waits for the end; others wait for it then.
    build: Mutex<State>,
    told: Told,
    canceller: Canceller,
}

enum State {
    Running(Option<Build>),
    Ended(Box<Result<Image, Thrown>>),
}

impl NativeBuild {
    pub(crate) fn new(mut build: Build) -> Self {
        Self(Owned::new(Running {
            told: Told::new(build.events()),
            canceller: build.canceller(),
            build: Mutex::new(State::Running(Some(build))),
        }))
    }

    /// Blocks until the next event; an empty text when there will be none any more.
    pub(crate) fn next_event(&self) -> Result<String, Thrown> {
        Ok(self.0.get()?.told.next())
    }

    /// Forgets the events: nobody will read them.
    pub(crate) fn drop_events(&self) -> Result<(), Thrown> {
        self.0.get()?.told.forget();
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

//! Builds that run.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pyo3::prelude::*;
use stagewright::{Build, Canceller, Error, Events, Image, json};

use crate::errors::raised;
use crate::image::NativeImage;
use crate::owned::Owned;
use crate::waker::Signal;

/// How long a wait goes on before it looks at what else wants attention. What a build tells ends
/// it at once, and so does a signal.
const LOOK: Duration = Duration::from_millis(50);

/// A build. Nothing blocks but `pause_*`, and those release Python's lock.
#[pyclass(frozen, module = "stagewright._native")]
pub(crate) struct NativeBuild(Owned<Running>);

struct Running {
    build: Mutex<State>,
    events: Mutex<Option<Events>>,
    canceller: Canceller,
    ended: Signal,
    told: Signal,
}

enum State {
    Running(Build),
    Ended(Box<Result<Image, Error>>),
}

impl NativeBuild {
    pub(crate) fn new(mut build: Build) -> PyResult<Self> {
        Ok(Self(Owned::new(Running {
            events: Mutex::new(build.events()),
            canceller: build.canceller(),
            build: Mutex::new(State::Running(build)),
            ended: Signal::new()?,
            told: Signal::new()?,
        })))
    }
}

#[pymethods]
impl NativeBuild {
    /// Returns the image, nothing while the build runs, or raises what stopped it.
    fn result(&self, py: Python<'_>) -> PyResult<Option<NativeImage>> {
        let running = self.0.get()?;
        let mut state = locked(&running.build);
        if let State::Running(build) = &mut *state {
            running.ended.clear();
            let waker = running.ended.waker();
            match Pin::new(build).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => return Ok(None),
                Poll::Ready(result) => *state = State::Ended(Box::new(result)),
            }
        }
        match &*state {
            State::Running(_) => Ok(None),
            State::Ended(result) => match &**result {
                Ok(image) => Ok(Some(NativeImage::new(image.clone()))),
                Err(error) => Err(raised(py, error)),
            },
        }
    }

    /// Returns the next event as `(true, JSON)`, `(true, None)` when there is none yet, and
    /// `(false, None)` when there will be none any more.
    fn event(&self) -> PyResult<(bool, Option<String>)> {
        let running = self.0.get()?;
        let mut events = locked(&running.events);
        let Some(open) = &mut *events else {
            return Ok((false, None));
        };
        running.told.clear();
        let waker = running.told.waker();
        match open.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => Ok((true, None)),
            Poll::Ready(Some(event)) => Ok((true, Some(json::event(&event).to_string()))),
            Poll::Ready(None) => {
                *events = None;
                Ok((false, None))
            }
        }
    }

    /// Forgets the events: nobody will read them.
    fn drop_events(&self) -> PyResult<()> {
        *locked(&self.0.get()?.events) = None;
        Ok(())
    }

    fn cancel(&self) -> PyResult<()> {
        self.0.get()?.canceller.cancel();
        Ok(())
    }

    /// Waits a while for the end. Raises what a signal's handler raises.
    fn pause_for_end(&self, py: Python<'_>, check_signals: bool) -> PyResult<()> {
        pause(py, &self.0.get()?.ended, check_signals)
    }

    /// Waits a while for an event. Raises what a signal's handler raises.
    fn pause_for_event(&self, py: Python<'_>) -> PyResult<()> {
        pause(py, &self.0.get()?.told, true)
    }

    /// A descriptor that is readable when `result` has something new.
    fn end_fd(&self) -> PyResult<i32> {
        Ok(self.0.get()?.ended.fd())
    }

    /// A descriptor that is readable when `event` has something new.
    fn event_fd(&self) -> PyResult<i32> {
        Ok(self.0.get()?.told.fd())
    }
}

fn pause(py: Python<'_>, signal: &Signal, check_signals: bool) -> PyResult<()> {
    py.detach(|| signal.wait(LOOK));
    if check_signals {
        py.check_signals()
    } else {
        Ok(())
    }
}

/// The state is whole whatever happened to who held it last.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

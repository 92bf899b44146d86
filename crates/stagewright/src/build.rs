//! A build that is running.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use stagewright_solver::{CancellationToken, Event};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, ErrorKind};
use crate::failed_step::KeptStep;
use crate::image::Image;
use crate::push::PushEvents;

/// A build that was started. Dropping it cancels the build.
///
/// It is a future of its image that any executor can await; synchronous code calls
/// [`Build::wait`].
#[derive(Debug)]
pub struct Build {
    events: Option<Events>,
    cancel: CancellationToken,
    /// Taken when the build has ended.
    result: Option<oneshot::Receiver<Result<Image, Error>>>,
    kept: KeptStep,
}

impl Build {
    pub(crate) fn new(
        events: mpsc::UnboundedReceiver<Event>,
        cancel: CancellationToken,
        result: oneshot::Receiver<Result<Image, Error>>,
        kept: KeptStep,
    ) -> Self {
        Self {
            events: Some(Events(events)),
            cancel,
            result: Some(result),
            kept,
        }
    }

    /// Takes the build's events: once, before or while it runs. Events from before this call are
    /// kept. A second call returns nothing.
    pub fn events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// Returns a handle that cancels the build from anywhere.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.cancel.clone())
    }

    /// Returns the place where the step that fails is found afterwards, if the request says that it
    /// is kept.
    pub fn kept_step(&self) -> KeptStep {
        self.kept.clone()
    }

    /// Stops the build: running steps are killed, what was finished stays cached. The build then
    /// ends with [`ErrorKind::Cancelled`].
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Blocks until the build has ended.
    ///
    /// # Errors
    /// What stopped the build.
    ///
    /// # Panics
    /// When called on a thread that drives an async runtime: await the build there.
    pub fn wait(mut self) -> Result<Image, Error> {
        // Nobody can read the events any more: they need not be kept.
        self.events = None;
        match self.result.take() {
            Some(result) => result.blocking_recv().unwrap_or_else(|_| Err(stopped())),
            None => Err(stopped()),
        }
    }
}

impl Future for Build {
    type Output = Result<Image, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(result) = &mut self.result else {
            return Poll::Ready(Err(stopped()));
        };
        let polled = Pin::new(result).poll(context);
        if polled.is_ready() {
            self.result = None;
        }
        polled.map(|result| result.unwrap_or_else(|_| Err(stopped())))
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if self.result.is_some() {
            self.cancel.cancel();
        }
    }
}

fn stopped() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the builder was shut down while the build was running",
    )
}

/// The events of a build, in the order in which they happened. They end with the build.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// Makes events of what is not a build: a push, say, is given the function, and what it tells can be
    /// read here. They end when the function is dropped.
    pub fn channel() -> (PushEvents, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let tell = move |event| {
            // Whoever reads them may have had enough.
            let _ = sender.send(event);
        };
        (Arc::new(tell), Self(receiver))
    }

    /// Waits for the next event; nothing when the build has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// Blocks until the next event; nothing when the build has ended.
    ///
    /// # Panics
    /// When called on a thread that drives an async runtime.
    pub fn next_blocking(&mut self) -> Option<Event> {
        self.0.blocking_recv()
    }

    /// Polls for the next event, for streams of other libraries.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}

/// Cancels a build from anywhere: a signal handler's thread, a button.
#[derive(Debug, Clone)]
pub struct Canceller(CancellationToken);

impl Canceller {
    /// Stops the build, as [`Build::cancel`] does.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

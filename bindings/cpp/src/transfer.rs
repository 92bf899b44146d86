//! Images on their way, which tell how far they are.

use std::sync::Mutex;
use std::thread::JoinHandle;

use stagewright::{Error, ErrorKind, Events, Image, PushEvents};

use crate::image::NativeImage;
use crate::owned::Owned;
use crate::thrown::Thrown;
use crate::told::{Told, locked};

/// What came of it.
pub(crate) enum Outcome {
    /// Names, or the manifest's digest if it has one.
    Texts(Vec<String>),
    Image(Box<Image>),
}

impl Outcome {
    pub(crate) fn of_digest(digest: Option<impl ToString>) -> Self {
        Self::Texts(digest.iter().map(ToString::to_string).collect())
    }
}

/// Something that runs on a thread of its own, and tells what happens meanwhile.
pub(crate) struct NativeTransfer(Owned<Running>);

struct Running {
    told: Told,
    /// Taken by whoever asks for what came of it.
    worker: Mutex<Option<JoinHandle<Result<Outcome, Error>>>>,
}

impl NativeTransfer {
    pub(crate) fn start(
        run: impl FnOnce(PushEvents) -> Result<Outcome, Error> + Send + 'static,
    ) -> Box<Self> {
        let (tell, events) = Events::channel();
        Box::new(Self(Owned::new(Running {
            told: Told::new(Some(events)),
            worker: Mutex::new(Some(std::thread::spawn(move || run(tell)))),
        })))
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

    /// Blocks until the end, and returns the names or the digest; to be called once.
    pub(crate) fn texts(&self) -> Result<Vec<String>, Thrown> {
        match self.outcome()? {
            Outcome::Texts(texts) => Ok(texts),
            Outcome::Image(image) => Ok(vec![image.id().to_string()]),
        }
    }

    /// Blocks until the end, and returns the image; to be called once.
    pub(crate) fn image(&self) -> Result<Box<NativeImage>, Thrown> {
        match self.outcome()? {
            Outcome::Image(image) => Ok(Box::new(NativeImage::new(*image))),
            Outcome::Texts(_) => Err(internal("it has no image").into()),
        }
    }

    fn outcome(&self) -> Result<Outcome, Thrown> {
        let worker = locked(&self.0.get()?.worker).take();
        let worker = worker.ok_or_else(|| internal("the result was taken before"))?;
        let ended = worker.join();
        Ok(ended.map_err(|_| internal("the work ended without a result"))??)
    }
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

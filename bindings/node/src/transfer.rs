//! Images on their way, which tell how far they are.

use std::sync::Mutex;

use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;
use stagewright::{Error, Events, PushEvents};

use crate::image::{Blocking, Work};
use crate::told::{Told, locked};

/// Something that blocks, and tells what happens meanwhile. It begins when its result is asked for.
#[napi]
pub struct NativeTransfer {
    work: Mutex<Option<Box<Work>>>,
    told: Told,
}

impl NativeTransfer {
    /// `is_told` says whether somebody will read the events.
    pub(crate) fn new(
        is_told: bool,
        run: impl FnOnce(PushEvents) -> Result<Option<String>, Error> + Send + 'static,
    ) -> Self {
        let (tell, events) = Events::channel();
        Self {
            work: Mutex::new(Some(Box::new(move || run(tell)))),
            told: Told::new(is_told.then_some(events)),
        }
    }
}

#[napi]
impl NativeTransfer {
    /// Waits for the result; to be called once.
    #[napi]
    pub fn result(&self) -> AsyncTask<Blocking> {
        let work = locked(&self.work).take();
        Blocking::task(move || match work {
            Some(run) => run(),
            None => Ok(None),
        })
    }

    /// Waits for events, in JSON; an empty list when there will be none any more.
    #[napi]
    pub async fn next_events(&self) -> napi::Result<Vec<String>> {
        Ok(self.told.next().await)
    }
}

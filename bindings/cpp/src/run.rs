//! Images that run.

use stagewright::{RunCanceller, json};

use crate::image::NativeImage;
use crate::thrown::Thrown;

/// Stops an image that runs, from any thread.
pub(crate) struct NativeCanceller(RunCanceller);

pub(crate) fn new_canceller() -> Result<Box<NativeCanceller>, Thrown> {
    Ok(Box::new(NativeCanceller(RunCanceller::new()?)))
}

impl NativeCanceller {
    pub(crate) fn cancel(&self) -> Result<(), Thrown> {
        self.0.cancel();
        Ok(())
    }
}

impl NativeImage {
    /// Runs the image on this process's standard streams, and returns the exit code.
    pub(crate) fn run(&self, options: &str, canceller: &NativeCanceller) -> Result<i32, Thrown> {
        Ok(self.get()?.run(&json::parse_run(options)?, &canceller.0)?)
    }
}

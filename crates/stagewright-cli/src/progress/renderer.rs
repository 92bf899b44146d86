//! What renderers have in common.

use std::io;
use std::time::Duration;

use super::Update;

/// Turns updates into text.
pub(crate) trait Renderer {
    /// Takes in what happened.
    fn update(&mut self, update: &Update) -> io::Result<()>;

    /// Is called several times a second, with the time since the build began.
    fn tick(&mut self, now: Duration) -> io::Result<()>;

    /// Shows the end.
    fn finish(&mut self, now: Duration, succeeded: bool) -> io::Result<()>;
}

/// Shows nothing.
#[derive(Debug, Default)]
pub(crate) struct Quiet;

impl Renderer for Quiet {
    fn update(&mut self, _: &Update) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Duration, _: bool) -> io::Result<()> {
        Ok(())
    }
}

//! Showing a build's progress.
//!
//! The facade's events become [`Update`]s; a renderer turns them into text. [`Plain`], [`RawJson`]
//! and [`Quiet`] write as they go, [`Tty`] keeps a picture of the build and draws it anew several
//! times a second. All write to standard error, but for raw JSON.

mod board;
mod log;
mod plain;
mod raw_json;
mod terminal;
mod tty;
mod update;

pub(crate) use plain::Plain;
pub(crate) use raw_json::RawJson;
pub(crate) use terminal::Terminal;
pub(crate) use tty::Tty;
pub(crate) use update::{Ending, Happening, Miss, MissChange, Update, VertexId};

use std::io;
use std::time::Duration;

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

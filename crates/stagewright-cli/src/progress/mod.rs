//! Showing a build's progress.
//!
//! The facade's events become [`Update`]s; a renderer turns them into text. [`Plain`], [`RawJson`]
//! and [`Quiet`] write as they go, [`Tty`] keeps a picture of the build and draws it anew several
//! times a second. All write to standard error, but for raw JSON.

mod board;
mod columns;
mod log;
mod plain;
mod raw_json;
mod renderer;
mod terminal;
mod tty;
mod update;

pub(crate) use columns::{columns, cut};
pub(crate) use plain::Plain;
pub(crate) use raw_json::RawJson;
pub(crate) use renderer::{Quiet, Renderer};
pub(crate) use terminal::Terminal;
pub(crate) use tty::Tty;
pub(crate) use update::{Ending, Happening, Miss, MissChange, Update, VertexId};

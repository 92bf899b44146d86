//! Images on disk, as callers of the crate see them.

mod archives;
mod layouts;
mod sample;

//! Layers against other tools, and against every layer that can be thought of.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make files for other tools"
)]

mod gnu_tar;
mod round_trip;
mod stored;
mod tars;

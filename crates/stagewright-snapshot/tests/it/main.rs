//! Root file systems on a real store, and on a real overlay where root is at hand.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make files as a step would"
)]

mod build;
mod import;
mod overlay;
mod place;

//! Root file systems on a real store, and on a real overlay where root is at hand.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests make files as other programs do"
)]

mod build;
mod import;
mod overlay;
mod place;

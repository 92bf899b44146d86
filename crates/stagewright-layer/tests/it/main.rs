//! Layers against other tools, and against every layer that can be thought of.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests make files as other programs do"
)]

mod estargz;
mod gnu_tar;
mod hostile;
mod round_trip;
mod stored;
mod tars;

//! Behaviour of the store over several processes.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod collect;
mod concurrent;
mod crash;
mod step;

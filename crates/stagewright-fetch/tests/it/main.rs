//! Network code against servers of this process that can be told to fail.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod distribution_spec;
mod git;
mod http;
mod peers;
mod pull;
mod push;
mod setup;

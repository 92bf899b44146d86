//! Network code against servers of this process that can be told to fail.

mod pull;
mod setup;

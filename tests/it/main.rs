//! Behaviour of stagewright, seen from outside: through its command.
//!
//! Tests that need root begin with `privileged_`; those that need the stand-in bases, which
//! `cargo xtask test` serves, with `network_`.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod account;
mod adding;
mod attesting;
mod bases;
mod book;
mod cache;
mod cache_mounts;
mod cache_services;
mod cache_transfer;
mod cache_ttl;
mod code_stages;
mod commands;
mod contexts;
mod copying;
mod corpus;
mod docker;
mod errors;
mod escape;
mod estargz;
mod explain;
mod failed_step;
mod fallbacks;
mod features;
mod hosts;
mod interruption;
mod keys;
mod language;
mod lesson;
mod limits;
mod many_layers;
mod memory;
mod nested;
mod network;
mod outputs;
mod peers;
mod platforms;
mod pruning;
mod pulling;
mod pushing;
mod real_modes;
mod real_steps;
mod registry_faults;
mod reproducible;
mod rootless;
mod squash;
mod ssh;
mod step_environment;
mod tmpfs;
mod transfers;
mod unset;
mod vectors;
mod volumes;

//! Behaviour of the library that needs a look inside its store: what survives crashes, full disks
//! and damage.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a panic")]

mod crash;
mod damage;
mod faults;
mod lab;
mod model;
mod power;
mod stamps;

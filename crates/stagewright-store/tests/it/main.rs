//! Behaviour of the store over several processes.

mod concurrent;
mod crash;
mod step;

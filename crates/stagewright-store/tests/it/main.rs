//! Behaviour of the store over several processes.

mod crash;

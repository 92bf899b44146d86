//! The stagewright command.
#![cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "the verbs come with the facade")
)]
#![cfg_attr(test, allow(dead_code, unused_imports))]

mod arguments;
mod progress;

fn main() {}

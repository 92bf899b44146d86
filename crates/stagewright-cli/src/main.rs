//! The stagewright command.

mod arguments;
mod progress;

fn main() {}

//! The stagewright command.

fn main() {}

//! Times builds in which nothing is to be done, in milliseconds: a part of `cargo xtask bench languages`.
#![expect(clippy::print_stdout, reason = "what it says is what it is for")]

use std::time::Instant;

use stagewright::{BuildRequest, Builder, BuilderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let times: usize = std::env::args().nth(1).ok_or("how often?")?.parse()?;
    let builder = Builder::open(BuilderOptions::at("store"))?;
    let mut taken = Vec::new();
    for _ in 0..times + 50 {
        let started = Instant::now();
        builder.build(BuildRequest::directory("project")).wait()?;
        taken.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("{:?}", &taken[50..]);
    Ok(())
}

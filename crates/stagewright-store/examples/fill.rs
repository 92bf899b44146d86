//! Fills a store with results of steps that nobody ran, to see what a store with many of them costs:
//! `fill STORE COUNT`. Best in memory: a disk takes its time to make each durable.

#![expect(clippy::unwrap_used, reason = "a tool for benches may stop")]

#[path = "../benches/fill/mod.rs"]
mod fill;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), Some(count)) = (arguments.next(), arguments.next()) else {
        panic!("usage: fill STORE COUNT");
    };
    fill::fill(
        &fill::open(path.as_ref()),
        count.to_str().unwrap().parse().unwrap(),
    );
}

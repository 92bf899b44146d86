//! What does a build in which nothing changed take of a store that holds a thousand, a hundred thousand or a million results:
//! finding one of them, and all that twenty steps ask it for?
//!
//! `cargo bench -p stagewright-store --bench lookup`. The stores are made in memory: what is asked is not how fast a disk
//! makes a million records durable.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::path::Path;
use std::time::Instant;

use stagewright_digest::LayerId;
use stagewright_store::{ActionResult, PlaceRecord};

use crate::fill::{key, open};

mod fill;

const RESULTS: [u64; 3] = [1_000, 100_000, 1_000_000];
const ROUNDS: u64 = 2_000;
const BUILDS: u64 = 200;
const STEPS: u64 = 20;

fn main() {
    for results in RESULTS {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let layer = make(folder.path(), results);
        let opened = open(folder.path());
        let lookups = (0..ROUNDS).map(|round| {
            let key = key(round * 7919 % results);
            timed(|| assert!(opened.action(&key).unwrap().is_some()))
        });
        print(results, "one lookup", lookups.collect());
        let builds = (0..BUILDS).map(|round| timed(|| warm(folder.path(), results, round, layer)));
        print(results, "a warm build of 20 steps", builds.collect());
    }
}

fn print(results: u64, what: &str, mut microseconds: Vec<f64>) {
    microseconds.sort_by(f64::total_cmp);
    let median = microseconds[microseconds.len() / 2];
    let least = microseconds[0];
    println!("{results:9} results, {what:26} median {median:9.1} µs, least {least:9.1} µs");
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e6
}

/// Makes a store with so many results, and a place for each of some.
fn make(path: &Path, results: u64) -> LayerId {
    let store = open(path);
    let ActionResult { layer, parts, .. } = fill::fill(&store, results);
    let parts = parts.unwrap();
    for number in 0..STEPS {
        let key = key(number);
        let record = PlaceRecord {
            key,
            parts,
            stamps: None,
        };
        store.record_place(&number.to_string(), &record).unwrap();
    }
    layer.unwrap()
}

/// What a build asks the store for when nothing changed: each step its result, its layer, and what its place ran with; then
/// it notes what it used.
fn warm(path: &Path, results: u64, round: u64, layer: LayerId) {
    let session = open(path).session();
    for step in 0..STEPS {
        let key = key((round * STEPS + step) * 7919 % results);
        let found = session.action(&key).unwrap().unwrap();
        assert!(session.layer(&found.layer.unwrap()).unwrap().is_some());
        assert!(session.place(&step.to_string()).unwrap().is_some());
    }
    session.note_use(&[layer; STEPS as usize], round).unwrap();
}

//! Many processes work on one store at once.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use stagewright_store::Store;

use crate::step::{check_step, key, open, write_step};

/// Tells the test binary that it is a builder, and where the store is.
const BUILDER_STORE: &str = "STAGEWRIGHT_TEST_BUILDER_STORE";
/// Which of the builders it is.
const BUILDER: &str = "STAGEWRIGHT_TEST_BUILDER";
const BUILDERS: u64 = 20;
const STEPS: u64 = 40;

/// Builds all steps, in an order of its own, and counts those that it ran itself.
fn build_all(store: &Store, builder: u64) {
    for n in 0..STEPS {
        let n = (n * 7 + builder * 3) % STEPS;
        if store.action(&key(n)).unwrap().is_none() {
            let lock = store.lock_action(&key(n), &|| false).unwrap();
            assert!(lock.is_some(), "nobody cancels");
            if store.action(&key(n)).unwrap().is_none() {
                let runs = store.path().with_file_name("runs");
                fs::write(runs.join(format!("{n} by {builder}")), "").unwrap();
                write_step(store, n);
            }
        }
        check_step(store, n);
    }
}

/// A builder: does nothing unless it was started by the test below.
#[test]
fn builder() {
    let Some(path) = std::env::var_os(BUILDER_STORE) else {
        return;
    };
    let builder: u64 = std::env::var(BUILDER).unwrap().parse().unwrap();
    // Twice in one process: by two handles that know nothing of each other.
    std::thread::scope(|scope| {
        for half in 0..2 {
            let store = open(Path::new(&path));
            scope.spawn(move || build_all(&store, builder * 2 + half));
        }
    });
}

fn start_builder(path: &Path, builder: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrent::builder"])
        .env(BUILDER_STORE, path)
        .env(BUILDER, builder.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn twenty_processes_run_each_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let runs = folder.path().join("runs");
    fs::create_dir(&runs).unwrap();
    let builders: Vec<Child> = (0..BUILDERS).map(|n| start_builder(&path, n)).collect();
    for mut builder in builders {
        assert!(builder.wait().unwrap().success());
    }
    let mut ran: Vec<String> = fs::read_dir(&runs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    ran.sort();
    assert_eq!(ran.len() as u64, STEPS, "{ran:?}");
    let store = open(&path);
    for n in 0..STEPS {
        check_step(&store, n);
    }
    assert_eq!(
        store.verify(false, &|_| Ok(Vec::new())).unwrap().damaged,
        vec![]
    );
}

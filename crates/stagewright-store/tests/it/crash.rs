//! A process that dies at any moment loses nothing that it had reported.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fs_err as fs;

use crate::step::{check_step, open, write_step};

/// Tells the test binary that it is the writer, and where the store is.
const WRITER_STORE: &str = "STAGEWRIGHT_TEST_WRITER_STORE";
/// With what number the writer begins.
const WRITER_FIRST: &str = "STAGEWRIGHT_TEST_WRITER_FIRST";
const KILLS: u64 = 300;

/// The writer: does nothing unless it was started by the test below.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(WRITER_STORE) else {
        return;
    };
    let first: u64 = std::env::var(WRITER_FIRST).unwrap().parse().unwrap();
    let store = open(Path::new(&path));
    for n in first.. {
        write_step(&store, n);
        writeln!(std::io::stdout(), "\nreported {n}").unwrap();
    }
}

fn start_writer(path: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--nocapture"])
        .env(WRITER_STORE, path)
        .env(WRITER_FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a writer `delay` after it reported its first step, and returns the last that it reported.
fn run_and_kill(path: &Path, first: u64, delay: Duration) -> u64 {
    let mut writer = start_writer(path, first);
    let mut output = BufReader::new(writer.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("reported") {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "the writer ended");
    }
    std::thread::sleep(delay);
    writer.kill().unwrap();
    writer.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    // A line that was cut off reports nothing.
    let whole = &text[..text.rfind('\n').unwrap()];
    let last = whole.rsplit_once("reported ").unwrap().1;
    last.trim().parse().unwrap()
}

#[test]
fn a_killed_writer_loses_nothing_that_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut first = 0;
    for kill in 0..KILLS {
        // Steps take a few milliseconds: the kills are spread over all moments of one.
        let delay = Duration::from_micros(kill * 7919 % 9000);
        let last = run_and_kill(&path, first, delay);
        let store = open(&path);
        for n in first..=last {
            check_step(&store, n);
        }
        // The step that was running is done again over whatever it left.
        write_step(&store, last + 1);
        check_step(&store, last + 1);
        first = last + 2;
    }
    let store = open(&path);
    for n in 0..first {
        check_step(&store, n);
    }
    assert_eq!(
        store.verify(false, &|_| Ok(Vec::new())).unwrap().damaged,
        vec![]
    );
    let left = fs::read_dir(path.join("tmp")).unwrap().count();
    assert_eq!(left, 0, "what dead writers left is cleaned");
}

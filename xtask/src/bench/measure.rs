//! One process, timed: wall time, CPU time and peak memory, with those of a daemon that worked for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wait4::Wait4;

use crate::host;

/// Ticks a second of the times in `/proc/PID/stat`: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Wall time in seconds, from starting the process to its end.
    pub(super) wall: f64,
    /// CPU time in seconds, the daemon's among it.
    pub(super) cpu: f64,
    /// Peak resident memory in MiB, the daemon's added.
    pub(super) memory: f64,
}

/// Runs a command that must succeed; `daemon` is the process that works for it.
pub(super) fn once(mut command: Command, daemon: Option<u32>, log: &Path) -> Result<Sample> {
    let shown = host::shown(&command);
    let before = daemon.map_or(0.0, cpu_of);
    // A child's peak begins with that of this process, which is that of making the workloads until it is forgotten.
    forget_peak("self");
    if let Some(daemon) = daemon {
        forget_peak(&daemon.to_string());
    }
    let output = fs_err::File::create(log)?.into_file();
    let errors = output.try_clone().context("sharing the log")?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    let ended = child
        .wait4()
        .with_context(|| format!("waiting for {shown}"))?;
    let wall = started.elapsed();
    if !ended.status.success() {
        let said = fs_err::read_to_string(log).unwrap_or_default();
        bail!("{shown} ended with {}\n{}", ended.status, last_lines(&said));
    }
    let used = ended.rusage;
    Ok(Sample {
        wall: wall.as_secs_f64(),
        cpu: (used.utime + used.stime).as_secs_f64() + daemon.map_or(0.0, cpu_of) - before,
        memory: mebibytes(used.maxrss) + daemon.map_or(0.0, peak_of),
    })
}

/// Makes the kernel forget a process's peak of memory; where it can't, the peak is that of the process's whole life.
fn forget_peak(process: &str) {
    let _ = fs_err::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Runs commands at once that must all succeed, and returns the time until the last ended.
pub(super) fn together(commands: Vec<Command>, log: &Path) -> Result<Duration> {
    let started = Instant::now();
    let threads: Vec<_> = commands
        .into_iter()
        .enumerate()
        .map(|(number, command)| {
            let log: PathBuf = log.with_extension(format!("{number}.log"));
            thread::spawn(move || once(command, None, &log))
        })
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(sample) => sample?,
            Err(_) => bail!("a measuring thread panicked"),
        };
    }
    Ok(started.elapsed())
}

/// Returns the median of some figures, which are put into order.
pub(super) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a mebibyte more or less does not show"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// CPU time of a process and of the children that it waited for, in seconds.
fn cpu_of(process: u32) -> f64 {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after);
    // utime, stime, cutime and cstime: fields 14 to 17 of proc_pid_stat(5), 11 to 14 after the name.
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}

/// Peak resident memory of a process in MiB.
fn peak_of(process: u32) -> f64 {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().strip_suffix("kB"))
        .and_then(|kibibytes| kibibytes.trim().parse::<f64>().ok())
        .map_or(0.0, |kibibytes| kibibytes / 1024.0)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (mut figures, expected) in [
            (vec![3.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0, 3.0, 2.0], 2.5),
            (vec![7.0], 7.0),
        ] {
            assert!((median(&mut figures) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn a_process_is_measured_and_a_failure_says_what_was_printed() {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let log = folder.path().join("log");
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let sample = once(shell("sleep 0.05"), None, &log).expect("sleep succeeds");
        assert!(sample.wall >= 0.05 && sample.memory > 0.1, "{sample:?}");
        let error = once(shell("echo why; exit 3"), None, &log).expect_err("exit 3 is a failure");
        assert!(error.to_string().ends_with("why"), "{error}");
    }
}

//! What is wanted of the figures, and whether it was reached.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::compare::Phase;
use super::floors::Floors;
use super::measure::median;
use super::report::{Report, time};
use crate::host;

const MEBIBYTE: f64 = (1 << 20) as f64;
const BINARY_BYTES_MAX: f64 = 15e6;
const STARTS: usize = 40;

/// What the command itself is measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    bytes: f64,
    start: f64,
}

impl Program {
    /// Measures the command: its size, and how long it takes to say its version.
    pub(super) fn measure(program: &Path) -> Result<Self> {
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let started = Instant::now();
            host::output(Command::new(program).arg("--version"))?;
            starts.push(started.elapsed().as_secs_f64());
        }
        Ok(Self {
            bytes: fs_err::metadata(program)?.len() as f64,
            start: median(&mut starts),
        })
    }
}

/// The rows of the table, as they are found.
struct Rows<'a> {
    report: &'a Report,
    text: String,
}

/// Returns the section of the page.
pub(super) fn section(report: &Report, program: Program) -> String {
    let mut rows = Rows {
        report,
        text: String::from(
            "\n## What is wanted\n\nRatios to the faster of the BuildKits, medians of this run. [Why a row is not reached](floors.md).\n\n| | wanted | found | |\n|---|---|---|---|\n",
        ),
    };
    for workload in ["w1", "w2", "w4", "w5"] {
        rows.ratio(workload, Phase::Warm, 0.25);
        let warm = report.wall(workload, Phase::Warm);
        rows.row(
            &format!("warm {workload}"),
            "at most 20 ms",
            warm,
            0.020,
            time,
        );
    }
    rows.ratio("w3", Phase::Warm, 0.25);
    rows.floor("w3", Phase::Warm, 2.0);
    rows.ratio("w4", Phase::Cold, 0.25);
    rows.ratio("w3", Phase::Cold, 1.0 / 3.0);
    rows.floor("w3", Phase::Cold, 1.5);
    let above = report
        .wall("w5", Phase::Cold)
        .zip(report.floor_of("w5", Phase::Cold))
        .map(|(ours, floor)| ours - floor);
    let what = Floors::what("w5", Phase::Cold).unwrap_or_default();
    rows.row(
        &format!("cold w5, above {what}"),
        "at most 150 ms",
        above,
        0.150,
        time,
    );
    rows.floor("w2", Phase::Cold, 1.1);
    for workload in ["w1", "w2", "w3", "w4", "w5"] {
        rows.ratio(workload, Phase::Byte, 1.0 / 3.0);
    }
    for workload in ["w1", "w3", "w9"] {
        rows.ratio(workload, Phase::Gzip, 1.0 / 3.0);
        rows.sizes(workload);
        rows.ratio(workload, Phase::Push, 1.0 / 3.0);
    }
    let memory = report.memory_of_ours(&["w2", "w3", "w4", "w5"]);
    rows.row(
        "peak memory, w2 to w5",
        "at most 60 MiB",
        memory,
        60.0,
        |it| format!("{it:.0} MiB"),
    );
    let crowd = report
        .wall("w4", Phase::Crowd)
        .zip(report.wall("w4", Phase::Cold))
        .map(|(crowd, one)| crowd / one);
    rows.row(
        "20 builds of w4 at once, of the time of one",
        "at most 1.5",
        crowd,
        1.5,
        |it| format!("{it:.2}"),
    );
    rows.row(
        "the command, stripped",
        "at most 15 MB",
        Some(program.bytes),
        BINARY_BYTES_MAX,
        |it| format!("{:.1} MB", it / 1e6),
    );
    rows.row(
        "`stagewright --version`",
        "at most 5 ms",
        Some(program.start),
        0.005,
        time,
    );
    rows.text
}

impl Rows<'_> {
    fn row(
        &mut self,
        what: &str,
        wanted: &str,
        found: Option<f64>,
        most: f64,
        shown: impl Fn(f64) -> String,
    ) {
        let Some(found) = found else { return };
        let verdict = if found <= most { "✓" } else { "**no**" };
        let _ = writeln!(
            self.text,
            "| {what} | {wanted} | {} | {verdict} |",
            shown(found)
        );
    }

    /// Ours next to the faster of the BuildKits.
    fn ratio(&mut self, workload: &str, phase: Phase, most: f64) {
        let found = self
            .report
            .wall(workload, phase)
            .zip(self.report.best_buildkit(workload, phase))
            .map(|(ours, best)| ours / best);
        self.row(
            &format!("{} {workload}", phase.name()),
            &format!("at most 1/{:.0}", 1.0 / most),
            found,
            most,
            |it| format!("{it:.2}"),
        );
    }

    /// Ours next to what must be done at least.
    fn floor(&mut self, workload: &str, phase: Phase, most: f64) {
        let Some(what) = Floors::what(workload, phase) else {
            return;
        };
        let floor = self.report.floor_of(workload, phase);
        let found = self.report.wall(workload, phase).zip(floor);
        self.row(
            &format!("{} {workload}, of {what}", phase.name()),
            &format!("at most {most}"),
            found.map(|(ours, floor)| ours / floor),
            most,
            |it| format!("{it:.2} ({})", time(floor.unwrap_or(f64::NAN))),
        );
    }

    /// Our archive by gzip next to the smallest of the BuildKits'.
    fn sizes(&mut self, workload: &str) {
        let found = self.report.bytes(workload).map(|(ours, best)| ours / best);
        let mebibytes = self
            .report
            .bytes(workload)
            .map_or(f64::NAN, |(ours, _)| ours / MEBIBYTE);
        self.row(
            &format!("gzip {workload}, size"),
            "at most 1.05",
            found,
            1.05,
            |it| format!("{it:.3} ({mebibytes:.1} MiB)"),
        );
    }
}

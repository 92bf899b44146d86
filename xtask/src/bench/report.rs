//! The figures as Markdown, JSON and pictures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::builders::Builder;
use super::compare::Phase;
use super::equal::{self, Compared};
use super::floors::Floors;
use super::measure::{Sample, median};
use super::pictures;
use super::targets::{self, Program};
use super::workloads::Workload;

/// Every figure of one run.
#[derive(Debug)]
pub(super) struct Report {
    figures: BTreeMap<(&'static str, Phase), Vec<Figure>>,
    /// What must be done at least, in seconds.
    floors: BTreeMap<(&'static str, Phase), Vec<f64>>,
    /// The sizes of archives by gzip, by workload and builder.
    bytes: BTreeMap<(&'static str, &'static str), u64>,
    compared: Vec<Compared>,
    program: Program,
}

/// What one builder took for one phase of one workload.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) builder: &'static str,
    pub(super) samples: Vec<Sample>,
}

impl Figure {
    /// Returns the median wall time in seconds.
    pub(super) fn wall(&self) -> f64 {
        median(
            &mut self
                .samples
                .iter()
                .map(|sample| sample.wall)
                .collect::<Vec<_>>(),
        )
    }

    fn cpu(&self) -> f64 {
        median(
            &mut self
                .samples
                .iter()
                .map(|sample| sample.cpu)
                .collect::<Vec<_>>(),
        )
    }

    fn memory(&self) -> f64 {
        self.samples
            .iter()
            .map(|sample| sample.memory)
            .fold(0.0, f64::max)
    }

    fn spread(&self) -> (f64, f64) {
        let walls = || self.samples.iter().map(|sample| sample.wall);
        (
            walls().fold(f64::INFINITY, f64::min),
            walls().fold(0.0, f64::max),
        )
    }
}

/// The name of this builder.
const OURS: &str = "stagewright";

fn is_buildkit(builder: &str) -> bool {
    builder.starts_with("docker")
}

impl Report {
    pub(super) fn new(program: Program) -> Self {
        Self {
            figures: BTreeMap::new(),
            floors: BTreeMap::new(),
            bytes: BTreeMap::new(),
            compared: Vec::new(),
            program,
        }
    }

    /// Adds the floor of one run.
    pub(super) fn floor(&mut self, workload: &'static str, phase: Phase, seconds: f64) {
        let floors = self.floors.entry((workload, phase)).or_default();
        floors.push(seconds);
    }

    /// Adds the size of an archive by gzip.
    pub(super) fn archive(&mut self, workload: &'static str, builder: &'static str, bytes: u64) {
        self.bytes.insert((workload, builder), bytes);
    }

    /// Returns the median of ours in seconds.
    pub(super) fn wall(&self, workload: &str, phase: Phase) -> Option<f64> {
        let ours = self
            .of(workload, phase)
            .find(|figure| figure.builder == OURS)?;
        Some(ours.wall())
    }

    /// Returns the median of the faster BuildKit in seconds.
    pub(super) fn best_buildkit(&self, workload: &str, phase: Phase) -> Option<f64> {
        self.of(workload, phase)
            .filter(|figure| is_buildkit(figure.builder))
            .map(Figure::wall)
            .min_by(f64::total_cmp)
    }

    /// Returns the median of a floor in seconds.
    pub(super) fn floor_of(&self, workload: &str, phase: Phase) -> Option<f64> {
        let mut found = self
            .floors
            .iter()
            .find(|((name, at), _)| *name == workload && *at == phase)
            .map(|(_, seconds)| seconds.clone())?;
        Some(median(&mut found))
    }

    /// Returns the most memory that ours took for some workloads in MiB.
    pub(super) fn memory_of_ours(&self, workloads: &[&str]) -> Option<f64> {
        self.figures
            .iter()
            .filter(|((workload, _), _)| workloads.contains(workload))
            .flat_map(|(_, figures)| figures)
            .filter(|figure| figure.builder == OURS)
            .map(Figure::memory)
            .max_by(f64::total_cmp)
    }

    /// Returns the sizes of our archive by gzip and of the smallest of the BuildKits'.
    pub(super) fn bytes(&self, workload: &str) -> Option<(f64, f64)> {
        let of = |wanted: &dyn Fn(&str) -> bool| {
            self.bytes
                .iter()
                .filter(|((name, builder), _)| *name == workload && wanted(builder))
                .map(|(_, bytes)| *bytes as f64)
                .min_by(f64::total_cmp)
        };
        of(&|builder| builder == OURS).zip(of(&is_buildkit))
    }

    fn of(&self, workload: &str, phase: Phase) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(move |((name, at), _)| *name == workload && *at == phase)
            .flat_map(|(_, figures)| figures)
    }

    /// Adds one run.
    pub(super) fn add(
        &mut self,
        workload: &'static str,
        phase: Phase,
        builder: &'static str,
        sample: Sample,
    ) {
        let figures = self.figures.entry((workload, phase)).or_default();
        match figures.iter_mut().find(|figure| figure.builder == builder) {
            Some(figure) => figure.samples.push(sample),
            None => figures.push(Figure {
                builder,
                samples: vec![sample],
            }),
        }
    }

    /// Adds what the builders' images of a workload have in common.
    pub(super) fn compared(&mut self, compared: Vec<Compared>) {
        self.compared.extend(compared);
    }

    /// Prints one row while the rest is still being taken.
    pub(super) fn print_last(&self, workload: &'static str, phase: Phase) {
        for figure in self.figures.get(&(workload, phase)).into_iter().flatten() {
            let (least, most) = figure.spread();
            println!(
                "  {:<14} {:>9} ({} to {})",
                figure.builder,
                time(figure.wall()),
                time(least),
                time(most)
            );
        }
    }

    /// Writes `compare.md`, `compare.json` and a picture for each phase into a folder.
    pub(super) fn write(
        &self,
        folder: &Path,
        builders: &[Builder],
        workloads: &[Workload],
    ) -> Result<()> {
        fs_err::create_dir_all(folder)?;
        let machine = machine();
        let mut text = String::from(
            "# Against other builders\n\nMade by `cargo xtask bench compare` in one run. Wall time of whole processes: the median, \
             and below it the least and the most. Each builder's state lies on an ext4 of its own that was made for the run, \
             and the builders take turns. CPU time and peak memory include the daemon's.\n\n",
        );
        let _ = writeln!(text, "Machine: {machine}\n");
        for builder in builders {
            let _ = writeln!(text, "- {}: {}", builder.name, builder.version);
        }
        text.push_str("\n| workload | |\n|---|---|\n");
        for workload in workloads {
            let _ = writeln!(text, "| {} | {} |", workload.name, workload.what);
        }
        text.push_str(&targets::section(self, self.program));
        let mut phases: Vec<Phase> = self.figures.keys().map(|(_, phase)| *phase).collect();
        phases.sort_unstable();
        phases.dedup();
        for phase in phases {
            self.write_phase(&mut text, phase, builders);
            let rows = self.rows(phase);
            let name = format!("compare-{}.svg", phase.name());
            pictures::bars(&folder.join(&name), phase.name(), &rows)?;
            let _ = writeln!(text, "\n![{}: wall time by builder]({name})", phase.name());
        }
        if !self.compared.is_empty() {
            text.push_str(&equal::section(&self.compared));
        }
        fs_err::write(folder.join("compare.md"), text)?;
        let json: Vec<serde_json::Value> = self
            .figures
            .iter()
            .map(|((workload, phase), figures)| {
                serde_json::json!({ "workload": workload, "phase": phase.name(), "builders": figures })
            })
            .collect();
        let versions: BTreeMap<&str, &str> = builders
            .iter()
            .map(|builder| (builder.name, builder.version.as_str()))
            .collect();
        let floors: Vec<serde_json::Value> = self
            .floors
            .iter()
            .map(|((workload, phase), seconds)| {
                serde_json::json!({
                    "workload": workload, "phase": phase.name(),
                    "what": Floors::what(workload, *phase), "seconds": seconds,
                })
            })
            .collect();
        let json = serde_json::json!({
            "machine": machine, "versions": versions, "figures": json, "floors": floors,
        });
        fs_err::write(
            folder.join("compare.json"),
            serde_json::to_vec_pretty(&json)?,
        )?;
        println!("written: {}", folder.join("compare.md").display());
        Ok(())
    }

    fn rows(&self, phase: Phase) -> Vec<(&'static str, &[Figure])> {
        self.figures
            .iter()
            .filter(|((_, found), _)| *found == phase)
            .map(|((workload, _), figures)| (*workload, figures.as_slice()))
            .collect()
    }

    fn write_phase(&self, text: &mut String, phase: Phase, builders: &[Builder]) {
        let _ = writeln!(text, "\n## {}\n", phase.name());
        text.push_str("| |");
        for builder in builders {
            let _ = write!(text, " {} |", builder.name);
        }
        text.push_str(" of the best BuildKit | CPU s, memory MiB |\n|---|");
        text.push_str(&"---|".repeat(builders.len() + 2));
        text.push('\n');
        for (workload, figures) in self.rows(phase) {
            let _ = write!(text, "| {workload} |");
            let of = |name: &str| figures.iter().find(|figure| figure.builder == name);
            for builder in builders {
                match of(builder.name) {
                    Some(figure) => {
                        let (least, most) = figure.spread();
                        let _ = write!(
                            text,
                            " **{}**<br>{} to {} |",
                            time(figure.wall()),
                            time(least),
                            time(most)
                        );
                    }
                    None => text.push_str(" – |"),
                }
            }
            let ours = self.wall(workload, phase);
            match ours.zip(self.best_buildkit(workload, phase)) {
                Some((ours, best)) => {
                    let _ = write!(text, " {:.2} |", ours / best);
                }
                None => text.push_str(" – |"),
            }
            let used: Vec<String> = figures
                .iter()
                .filter(|figure| figure.cpu().is_finite())
                .map(|figure| {
                    format!(
                        "{} {:.2}, {:.0}",
                        figure.builder,
                        figure.cpu(),
                        figure.memory()
                    )
                })
                .collect();
            let _ = writeln!(text, " {} |", used.join("<br>"));
        }
    }
}

/// Returns a time as a person reads it.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// Returns what the figures were taken on.
pub(super) fn machine() -> String {
    let read = |file: &str| fs_err::read_to_string(file).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(
            || "unknown processor".to_owned(),
            |(_, name)| name.trim().to_owned(),
        );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))
        .and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok())
        .unwrap_or(0)
        / (1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores of {model}, {memory} GiB, Linux {}",
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_the_unit_that_reads_best() {
        for (seconds, expected) in [(0.0061, "6.1 ms"), (0.25, "250.0 ms"), (1.5, "1.50 s")] {
            assert_eq!(time(seconds), expected);
        }
    }
}

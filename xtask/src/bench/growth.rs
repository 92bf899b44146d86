//! `cargo xtask bench growth`: what a build costs as the work grows, when nothing or one byte changed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::fit;
use super::measure::{self, median};
use super::pictures;
use super::report::{machine, time};
use crate::host;

/// Options of `bench growth`.
#[derive(Debug, clap::Args)]
pub(crate) struct GrowthArguments {
    /// How often each figure is taken
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// Only these axes, as files,layers
    #[arg(long, value_delimiter = ',')]
    axes: Vec<Axis>,
    /// Where the store and the contexts lie
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/tmp/stagewright-growth"
    )]
    scratch: PathBuf,
    /// A folder in memory, for the store of a million results
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/dev/shm/stagewright-growth"
    )]
    memory: PathBuf,
    /// Where the table and the pictures are written
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    out: PathBuf,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Axis {
    /// Files of the context, one of them changed.
    Files,
    /// Layers of one stage.
    Layers,
    /// Stages that are joined by copies.
    Stages,
    /// Results that the store holds from other builds.
    Store,
    /// Bytes of the one file that is copied, when nothing changed.
    Bytes,
}

impl Axis {
    const ALL: [Self; 5] = [
        Self::Files,
        Self::Layers,
        Self::Stages,
        Self::Store,
        Self::Bytes,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Layers => "layers",
            Self::Stages => "stages",
            Self::Store => "store",
            Self::Bytes => "bytes",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Files => "files in the context",
            Self::Layers => "layers of one stage",
            Self::Stages => "stages joined by copies",
            Self::Store => "results of other builds in the store",
            Self::Bytes => "bytes of the file that is copied",
        }
    }

    /// Returns where its store and contexts lie: a store of a million results in memory, since a disk takes an hour to make
    /// each of them durable.
    fn scratch(self, arguments: &GrowthArguments) -> PathBuf {
        match self {
            Self::Store => arguments.memory.clone(),
            _ => arguments.scratch.clone(),
        }
    }

    fn sizes(self) -> &'static [usize] {
        match self {
            Self::Files => &[100, 1_000, 10_000, 100_000],
            Self::Layers | Self::Stages => &[1, 10, 50, 100, 200],
            Self::Store => &[100, 1_000, 10_000, 100_000, 1_000_000],
            Self::Bytes => &[1 << 10, 1 << 20, 100 << 20, 500 << 20],
        }
    }
}

/// One measured line.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// A median at a size.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) size: f64,
    pub(super) seconds: f64,
}

/// Measures every axis, prints the table and writes it.
pub(super) fn run(arguments: &GrowthArguments) -> Result<()> {
    let program = host::build_command()?;
    let folder = host::root().join(&arguments.out);
    fs_err::create_dir_all(&folder)?;
    let mut text = String::from(
        "# How times grow\n\nMade by `cargo xtask bench growth`. Whole processes, medians. The exponent is that of a power fitted \
         to the times: 0 is constant, 1 linear.\n\n",
    );
    let _ = writeln!(text, "Machine: {}\n", machine());
    let mut all = Vec::new();
    for axis in Axis::ALL {
        if !arguments.axes.is_empty() && !arguments.axes.contains(&axis) {
            continue;
        }
        let series = measure_axis(axis, arguments, &program)?;
        write_axis(&mut text, axis, &series);
        let picture = format!("growth-{}.svg", axis.name());
        pictures::lines(&folder.join(&picture), axis.label(), axis.label(), &series)?;
        let _ = writeln!(text, "\n![{}]({picture})\n", axis.label());
        all.push(serde_json::json!({ "axis": axis.name(), "series": series }));
    }
    fs_err::write(folder.join("growth.md"), &text)?;
    let json = serde_json::json!({ "machine": machine(), "axes": all });
    fs_err::write(
        folder.join("growth.json"),
        serde_json::to_vec_pretty(&json)?,
    )?;
    println!("{text}");
    Ok(())
}

fn measure_axis(axis: Axis, arguments: &GrowthArguments, program: &Path) -> Result<Vec<Series>> {
    let mut warm = Vec::new();
    let mut byte = Vec::new();
    for &size in axis.sizes() {
        println!("{} {size}", axis.name());
        let scratch = axis.scratch(arguments);
        let folder = scratch.join("context");
        for old in [&folder, &scratch.join("store")] {
            if old.exists() {
                fs_err::remove_dir_all(old)?;
            }
        }
        make(axis, size, &folder)?;
        let bench = Runner {
            program,
            store: scratch.join("store"),
            folder: &folder,
            log: scratch.join("log"),
        };
        if axis == Axis::Store {
            bench.fill(size)?;
        }
        bench.build()?;
        warm.push(bench.point(size, arguments.runs, |_| Ok(()))?);
        if axis != Axis::Bytes {
            byte.push(bench.point(size, arguments.runs, |turn| {
                fs_err::write(folder.join("changed"), format!("{turn:06}\n"))?;
                Ok(())
            })?);
        }
    }
    fs_err::remove_dir_all(axis.scratch(arguments))?;
    let mut series = vec![Series {
        name: "nothing changed".to_owned(),
        points: warm,
    }];
    if !byte.is_empty() {
        series.push(Series {
            name: "one file changed".to_owned(),
            points: byte,
        });
    }
    Ok(series)
}

struct Runner<'a> {
    program: &'a Path,
    store: PathBuf,
    folder: &'a Path,
    log: PathBuf,
}

impl Runner<'_> {
    fn build(&self) -> Result<f64> {
        self.build_folder(self.folder)
    }

    fn build_folder(&self, folder: &Path) -> Result<f64> {
        let mut command = Command::new(self.program);
        command
            .args(["build", "--quiet", "--store"])
            .arg(&self.store)
            .arg(folder);
        Ok(measure::once(command, None, &self.log)?.wall)
    }

    /// Fills the store with `count` results of other builds.
    fn fill(&self, count: usize) -> Result<()> {
        host::run(
            host::cargo()
                .args(["run", "--quiet", "--locked", "--release"])
                .args(["--package=stagewright-store", "--example=fill", "--"])
                .arg(&self.store)
                .arg(count.to_string()),
        )
    }

    fn point(
        &self,
        size: usize,
        runs: usize,
        change: impl Fn(usize) -> Result<()>,
    ) -> Result<Point> {
        let mut walls = Vec::with_capacity(runs);
        for turn in 0..runs {
            change(turn)?;
            walls.push(self.build()?);
        }
        Ok(Point {
            size: as_f64(size),
            seconds: median(&mut walls),
        })
    }
}

fn make(axis: Axis, size: usize, folder: &Path) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("changed"), "start\n")?;
    let mut text = String::from("FROM scratch\n");
    match axis {
        Axis::Files => {
            for number in 0..size {
                let inner = folder.join(format!("tree/{}", number / 100));
                fs_err::create_dir_all(&inner)?;
                fs_err::write(inner.join(format!("f{number}")), format!("file {number}\n"))?;
            }
            text.push_str("COPY . /\n");
        }
        Axis::Layers => {
            text.push_str("COPY changed /\n");
            for number in 1..size {
                fs_err::write(folder.join(format!("f{number}")), format!("{number}\n"))?;
                let _ = writeln!(text, "COPY f{number} /");
            }
        }
        Axis::Stages => {
            text = "FROM scratch AS s0\nCOPY changed /\n".to_owned();
            for number in 1..=size {
                let _ = writeln!(
                    text,
                    "FROM scratch AS s{number}\nCOPY --from=s{} /changed /changed",
                    number - 1
                );
            }
        }
        Axis::Store => text.push_str("COPY changed /\nCOPY changed /second\n"),
        Axis::Bytes => {
            let file = fs_err::File::create(folder.join("large"))?;
            let mut out = std::io::BufWriter::new(file);
            for number in 0..size / 8 {
                std::io::Write::write_all(&mut out, &number.to_le_bytes())?;
            }
            text.push_str("COPY large /\n");
        }
    }
    fs_err::write(folder.join("Dockerfile"), text)?;
    Ok(())
}

fn write_axis(text: &mut String, axis: Axis, series: &[Series]) {
    let _ = writeln!(text, "## {}\n", axis.label());
    text.push_str("| |");
    for size in axis.sizes() {
        let _ = write!(text, " {size} |");
    }
    text.push_str(" exponent |\n|---|");
    text.push_str(&"---|".repeat(axis.sizes().len() + 1));
    text.push('\n');
    for series in series {
        let _ = write!(text, "| {} |", series.name);
        for point in &series.points {
            let _ = write!(text, " {} |", time(point.seconds));
        }
        let points: Vec<(f64, f64)> = series
            .points
            .iter()
            .map(|point| (point.size, point.seconds))
            .collect();
        let _ = writeln!(text, " {:.2} |", fit::exponent(&points));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn as_f64(size: usize) -> f64 {
    size as f64
}

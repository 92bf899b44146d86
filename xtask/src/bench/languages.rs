//! `cargo xtask bench languages`: what a build costs more through Python and Node, and what their hosts notice of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::measure::median;
use super::report::machine;
use crate::host;

/// Options of `bench languages`.
#[derive(Debug, clap::Args)]
pub(crate) struct LanguagesArguments {
    /// How many warm builds each language is timed for, in each of the rounds
    #[arg(long, default_value_t = 200)]
    builds: usize,
    /// How often the languages take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many warm builds what is left over is looked at
    #[arg(long, default_value_t = 1000)]
    leaks: usize,
    /// Where the table is written
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    out: PathBuf,
}

const DOCKERFILE: &str = "FROM scratch AS build\nWORKDIR /build\nCOPY package.json ./\nCOPY src src\n\nFROM scratch\nCOPY --from=build /build /app\nCMD [\"node\", \"/app\"]\n";

/// A language, and how its figures are taken.
struct Language {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

/// Measures with the packages that `cargo xtask bindings` installed.
pub(super) fn run(arguments: &LanguagesArguments) -> Result<()> {
    let target = host::target_folder()?;
    let scratch = tempfile::tempdir().context("making a folder")?;
    let languages = languages(&target)?;
    for language in &languages {
        prepare(&scratch.path().join(language.name))?;
    }
    let folder = scratch.path().join("command");
    prepare(&folder)?;
    let mut warm: Vec<Vec<f64>> = vec![Vec::new(); languages.len()];
    let mut command = Vec::new();
    for _ in 0..arguments.rounds {
        for (language, figures) in languages.iter().zip(&mut warm) {
            let found = language.figures(&scratch, "warm", arguments.builds)?;
            figures.extend(numbers(&found));
        }
        for _ in 0..arguments.builds.div_ceil(10) {
            command.push(start_command(&target, &folder)?);
        }
    }
    let mut page = head(arguments);
    let rust = median(&mut warm[0]);
    for (language, figures) in languages.iter().zip(&mut warm) {
        let found = median(figures);
        let _ = writeln!(
            page,
            "| {} | {found:.2} ms | {:+.2} ms |",
            language.name,
            found - rust
        );
    }
    let command = median(&mut command);
    let _ = writeln!(
        page,
        "| the command, started each time | {command:.2} ms | {:+.2} ms |",
        command - rust
    );
    page += "\n| | Python | Node |\n|---|---|---|\n";
    let [_, python, node] = &languages[..] else {
        bail!("there are three languages");
    };
    let both = |what: &str, times: usize| -> Result<[Value; 2]> {
        Ok([
            python.figures(&scratch, what, times)?,
            node.figures(&scratch, what, times)?,
        ])
    };
    let loops = both("loop", arguments.rounds)?;
    for (place, text) in [
        (
            0,
            "the longest that a timer of the event loop was late while 50 builds ran, median",
        ),
        (1, "of its thread: the longest that it computed in one turn"),
        (2, "the longest that it waited for a processor in one turn"),
        (3, "the longest that a timer was late while nothing ran"),
    ] {
        let cells = loops.iter().map(|found| {
            let rounds = found.as_array().into_iter().flatten();
            let mut figures: Vec<f64> = rounds.filter_map(|it| it[place].as_f64()).collect();
            format!("{:.1} ms", median(&mut figures))
        });
        row(&mut page, text, cells);
    }
    let stops = both("interrupt", arguments.rounds * 4)?;
    row(
        &mut page,
        "from Ctrl-C (Node: `cancel()`) in a command to the exception, all gone: median, most",
        stops.iter().map(|found| {
            let mut figures = numbers(found);
            let most = figures.iter().copied().fold(0.0, f64::max);
            format!("{:.1} ms, {most:.1} ms", median(&mut figures))
        }),
    );
    let left = both("leaks", arguments.leaks)?;
    for what in ["descriptors", "threads", "resident_kib"] {
        row(
            &mut page,
            &format!("{what} before and after {} warm builds", arguments.leaks),
            left.iter()
                .map(|found| format!("{}, {}", found[0][what], found[1][what])),
        );
    }
    print!("{page}");
    let file = arguments.out.join("languages.md");
    fs_err::write(&file, page)?;
    println!("wrote {}", file.display());
    Ok(())
}

fn head(arguments: &LanguagesArguments) -> String {
    format!(
        "# The library from other languages\n\n`cargo xtask bench languages` takes these figures with the packages that `cargo xtask bindings` installed. {}; load {} \
         when it began.\n\nA build of two stages in which nothing is to be done, {} builds in each of {} turns, medians:\n\n| | a build | more than Rust |\n|---|---|---|\n",
        machine(),
        fs_err::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .split(' ')
            .next()
            .unwrap_or_default(),
        arguments.builds,
        arguments.rounds,
    )
}

fn row(page: &mut String, text: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(page, "| {text} | {} |", cells.join(" | "));
}

fn languages(target: &Path) -> Result<Vec<Language>> {
    host::run(host::cargo().args([
        "build",
        "--locked",
        "--release",
        "--package=stagewright",
        "--example=warm",
    ]))?;
    let installed = target.join("bindings");
    let python = installed.join("python-fresh/bin/python");
    let node = installed.join("node-project");
    if !python.exists() || !node.exists() {
        bail!("run `cargo xtask bindings` first: there are no packages to measure");
    }
    let figures = |path: &str| host::root().join(path);
    let script = node.join("figures.mjs");
    fs_err::copy(figures("bindings/node/benches/figures.mjs"), &script)?;
    let text = |path: PathBuf| path.display().to_string();
    Ok(vec![
        Language {
            name: "Rust",
            program: target.join("release/examples/warm"),
            arguments: Vec::new(),
        },
        Language {
            name: "Python",
            program: python,
            arguments: vec![text(figures("bindings/python/benches/figures.py"))],
        },
        Language {
            name: "Node",
            program: host::find_program("node").context("there is no node")?,
            arguments: vec!["--expose-gc".to_owned(), text(script)],
        },
    ])
}

impl Language {
    /// Runs the program in its folder and returns what it found.
    fn figures(&self, scratch: &tempfile::TempDir, what: &str, times: usize) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(scratch.path().join(self.name));
        if !self.arguments.is_empty() {
            command.arg(what);
        }
        let found = host::output(command.arg(times.to_string()))?;
        serde_json::from_str(&found).with_context(|| format!("{} printed {found}", self.name))
    }
}

fn numbers(found: &Value) -> Vec<f64> {
    let all = found.as_array().into_iter().flatten();
    all.filter_map(Value::as_f64).collect()
}

/// Writes the project, with BusyBox for commands.
fn prepare(folder: &Path) -> Result<()> {
    let project = folder.join("project");
    fs_err::create_dir_all(project.join("src"))?;
    fs_err::write(project.join("Dockerfile"), DOCKERFILE)?;
    fs_err::write(project.join("package.json"), "{}")?;
    fs_err::write(project.join("src/index.js"), "one")?;
    let busybox = host::find_program("busybox").context("there is no busybox")?;
    fs_err::copy(busybox, project.join("busybox"))?;
    Ok(())
}

/// Builds with a new process of the command, and returns how long it took in milliseconds.
fn start_command(target: &Path, folder: &Path) -> Result<f64> {
    let mut command = Command::new(target.join("release/stagewright"));
    command.args(["--store", "store", "build", "--quiet", "project"]);
    let started = std::time::Instant::now();
    host::output(command.current_dir(folder))?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

//! `cargo xtask counts`: how many instructions a warm build takes, held against what it took before.
//!
//! Times on a shared machine say little about a change of five per cent; instructions under valgrind's cachegrind are
//! nearly the same each time, and on every machine, since valgrind shows programs the same processor everywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Tool};

const VALGRIND: Tool = Tool {
    program: "valgrind",
    package: "valgrind",
};
/// The counts to compare with, in the workspace's root.
const FILE: &str = "benches/counts.toml";
/// More than this share above the recorded count fails; the counts of two runs differ by less than a tenth of it.
const SLACK: f64 = 0.05;

/// Options of `counts`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CountsArguments {
    /// Write what was counted to benches/counts.toml, after a change that is meant
    #[arg(long)]
    record: bool,
}

/// A project whose warm build is counted.
struct Case {
    name: &'static str,
    make: fn(&Path) -> Result<()>,
}

const CASES: [Case; 3] = [
    Case {
        name: "version",
        make: |_| Ok(()),
    },
    Case {
        name: "warm-40-copies",
        make: copies,
    },
    Case {
        name: "warm-2000-files",
        make: files,
    },
];

/// Counts every case and compares it with what is recorded.
pub(crate) fn run(arguments: &CountsArguments) -> Result<()> {
    host::install_missing(&[VALGRIND])?;
    let program = host::build_command()?;
    let scratch = tempfile::tempdir().context("making a folder")?;
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for case in &CASES {
        let folder = scratch.path().join(case.name);
        fs_err::create_dir_all(&folder)?;
        (case.make)(&folder)?;
        counted.insert(
            case.name.to_owned(),
            count(&program, scratch.path(), case.name)?,
        );
    }
    let file = host::root().join(FILE);
    if arguments.record {
        let mut text = String::from(
            "# Instructions of a warm build under cachegrind: written by `cargo xtask counts --record`.\n",
        );
        for (name, instructions) in &counted {
            let _ = writeln!(text, "{name} = {instructions}");
        }
        fs_err::write(&file, text)?;
        println!("counts: written to {FILE}");
        return Ok(());
    }
    let recorded: BTreeMap<String, u64> = toml::from_str(&fs_err::read_to_string(&file)?)
        .with_context(|| format!("reading {FILE}"))?;
    compare(&counted, &recorded)
}

fn compare(counted: &BTreeMap<String, u64>, recorded: &BTreeMap<String, u64>) -> Result<()> {
    let mut failed = Vec::new();
    for (name, now) in counted {
        let Some(before) = recorded.get(name) else {
            bail!("{FILE} says nothing of {name}; record it with `cargo xtask counts --record`");
        };
        let change = as_f64(*now) / as_f64(*before) - 1.0;
        println!(
            "{name:<18} {now:>12} instructions, {:+.1} %",
            change * 100.0
        );
        if change > SLACK {
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "more than {:.0} % more instructions in {}; make it cheaper, or record it with `cargo xtask counts --record` and say why",
            SLACK * 100.0,
            failed.join(", ")
        );
    }
    Ok(())
}

/// Counts the instructions of a case's command, which is run once before.
fn count(program: &Path, scratch: &Path, name: &str) -> Result<u64> {
    let mut arguments: Vec<String> = Vec::new();
    if name == "version" {
        arguments.push("--version".to_owned());
    } else {
        let store = scratch.join(format!("{name}-store"));
        arguments.extend(["build", "--quiet", "--store"].map(str::to_owned));
        arguments.push(store.display().to_string());
        arguments.push(scratch.join(name).display().to_string());
        // Twice: the second still learns that files are old enough for their times to be trusted.
        for _ in 0..2 {
            host::output(Command::new(program).args(&arguments))?;
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
    }
    let out = scratch.join("cachegrind.out");
    let run = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--quiet"])
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(program)
        .args(&arguments)
        .output()
        .context("starting valgrind")?;
    if !run.status.success() {
        bail!(
            "valgrind ended with {}\n{}",
            run.status,
            String::from_utf8_lossy(&run.stderr)
        );
    }
    total(&fs_err::read_to_string(&out)?)
        .with_context(|| format!("{} has no totals", out.display()))
}

/// Returns the sum that cachegrind writes at the end of its file.
fn total(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| {
            line.strip_prefix("totals:")
                .or_else(|| line.strip_prefix("summary:"))
        })?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn copies(folder: &Path) -> Result<()> {
    let mut text = String::from("FROM scratch AS build\n");
    for number in 0..40 {
        fs_err::write(folder.join(format!("f{number}")), format!("{number}\n"))?;
        let _ = writeln!(text, "COPY f{number} /dir/");
    }
    text.push_str("FROM scratch\nCOPY --from=build /dir /dir\n");
    fs_err::write(folder.join("Dockerfile"), text)?;
    Ok(())
}

fn files(folder: &Path) -> Result<()> {
    for number in 0..2000 {
        let inner = folder.join(format!("tree/{}", number / 100));
        fs_err::create_dir_all(&inner)?;
        fs_err::write(inner.join(format!("f{number}")), format!("{number}\n"))?;
    }
    fs_err::write(folder.join("Dockerfile"), "FROM scratch\nCOPY . /\n")?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share of a count")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("events: Ir\nfn=x\n1 2\nsummary: 1234\n"), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn more_than_the_slack_fails_and_less_does_not() {
        let of = |count| BTreeMap::from([("warm".to_owned(), count)]);
        assert!(compare(&of(1049), &of(1000)).is_ok());
        assert!(compare(&of(500), &of(1000)).is_ok());
        let error = compare(&of(1051), &of(1000)).expect_err("5.1 % is too much");
        assert!(error.to_string().contains("in warm;"), "{error}");
        assert!(compare(&of(1), &BTreeMap::new()).is_err());
    }
}

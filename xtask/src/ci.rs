//! `cargo xtask ci`: every check of a change, in the order in which they are cheap.

use std::time::Instant;

use anyhow::Result;

use crate::{bindings, codegen, counts, host, licences, test, tidy};

/// Options of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct CiArguments {
    /// Leave the tests out: format, lints, tidy, deny and docs only
    #[arg(long)]
    no_tests: bool,
}

type Check = (&'static str, fn() -> Result<()>);

/// Runs the checks one after the other, stops at the first that fails, and prints their times.
pub(crate) fn run(arguments: &CiArguments) -> Result<()> {
    let mut checks: Vec<Check> = vec![
        ("fmt", fmt),
        ("tidy", tidy::run),
        ("codegen", codegen::check),
        ("deny", licences::run),
        ("clippy", clippy),
        ("docs", docs),
    ];
    if !arguments.no_tests {
        checks.push(("test", tests));
        checks.push(("counts", instruction_counts));
        checks.push(("bindings", packages));
    }
    let mut times = Vec::new();
    for (name, check) in checks {
        println!("== {name}");
        let started = Instant::now();
        check()?;
        times.push(format!("{name} {:.0} s", started.elapsed().as_secs_f64()));
    }
    println!("ci: all checks passed: {}", times.join(", "));
    Ok(())
}

fn instruction_counts() -> Result<()> {
    counts::run(&counts::CountsArguments::default())
}

fn fmt() -> Result<()> {
    host::run(host::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    // The bridge of the C++ package is compiled to be checked.
    host::install_missing(&[host::Tool {
        program: "g++",
        package: "g++",
    }])?;
    host::run(host::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Result<()> {
    host::run(
        host::cargo()
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn tests() -> Result<()> {
    test::run(&test::TestArguments::default())
}

fn packages() -> Result<()> {
    bindings::run(&bindings::BindingsArguments::default())
}

//! `stagewright parse` and `stagewright check`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::arguments::ParseArguments;
use crate::failure::Failure;

/// Prints the file's instructions as JSON, or what is wrong with it.
pub(crate) fn run(arguments: &ParseArguments) -> Result<(), Failure> {
    let (name, bytes) = read(&arguments.file)?;
    let parsed = stagewright::parse_dockerfile(&name, &bytes)?;
    println!("{parsed:#}");
    Ok(())
}

/// Prints what the build checks find. Findings fail the command only where the file asks for it.
pub(crate) fn check(arguments: &ParseArguments) -> Result<ExitCode, Failure> {
    let (name, bytes) = read(&arguments.file)?;
    let report = stagewright::check_dockerfile(&name, &bytes)?;
    for finding in &report.findings {
        println!("{finding}");
    }
    if report.findings.is_empty() {
        println!("no findings");
    }
    Ok(match report.failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn read(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    if file != Path::new("-") {
        return Ok((file.display().to_string(), fs_err::read(file)?));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .context("reading standard input")?;
    Ok(("Dockerfile".to_owned(), bytes))
}

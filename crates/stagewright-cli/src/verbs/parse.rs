//! `stagewright parse`.

use std::io::Read;
use std::path::Path;

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

//! Runs every rule and prints what was found.

use anyhow::{Context, Result, bail};

use super::source::{Finding, SourceFile, read_tree};
use super::{arrows, entry_files, links, names, size, texts, tokens};
use crate::host;

/// Checks the working tree; fails with a count when a rule is broken.
pub(crate) fn run() -> Result<()> {
    let files = read_tree()?;
    let mut findings = check_files(&files);
    findings.extend(links::check(&files));
    findings.extend(check_arrows(&files)?);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", files.len());
        return Ok(());
    }
    bail!("tidy found {} thing(s) to mend", findings.len())
}

fn check_files(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(size::check(file));
        findings.extend(texts::check_hosts(file));
        if file.is_rust() {
            findings.extend(names::check(file));
            findings.extend(entry_files::check(file));
            findings.extend(tokens::check(file));
        }
    }
    findings
}

fn check_arrows(files: &[SourceFile]) -> Result<Vec<Finding>> {
    let architecture = files
        .iter()
        .find(|file| file.path == "ARCHITECTURE.md")
        .context("there is no ARCHITECTURE.md at the root")?;
    let metadata = host::output(host::cargo().args([
        "metadata",
        "--no-deps",
        "--format-version=1",
        "--offline",
    ]))?;
    let packages = arrows::parse_metadata(&metadata)?;
    Ok(arrows::check(&architecture.text, &packages))
}

//! `stagewright doctor`.

use std::process::ExitCode;

use stagewright::{Builder, Mode};

use crate::failure::Failure;

/// Says how steps run on this machine and why; fails when they can't.
pub(crate) fn run(builder: &Builder) -> Result<ExitCode, Failure> {
    let report = builder.host_report()?;
    println!("mode: {} ({})", report.mode, report.reason);
    for finding in &report.findings {
        let mark = if finding.works { "ok" } else { "no" };
        println!("  {mark}  {}: {}", finding.name, finding.detail);
    }
    Ok(match report.mode {
        Mode::None => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

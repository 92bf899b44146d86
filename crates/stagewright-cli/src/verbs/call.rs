//! `stagewright build --call`: what a Dockerfile is told to say of itself, without building.

use std::process::ExitCode;

use serde_json::Value;
use stagewright::{
    BuildRequest, Builder, CheckFinding, CheckReport, Outline, OutlineMount, Targets, json,
};

use super::table::table;
use crate::arguments::{CallArgument, CallMethod};
use crate::failure::Failure;

/// Prints what was asked for. Findings make the command end with 1.
pub(crate) fn run(
    builder: &Builder,
    call: CallArgument,
    request: BuildRequest,
) -> Result<ExitCode, Failure> {
    let print = |json: Value, text: String| match call.json {
        true => println!("{json:#}"),
        false => print!("{text}"),
    };
    match call.method {
        CallMethod::Build => {}
        CallMethod::Check => {
            let report = builder.check(request)?;
            print(json::check_report(&report), checked(&report));
            if !report.findings.is_empty() && !call.ignore_status {
                return Ok(ExitCode::FAILURE);
            }
        }
        CallMethod::Outline => {
            let outline = builder.outline(request)?;
            print(json::outline(&outline), outlined(&outline));
        }
        CallMethod::Targets => {
            let targets = builder.targets(request)?;
            print(json::targets(&targets), listed(&targets));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn checked(report: &CheckReport) -> String {
    let count = match report.findings.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "1 warning has been found!".to_owned(),
        count => format!("{count} warnings have been found!"),
    };
    let mut findings: Vec<&CheckFinding> = report.findings.iter().collect();
    findings.sort_by(|one, other| (&one.rule, one.line).cmp(&(&other.rule, other.line)));
    let drawn = findings
        .into_iter()
        .map(|finding| format!("\nWARNING: {} - {}\n{finding}\n", finding.rule, finding.url));
    format!("Check complete, {count}\n{}", drawn.collect::<String>())
}

fn outlined(outline: &Outline) -> String {
    let mut text = String::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.as_deref().unwrap_or("(default)");
        text.push_str(&format!("TARGET:      {name}\n"));
        if let Some(description) = &outline.description {
            text.push_str(&format!("DESCRIPTION: {description}\n"));
        }
        text.push('\n');
    }
    if !outline.args.is_empty() {
        let rows: Vec<Vec<String>> = outline
            .args
            .iter()
            .map(|arg| {
                let value = arg.value.clone().unwrap_or_default();
                let description = arg.description.clone().unwrap_or_default();
                vec![arg.name.clone(), value, description]
            })
            .collect();
        let head = ["BUILD ARG", "VALUE", "DESCRIPTION"];
        text.push_str(&table(&head, &[false; 3], &rows));
        text.push('\n');
    }
    for (head, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        text.push_str(&mounted(head, mounts));
    }
    text
}

fn mounted(head: &str, mounts: &[OutlineMount]) -> String {
    if mounts.is_empty() {
        return String::new();
    }
    let required = |mount: &OutlineMount| if mount.required { "true" } else { "" };
    let rows: Vec<Vec<String>> = mounts
        .iter()
        .map(|mount| vec![mount.name.clone(), required(mount).to_owned()])
        .collect();
    table(&[head, "REQUIRED"], &[false; 2], &rows) + "\n"
}

fn listed(targets: &Targets) -> String {
    let rows: Vec<Vec<String>> = targets
        .targets
        .iter()
        .map(|target| {
            let name = match (&target.name, target.is_default) {
                (Some(name), true) => format!("{name} (default)"),
                (Some(name), false) => name.clone(),
                (None, true) => "(default)".to_owned(),
                (None, false) => String::new(),
            };
            vec![name, target.description.clone().unwrap_or_default()]
        })
        .collect();
    table(&["TARGET", "DESCRIPTION"], &[false; 2], &rows)
}

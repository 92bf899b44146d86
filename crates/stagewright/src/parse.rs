//! Looking at a Dockerfile without building it.

use std::fmt;

use serde::Serialize;
use stagewright_dockerfile::checks::{self, CheckContext};
use stagewright_dockerfile::{Diagnostic, Dockerfile};

use crate::error::Error;
use crate::failure;
use crate::input::Source;

/// Parses a Dockerfile and returns its instructions with their places, as JSON.
///
/// # Errors
/// [`crate::ErrorKind::Dockerfile`] with a drawing of the place when it is wrong.
pub fn parse_dockerfile(name: &str, bytes: &[u8]) -> Result<serde_json::Value, Error> {
    let source = Source {
        name: name.to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let dockerfile = Dockerfile::parse(bytes).map_err(|error| failure::of_parse(error, &source))?;
    serde_json::to_value(&dockerfile)
        .map_err(|error| Error::new(crate::ErrorKind::Internal, error.to_string()))
}

/// What the build checks found in a Dockerfile.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The findings, in the order of the file.
    pub findings: Vec<CheckFinding>,
    /// The file asks with `# check=error=true` that findings fail the build, and there are some.
    pub failed: bool,
}

/// Something in a Dockerfile that better were otherwise.
#[derive(Debug, Clone, Serialize)]
pub struct CheckFinding {
    /// The name of the check, as `# check=skip=` takes it.
    pub rule: String,
    /// What the check is about.
    pub description: String,
    /// What was found.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The message with a drawing of the place.
    pub drawing: String,
}

impl fmt::Display for CheckFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.drawing)
    }
}

/// Runs BuildKit's build checks on a Dockerfile.
///
/// Checks that must know the base images or the build context (`UndefinedVar` in a stage that is
/// not based on `scratch`, `InvalidBaseImagePlatform`, `CopyIgnoredFile`) find nothing here.
///
/// # Errors
/// [`crate::ErrorKind::Dockerfile`] when the file or its `# check=` is wrong.
pub fn check_dockerfile(name: &str, bytes: &[u8]) -> Result<CheckReport, Error> {
    let source = Source {
        name: name.to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let dockerfile = Dockerfile::parse(bytes).map_err(|error| failure::of_parse(error, &source))?;
    let report = checks::check(&dockerfile, &CheckContext::default())
        .map_err(|message| Error::new(crate::ErrorKind::Dockerfile, message))?;
    let finding = |finding: checks::Finding| {
        let message = format!("{}: {}", finding.rule.name(), finding.message);
        let diagnostic = Diagnostic {
            file: &source.name,
            source: &source.text,
            span: finding.span,
            message: &message,
            help: finding.help.as_deref(),
        };
        CheckFinding {
            rule: finding.rule.name(),
            description: finding.rule.description().to_owned(),
            drawing: diagnostic.to_string(),
            line: finding.span.start.line,
            column: finding.span.start.column,
            message: finding.message,
            help: finding.help,
        }
    };
    Ok(CheckReport {
        findings: report.findings.into_iter().map(finding).collect(),
        failed: report.failed,
    })
}

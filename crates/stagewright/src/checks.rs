//! Build checks: of a file alone, and of a build with all that it knows.

use std::collections::BTreeSet;

use serde::Serialize;
use stagewright_context::Patterns;
use stagewright_dockerfile::checks::{self, BasePlatform, CheckContext};
use stagewright_dockerfile::{Diagnostic, Dockerfile};
use stagewright_plan::{StageBase, StageInfo};
use stagewright_solver::CheckFinding;

use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::input::{Input, Source};
use crate::job;
use crate::request::BuildRequest;

/// The build argument that takes the place of `# check=`.
const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the build checks found in a Dockerfile.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// The findings, in the order of the file.
    pub findings: Vec<CheckFinding>,
    /// The file asks with `# check=error=true` that findings fail the build, and there are some.
    pub failed: bool,
    /// What the Dockerfile is called.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Runs BuildKit's build checks on a Dockerfile.
///
/// Checks that must know the base images or the build context (`UndefinedVar` in a stage that is
/// not based on `scratch`, `InvalidBaseImagePlatform`, `CopyIgnoredFile`) find nothing here:
/// [`Builder::check`] runs these too.
///
/// # Errors
/// [`crate::ErrorKind::Dockerfile`] when the file or its `# check=` is wrong.
pub fn check_dockerfile(name: &str, bytes: &[u8]) -> Result<CheckReport, Error> {
    let source = Source {
        name: name.to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let dockerfile = Dockerfile::parse(bytes).map_err(|error| failure::of_parse(error, &source))?;
    report(&source, &dockerfile, &CheckContext::default())
}

impl Builder {
    /// Runs all build checks on what a request would build; without a target, on all stages. Base
    /// images are resolved, nothing is built. Blocks.
    ///
    /// # Errors
    /// What a build would fail with before it runs a step.
    pub fn check(&self, request: BuildRequest) -> Result<CheckReport, Error> {
        self.ask(|builder| job::check(builder, request))
    }
}

/// Runs the checks with what a build knows. `stages` are those that are built.
pub(crate) fn check_input(
    input: &Input,
    request: &BuildRequest,
    stages: &[StageInfo],
) -> Result<CheckReport, Error> {
    let dockerfile = &input.dockerfile;
    let base = |image: &str| -> Option<&StageBase> {
        let is_of = |stage: &&StageInfo| {
            let stage = dockerfile.stages.get(stage.index);
            stage.is_some_and(|stage| stage.from.image == image)
        };
        stages.iter().find(is_of)?.base.as_ref()
    };
    let env = |image: &str| -> Option<BTreeSet<String>> { Some(base(image)?.env.clone()) };
    let platform = |image: &str| {
        let base = base(image)?;
        let differs = !base.expected.matches(&base.actual);
        differs.then(|| BasePlatform {
            expected: base.expected.to_string(),
            actual: base.actual.to_string(),
        })
    };
    // As in BuildKit: where something below is taken back in, nothing is said.
    let ignore: Option<&Patterns> = input.ignore.as_ref();
    let is_ignored = |path: &str| {
        let path = path.as_bytes();
        ignore.is_some_and(|ignore| ignore.matches(path) && !ignore.may_reinclude_below(path))
    };
    let is_built = |index: usize| stages.iter().any(|stage| stage.index == index);
    let options = request
        .build_args
        .iter()
        .rfind(|(name, _)| name == CHECK_ARG);
    let context = CheckContext {
        options: options.map(|(_, value)| value.as_str()),
        base_env: Some(&env),
        base_platform: Some(&platform),
        is_built: Some(&is_built),
        is_ignored: Some(&is_ignored),
    };
    report(&input.source, dockerfile, &context)
}

/// Says which rules made a report fail.
pub(crate) fn violated(report: &CheckReport) -> String {
    let mut rules: Vec<&str> = Vec::new();
    for finding in &report.findings {
        if !rules.contains(&finding.rule.as_str()) {
            rules.push(&finding.rule);
        }
    }
    format!("lint violation found for rules: {}", rules.join(", "))
}

/// Returns the error that a build ends with when findings are to fail it.
pub(crate) fn violation(report: &CheckReport) -> Error {
    let message = violated(report);
    let drawings = report.findings.iter().map(ToString::to_string);
    Error {
        drawing: Some(drawings.collect::<Vec<_>>().join("\n")),
        help: Some("mend them, or let them pass with # check=skip=… or error=false".to_owned()),
        ..Error::new(ErrorKind::Dockerfile, message)
    }
}

fn report(
    source: &Source,
    dockerfile: &Dockerfile,
    context: &CheckContext<'_>,
) -> Result<CheckReport, Error> {
    let report = checks::check(dockerfile, context)
        .map_err(|message| Error::new(ErrorKind::Dockerfile, message))?;
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
            url: finding.rule.url(),
            drawing: diagnostic.to_string(),
            line: finding.span.start.line,
            end_line: finding.span.end.line,
            column: finding.span.start.column,
            message: finding.message,
            help: finding.help,
        }
    };
    Ok(CheckReport {
        findings: report.findings.into_iter().map(finding).collect(),
        failed: report.failed,
        file: source.name.clone(),
        text: source.text.clone(),
    })
}

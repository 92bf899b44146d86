use std::collections::BTreeSet;

use serde::Serialize;

use super::{CheckConfig, Rule, instructions, stages};
use crate::ast::Dockerfile;
use crate::span::Span;

/// Something that better were otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub rule: Rule,
    /// Where.
    pub span: Span,
    /// What was found, in one line.
    pub message: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
}

/// What the checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings, in the order of the file.
    pub findings: Vec<Finding>,
    /// `error=true` was asked for and there are findings: the build is to fail.
    pub failed: bool,
}

/// The platform that a base image has, where another one was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePlatform {
    /// The platform that was asked for.
    pub expected: String,
    /// The platform that the image has.
    pub actual: String,
}

/// Finds what a base image is like; nothing if it is not known.
pub type OfBase<'a, T> = dyn Fn(&str) -> Option<T> + 'a;

/// What the checks must be told, because it does not stand in the file. Without it the checks that
/// need it find nothing.
#[derive(Clone, Copy, Default)]
pub struct CheckContext<'a> {
    /// `BUILDKIT_DOCKERFILE_CHECK`, which takes the place of `# check=`.
    pub options: Option<&'a str>,
    /// The names of the variables that a base image sets; nothing if it is not known.
    pub base_env: Option<&'a OfBase<'a, BTreeSet<String>>>,
    /// The platforms of a base image, if they differ.
    pub base_platform: Option<&'a OfBase<'a, BasePlatform>>,
    /// Whether a stage, by its place, is built. Most instructions of the others are not checked;
    /// without it all are.
    pub is_built: Option<&'a dyn Fn(usize) -> bool>,
    /// Whether `.dockerignore` leaves a path of the build context out.
    pub is_ignored: Option<&'a dyn Fn(&str) -> bool>,
}

/// Runs the checks.
///
/// # Errors
/// What is wrong with `# check=`, in one line.
pub fn check(dockerfile: &Dockerfile, context: &CheckContext<'_>) -> Result<Report, String> {
    let options = context.options.or(dockerfile.directives.check.as_deref());
    let config = CheckConfig::parse(options.unwrap_or_default())?;
    let mut findings = Findings {
        config: config.clone(),
        found: Vec::new(),
    };
    stages::check(dockerfile, context, &mut findings);
    instructions::check(dockerfile, context, &mut findings);
    let mut found = findings.found;
    found.sort_by_key(|finding| (finding.span.start, finding.rule));
    found.dedup();
    Ok(Report {
        failed: config.error && !found.is_empty(),
        findings: found,
    })
}

/// The findings so far, and which checks run.
pub(super) struct Findings {
    config: CheckConfig,
    found: Vec<Finding>,
}

/// Where something was found: a place and the comments above the instruction.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) span: Span,
    pub(super) comments: &'a [String],
}

impl Findings {
    pub(super) fn add(&mut self, rule: Rule, at: At<'_>, message: String, help: Option<String>) {
        if self.config.with_comments(at.comments).runs(rule) {
            self.found.push(Finding {
                rule,
                span: at.span,
                message,
                help,
            });
        }
    }
}

//! Expanding words with variables.

use std::collections::BTreeSet;

use stagewright_dockerfile::expand::{ExpandError, Expander};
use stagewright_dockerfile::{Dockerfile, Span, Stage};
use stagewright_oci::Platform;

use super::args::{Variables, platform_args};
use crate::error::LowerError;
use crate::request::LowerOptions;

/// Expands words of one Dockerfile.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    escape: char,
}

impl Words {
    pub(crate) fn new(escape: char) -> Self {
        Self { escape }
    }

    /// Expands one word.
    pub(crate) fn expand(
        &self,
        word: &str,
        variables: &Variables,
        span: Span,
    ) -> Result<String, LowerError> {
        let lookup = |name: &str| variables.get(name).map(String::as_str);
        Expander::new(self.escape)
            .word(word, &lookup)
            .map(|expanded| expanded.text)
            .map_err(|error: ExpandError| LowerError::at(span, error.to_string()))
    }

    /// Returns the variables of a word that have no value.
    pub(crate) fn unset(&self, word: &str, variables: &Variables) -> BTreeSet<String> {
        let lookup = |name: &str| variables.get(name).map(String::as_str);
        let expanded = Expander::new(self.escape).word(word, &lookup);
        expanded.map(|expanded| expanded.unset).unwrap_or_default()
    }

    /// Expands a text and leaves its quotes as they are: the body of a heredoc.
    pub(crate) fn expand_raw(
        &self,
        text: &str,
        variables: &Variables,
        span: Span,
    ) -> Result<String, LowerError> {
        let lookup = |name: &str| variables.get(name).map(String::as_str);
        Expander::new('\\')
            .text(text, &lookup)
            .map(|expanded| expanded.text)
            .map_err(|error: ExpandError| LowerError::at(span, error.to_string()))
    }

    /// Evaluates the platform of a stage's `FROM`.
    pub(crate) fn platform(
        &self,
        stage: &Stage,
        globals: &Variables,
    ) -> Result<Option<Platform>, LowerError> {
        let Some(text) = &stage.from.platform else {
            return Ok(None);
        };
        let expanded = self.expand(text, globals, stage.span)?;
        if expanded.is_empty() {
            let message = format!("empty platform value from expression {text}");
            let error = LowerError::at(stage.span, message);
            return Err(error.help("did you mean TARGETPLATFORM or BUILDPLATFORM?"));
        }
        let parsed = expanded.parse();
        let parsed = parsed.map_err(|error| LowerError::at(stage.span, format!("{error}")))?;
        Ok(Some(parsed))
    }

    /// Evaluates the arguments before the first `FROM`.
    pub(crate) fn globals(
        &self,
        dockerfile: &Dockerfile,
        options: &LowerOptions,
    ) -> Result<Variables, LowerError> {
        let mut globals = platform_args(options, dockerfile);
        for spanned in &dockerfile.global_args {
            for arg in &spanned.instruction.args {
                let value = match (options.build_args.get(&arg.name), &arg.default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => Some(self.expand(default, &globals, spanned.span)?),
                    (None, None) => None,
                };
                if let Some(value) = value {
                    globals.insert(arg.name.clone(), value);
                }
            }
        }
        Ok(globals)
    }
}

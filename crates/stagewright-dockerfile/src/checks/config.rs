use std::collections::BTreeSet;

use crate::directives;

/// Which checks run, and whether findings fail the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckConfig {
    /// Skip all checks that are not experimental.
    pub skip_all: bool,
    /// Skip the checks of these names.
    pub skip: BTreeSet<String>,
    /// Run all experimental checks.
    pub experimental_all: bool,
    /// Run the experimental checks of these names.
    pub experimental: BTreeSet<String>,
    /// Findings fail the build.
    pub error: bool,
}

impl CheckConfig {
    /// Parses what `# check=` and the build argument `BUILDKIT_DOCKERFILE_CHECK` hold:
    /// `skip=A,B`, `experimental=A,B` (each also `all`) and `error=true`, with `;` between them.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        if text.trim().is_empty() {
            return Ok(config);
        }
        for part in text.splitn(3, ';') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("invalid check option {:?}", part.trim()))?;
            // What follows a blank is said to people.
            let first = |text: &str| {
                text.split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            let names = || value.split(',').map(first).collect();
            let own = first(value);
            let value = if value.contains(',') { value } else { &own };
            match key.trim() {
                "skip" if value == "all" => config.skip_all = true,
                "skip" => config.skip = names(),
                "experimental" if value == "all" => config.experimental_all = true,
                "experimental" => config.experimental = names(),
                "error" => {
                    config.error = match value {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(format!("check option error={value:?} is true or false")),
                    }
                }
                key => return Err(format!("invalid check option {key:?}")),
            }
        }
        Ok(config)
    }

    /// Returns the configuration for an instruction with these comments above it. The first
    /// `# check=` among them counts; one that says nothing sensible changes nothing.
    pub(super) fn with_comments(&self, comments: &[String]) -> Self {
        let mut merged = self.clone();
        let found = comments.iter().find_map(|comment| {
            let (key, value) = directives::key_value(comment)?;
            key.eq_ignore_ascii_case("check").then_some(value)
        });
        if let Some(Ok(own)) = found.map(Self::parse) {
            merged.skip_all |= own.skip_all;
            merged.skip.extend(own.skip);
            merged.experimental_all |= own.experimental_all;
            merged.experimental.extend(own.experimental);
        }
        merged
    }

    /// Returns whether a check runs.
    pub(super) fn runs(&self, rule: super::Rule) -> bool {
        let name = rule.name();
        if rule.is_experimental() {
            return self.experimental_all || self.experimental.contains(&name);
        }
        !self.skip_all && !self.skip.contains(&name)
    }
}

//! A list of rules, and what they say about a path.

use super::clean;
use super::ignore_file::{self, IgnoreFileError};
use super::rule::Rule;
use crate::glob::{BadPattern, bad_pattern};

/// A list of ignore rules; the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    rules: Vec<Rule>,
    has_exceptions: bool,
    /// Whether every `!` rule names a plain path, so that whole folders can be passed over.
    has_plain_exceptions: bool,
}

/// Which rules matched a folder: what its entries need to know of it.
///
/// The value for the root is [`Default::default`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchState {
    matched: Option<Box<[u64]>>,
}

impl MatchState {
    fn has(&self, index: usize) -> bool {
        self.matched
            .as_ref()
            .is_some_and(|words| words[index / 64] >> (index % 64) & 1 == 1)
    }
}

impl Patterns {
    /// Reads the text of a `.dockerignore` file.
    pub fn parse(text: &str) -> Result<Self, IgnoreFileError> {
        let mut patterns = Self::default();
        for (line, rule) in ignore_file::lines(text) {
            if rule == "!" {
                return Err(IgnoreFileError::EmptyException { line });
            }
            patterns
                .push(&rule, Some(line))
                .map_err(|source| IgnoreFileError::BadPattern { line, source })?;
        }
        Ok(patterns)
    }

    /// Compiles a list of patterns, such as the values of `--exclude`; empty ones are dropped.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut compiled = Self::default();
        for pattern in patterns {
            compiled.push(pattern, None)?;
        }
        Ok(compiled)
    }

    fn push(&mut self, pattern: &str, line: Option<usize>) -> Result<(), BadPattern> {
        let trimmed = pattern.trim();
        if trimmed.is_empty() {
            return Ok(());
        }
        let cleaned = clean(trimmed);
        let (text, exception) = match cleaned.strip_prefix('!') {
            Some("") => {
                let why = "`!` re-includes nothing; write the pattern to re-include after it";
                return Err(bad_pattern(pattern, why));
            }
            Some(rest) => (rest, true),
            None => (cleaned.as_str(), false),
        };
        let rule = Rule::new(text, exception, line)?;
        if exception {
            self.has_plain_exceptions =
                rule.has_plain_stem() && (self.has_plain_exceptions || !self.has_exceptions);
            self.has_exceptions = true;
        }
        self.rules.push(rule);
        Ok(())
    }

    /// Tells whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Tells whether a rule re-includes.
    pub fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Tells whether a path is excluded, itself or by a folder above it, looking at every rule and
    /// every parent. The path is relative, clean and slash-separated.
    ///
    /// A walk asks [`Patterns::matches_below`] instead, which decides what a context holds; the two
    /// differ where an exception covers a folder that no rule had excluded.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.deciding_rule(path).is_some_and(|rule| !rule.exception)
    }

    /// Returns the rule that excludes a path, as text and with its line in the ignore file.
    pub fn excluding_rule(&self, path: &[u8]) -> Option<(&str, Option<usize>)> {
        let rule = self.deciding_rule(path)?;
        (!rule.exception).then_some((rule.text.as_str(), rule.line))
    }

    fn deciding_rule(&self, path: &[u8]) -> Option<&Rule> {
        let mut decided: Option<&Rule> = None;
        for rule in &self.rules {
            let matched = decided.is_some_and(|rule| !rule.exception);
            if rule.exception == matched && covers(rule, path) {
                decided = Some(rule);
            }
        }
        decided
    }

    /// Tells whether an entry of a folder is excluded, given what was found for the folder, and
    /// returns what the entry's own entries need to know.
    pub fn matches_below(&self, parent: &MatchState, path: &[u8]) -> (bool, MatchState) {
        let mut matched = false;
        let mut words = vec![0_u64; self.rules.len().div_ceil(64)];
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parent.has(index);
            if inherited || (rule.exception == matched && rule.matches(path)) {
                words[index / 64] |= 1 << (index % 64);
                matched = !rule.exception;
            }
        }
        let state = MatchState {
            matched: Some(words.into_boxed_slice()),
        };
        (matched, state)
    }

    /// Tells whether anything below an excluded folder could be re-included.
    pub fn may_reinclude_below(&self, folder: &[u8]) -> bool {
        self.has_exceptions
            && (!self.has_plain_exceptions
                || self
                    .rules
                    .iter()
                    .any(|rule| rule.exception && is_above(folder, rule.stem().as_bytes())))
    }
}

fn covers(rule: &Rule, path: &[u8]) -> bool {
    rule.matches(path)
        || path
            .iter()
            .enumerate()
            .any(|(at, byte)| *byte == b'/' && at > 0 && rule.matches(&path[..at]))
}

/// Tells whether `folder` is `path` or one of the folders above it.
fn is_above(folder: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests;

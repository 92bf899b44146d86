//! The text of a `.dockerignore` file.

use thiserror::Error;

use super::clean;
use crate::glob::BadPattern;

/// A line of an ignore file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IgnoreFileError {
    /// A rule is not a pattern.
    #[error("line {line}: {source}")]
    BadPattern {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: BadPattern,
    },
    /// A line is an exclamation mark and nothing else.
    #[error("line {line}: `!` re-includes nothing; write the pattern to re-include after it")]
    EmptyException {
        /// The line, counted from 1.
        line: usize,
    },
}

/// Returns the rules of an ignore file with their line numbers.
///
/// A byte order mark is dropped, a line with `#` in its first column is a comment, white space
/// around a rule goes, the path is cleaned, and one leading slash goes.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(index, line)| Some((index + 1, rule_text(line)?)))
}

fn rule_text(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (sign, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if pattern.is_empty() {
        return Some(sign.to_owned());
    }
    let cleaned = clean(pattern);
    let relative = match cleaned.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => &cleaned,
    };
    Some(format!("{sign}{relative}"))
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_become_rules() {
        let text = "\u{feff}test1\n/test2\n/a/file/here\r\n\nlastfile\n# a comment\n #not one\n\
                    ! /inverted/abs/path\n!\n! \n a/../b/ \n/\n./x\n!\t y\n";
        let rules: Vec<(usize, String)> = lines(text).collect();
        let expected = [
            (1, "test1"),
            (2, "test2"),
            (3, "a/file/here"),
            (5, "lastfile"),
            (7, "#not one"),
            (8, "!inverted/abs/path"),
            (9, "!"),
            (10, "!"),
            (11, "b"),
            (12, "/"),
            (13, "x"),
            (14, "!y"),
        ];
        assert_eq!(rules.len(), expected.len(), "{rules:?}");
        for ((line, rule), wanted) in rules.iter().zip(expected) {
            assert_eq!((*line, rule.as_str()), wanted);
        }
    }
}

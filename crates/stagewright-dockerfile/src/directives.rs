//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of a file.

use serde::Serialize;

use crate::error::ParseError;
use crate::span::Span;

/// The parser directives of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directives {
    /// `syntax`: the frontend image that the file asks for. It is told and not used: the language
    /// is built in.
    pub syntax: Option<String>,
    /// `escape`: a backslash, or a backtick.
    pub escape: char,
    /// `check`: which build checks to skip, and whether findings are errors.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            syntax: None,
            escape: '\\',
            check: None,
        }
    }
}

impl Directives {
    /// Reads the directives. They must be the first lines; anything else ends them. Returns them
    /// and the number of the last line that is one.
    pub(crate) fn parse(text: &str) -> Result<(Self, u32), ParseError> {
        let mut directives = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let mut last = 0;
        for (index, line) in text.lines().enumerate() {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            // A first line for the shell may stand above them.
            if index == 0 && line.starts_with("#!") {
                continue;
            }
            let Some((key, value)) = directive(line) else {
                break;
            };
            let span = Span::on_line(number, 1, count(line) + 1);
            let key = key.to_lowercase();
            if !["syntax", "escape", "check"].contains(&key.as_str()) {
                break;
            }
            if seen.contains(&key) {
                let message = format!("only one {key} parser directive can be used");
                return Err(ParseError::new(span, message));
            }
            match key.as_str() {
                "syntax" => {
                    directives.syntax = value.split_whitespace().next().map(str::to_owned);
                }
                "escape" => directives.escape = escape(value, span)?,
                _ => directives.check = Some(value.to_owned()),
            }
            seen.push(key);
            last = number;
        }
        Ok((directives, last))
    }
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

fn escape(value: &str, span: Span) -> Result<char, ParseError> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        _ => Err(
            ParseError::new(span, format!("invalid escape token {value:?}"))
                .help("it must be a backslash or a backtick"),
        ),
    }
}

/// Splits `# key = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    key_value(line.strip_prefix('#')?)
}

/// Splits `key = value`, what stands behind the `#`.
pub(crate) fn key_value(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let mut chars = key.chars();
    let named =
        chars.next()?.is_ascii_alphabetic() && chars.all(|char| char.is_ascii_alphanumeric());
    (named && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, syntax: Option<&str>, escape: char) {
        let (directives, _) = Directives::parse(text).unwrap();
        assert_eq!(
            (directives.syntax.as_deref(), directives.escape),
            (syntax, escape),
            "{text:?}"
        );
    }

    #[test]
    fn directives_are_the_first_lines() {
        check("FROM a", None, '\\');
        check(
            "# syntax=docker/dockerfile:1 x\n# escape=`\nFROM a",
            Some("docker/dockerfile:1"),
            '`',
        );
        check("#ESCAPE = `\r\nFROM a", None, '`');
        check("# a comment\n# escape=`\nFROM a", None, '\\');
        check("\n# escape=`\nFROM a", None, '\\');
        check("# unknown=x\n# escape=`\nFROM a", None, '\\');
        check("#!/usr/bin/env x\n# escape=`\nFROM a", None, '`');
        assert!(Directives::parse("# escape=x\n").is_err());
        assert!(Directives::parse("# escape=`\n# escape=`\n").is_err());
    }
}

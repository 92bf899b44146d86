//! Flags of an instruction: `--name=value` directly after the keyword.

use std::borrow::Cow;

use crate::error::{ParseError, suggestion};
use crate::logical_line::LogicalLine;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagKind {
    /// A value, once.
    Value,
    /// A value, any number of times.
    List,
    /// `true` or `false`; `true` without a value.
    Bool,
}

/// The flags that an instruction has.
#[derive(Debug, Default)]
pub(crate) struct Flags<'k> {
    found: Vec<(&'k str, String)>,
}

/// Reads one flag: without its quotes, and what the backslash escapes without that.
pub(crate) fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let plain = text
        .find(|char: char| char.is_whitespace() || matches!(char, '\'' | '"' | '\\'))
        .unwrap_or(text.len());
    let mut chars = text[plain..].char_indices().peekable();
    if chars.peek().is_none_or(|(_, char)| char.is_whitespace()) {
        return (Cow::Borrowed(&text[..plain]), &text[plain..]);
    }
    let mut flag = text[..plain].to_owned();
    let mut quote = None;
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (None, char) if char.is_whitespace() => return (flag.into(), &text[plain + at..]),
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            (_, '\\') => flag.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => flag.push(char),
        }
    }
    (flag.into(), "")
}

impl<'k> Flags<'k> {
    /// Cuts the flags off the front of an instruction's arguments.
    pub(crate) fn cut<'a>(
        line: &LogicalLine,
        mut rest: &'a str,
        known: &[(&'k str, FlagKind)],
    ) -> Result<(Self, &'a str), ParseError> {
        let mut flags = Self::default();
        loop {
            rest = rest.trim_start();
            if !rest.starts_with("--") {
                return Ok((flags, rest));
            }
            let (flag, after) = unquote(rest);
            if flag == "--" {
                return Ok((flags, after.trim_start()));
            }
            flags.add(line, &flag, known)?;
            rest = after;
        }
    }

    fn add(
        &mut self,
        line: &LogicalLine,
        flag: &str,
        known: &[(&'k str, FlagKind)],
    ) -> Result<(), ParseError> {
        let fail = |message: String| ParseError::new(line.span_of_word(flag), message);
        let (name, value) = match flag[2..].split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&flag[2..], None),
        };
        let Some((name, kind)) = known.iter().find(|(known, _)| *known == name).copied() else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let error = fail(format!("unknown flag: --{name}"));
            return Err(match suggestion(name, &names) {
                Some(near) => error.help(format!("did you mean --{near}?")),
                None if names.is_empty() => error.help("this instruction takes no flags"),
                None => error.help(format!("known flags are --{}", names.join(", --"))),
            });
        };
        if kind != FlagKind::List && self.found.iter().any(|(found, _)| *found == name) {
            return Err(fail(format!("duplicate flag specified: --{name}")));
        }
        let value = match (kind, value) {
            (FlagKind::Bool, None) => "true",
            (FlagKind::Bool, Some(value)) => match value.to_lowercase().as_str() {
                "true" => "true",
                "false" => "false",
                _ => {
                    return Err(fail(format!(
                        "expecting boolean value for flag --{name}, not: {value}"
                    )));
                }
            },
            (_, Some(value)) => value,
            (_, None) => {
                return Err(fail(format!("missing a value on flag: --{name}"))
                    .help(format!("write --{name}=VALUE")));
            }
        };
        self.found.push((name, value.to_owned()));
        Ok(())
    }

    /// Takes the value of a flag out.
    pub(crate) fn value(&mut self, name: &str) -> Option<String> {
        let (_, value) = self.found.iter_mut().find(|(found, _)| *found == name)?;
        Some(std::mem::take(value))
    }

    /// Takes all values of a flag out.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        let values = self.found.iter_mut().filter(|(found, _)| *found == name);
        values.map(|(_, value)| std::mem::take(value)).collect()
    }

    pub(crate) fn bool(&mut self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }
}

//! Drawing a place in a Dockerfile.

use std::fmt;

use crate::error::ParseError;
use crate::span::Span;

/// A message about a place in a Dockerfile, with a drawing of the place:
///
/// ```text
/// Dockerfile:2:1: unknown instruction: RUNN
///   |
/// 2 | RUNN make
///   | ^^^^
///   = help: did you mean RUN?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic<'a> {
    /// The name of the file, as the user knows it.
    pub file: &'a str,
    /// Its text.
    pub source: &'a str,
    /// The place.
    pub span: Span,
    /// What is said of it.
    pub message: &'a str,
    /// What to do about it.
    pub help: Option<&'a str>,
}

impl<'a> Diagnostic<'a> {
    /// Makes the diagnostic of a parse error.
    pub fn of(error: &'a ParseError, file: &'a str, source: &'a str) -> Self {
        let help = error.help.as_deref();
        Self {
            file,
            source,
            span: error.span,
            message: &error.message,
            help,
        }
    }

    /// Returns the drawing alone, without the first line.
    pub fn drawing(&self) -> String {
        let start = self.span.start;
        let number = start.line.to_string();
        let margin = " ".repeat(number.len());
        let line = self
            .source
            .lines()
            .nth(start.line.saturating_sub(1) as usize)
            .unwrap_or("");
        let line = line.trim_end_matches('\r').replace('\t', " ");
        let end = if self.span.end.line == start.line {
            self.span.end.column
        } else {
            u32::try_from(line.chars().count())
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        };
        let before = " ".repeat(start.column.saturating_sub(1) as usize);
        let carets = "^".repeat(end.saturating_sub(start.column).max(1) as usize);
        let mut drawing = format!("{margin} |\n{number} | {line}\n{margin} | {before}{carets}\n");
        if let Some(help) = self.help {
            drawing += &format!("{margin} = help: {help}\n");
        }
        drawing
    }
}

impl fmt::Display for Diagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.span.start;
        writeln!(
            f,
            "{}:{}:{}: {}",
            self.file, start.line, start.column, self.message
        )?;
        f.write_str(&self.drawing())
    }
}

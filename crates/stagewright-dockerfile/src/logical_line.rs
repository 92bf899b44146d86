//! Physical lines joined into logical ones.

use crate::error::ParseError;
use crate::heredoc::{Heredoc, HeredocStart};
use crate::span::{Position, Span};

/// A longer physical line is refused, as BuildKit does (its scanner's limit).
const LINE_BYTES_MAX: usize = 65_535;

/// An instruction's text: continuation lines joined, comments inside them dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogicalLine {
    /// The joined text.
    pub(crate) text: String,
    /// Where the text begins.
    start: Position,
    /// For each stretch of the text after the first the place that it comes from:
    /// `(byte offset, position)`.
    origins: Vec<(usize, Position)>,
    /// From the first to the last character.
    pub(crate) span: Span,
    /// The comments directly above.
    pub(crate) comments: Vec<String>,
    /// The blank lines among those that were joined.
    pub(crate) blank_lines: Vec<Span>,
    /// The heredocs that it begins.
    pub(crate) heredocs: Vec<Heredoc>,
}

impl LogicalLine {
    /// Returns the same line without what stands before `rest`, its end.
    pub(crate) fn ending_with(&self, rest: &str) -> Self {
        let cut = self.text.len() - rest.len();
        let later = self.origins.iter().filter(|(start, _)| *start > cut);
        Self {
            text: rest.to_owned(),
            start: self.position(cut),
            origins: later
                .map(|(start, position)| (start - cut, *position))
                .collect(),
            ..self.clone()
        }
    }

    /// Returns the place of a byte of the joined text.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self.origins.partition_point(|(start, _)| *start <= offset);
        let (start, position) = match index {
            0 => (0, self.start),
            _ => self.origins[index - 1],
        };
        let before = self.text.get(start..offset).unwrap_or_default();
        Position {
            line: position.line,
            column: position.column + count(before),
        }
    }

    /// Returns the place of a stretch of the joined text.
    pub(crate) fn span_of(&self, start: usize, end: usize) -> Span {
        let start = self.position(start);
        // The last character may take several bytes.
        let end = self.position(self.text.floor_char_boundary(end.max(1) - 1));
        Span {
            start,
            end: Position {
                line: end.line,
                column: end.column + 1,
            },
        }
    }

    /// Returns the place of a word that is a slice of the joined text, else of the whole line.
    pub(crate) fn span_of_word(&self, word: &str) -> Span {
        match self.text.find(word) {
            Some(start) if !word.is_empty() => self.span_of(start, start + word.len()),
            _ => self.span,
        }
    }
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// Finds the logical lines of a Dockerfile one after the other. None follows an error.
pub(crate) struct LogicalLines<'a> {
    lines: Lines<'a>,
    escape: char,
    /// Lines up to this one are directives, and no comments on what follows them.
    directives: u32,
    comments: Vec<String>,
}

impl<'a> LogicalLines<'a> {
    pub(crate) fn new(text: &'a str, escape: char, directives: u32) -> Self {
        Self {
            lines: Lines {
                rest: text,
                number: 0,
            },
            escape,
            directives,
            comments: Vec::new(),
        }
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = Result<LogicalLine, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.find().transpose()?;
        if line.is_err() {
            self.lines.rest = "";
        }
        Some(line)
    }
}

/// Physical lines with their numbers, without their line ends.
struct Lines<'a> {
    /// What was not taken yet. What follows the last line end is a line only if there is something.
    rest: &'a str,
    number: u32,
}

impl<'a> Lines<'a> {
    fn take(&mut self) -> Result<Option<(u32, &'a str)>, ParseError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.number = self.number.saturating_add(1);
        if line.len() > LINE_BYTES_MAX {
            let message = format!("line is longer than {LINE_BYTES_MAX} bytes");
            return Err(ParseError::new(Span::on_line(self.number, 1, 2), message)
                .help("split it with a backslash at the end of a part"));
        }
        Ok(Some((self.number, line)))
    }
}

impl LogicalLines<'_> {
    fn find(&mut self) -> Result<Option<LogicalLine>, ParseError> {
        while let Some((number, line)) = self.lines.take()? {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let trimmed = line.trim_start();
            if trimmed.is_empty() {
                self.comments.clear();
            } else if let Some(comment) = trimmed.strip_prefix('#') {
                match comment.trim() {
                    // What stands above it is about something else.
                    "" => self.comments.clear(),
                    comment if number > self.directives => self.comments.push(comment.to_owned()),
                    _ => {}
                }
            } else {
                return self.logical(number, line).map(Some);
            }
        }
        Ok(None)
    }

    /// Joins an instruction's lines, then collects the heredocs that it begins.
    fn logical(&mut self, number: u32, first: &str) -> Result<LogicalLine, ParseError> {
        let indent = first.len() - first.trim_start().len();
        let column = count(&first[..indent]) + 1;
        let start = Position {
            line: number,
            column,
        };
        let mut origins = Vec::new();
        let (mut part, mut continues) = self.cut_continuation(&first[indent..]);
        // Most of what goes on does so for one line that is no longer.
        let mut text = String::with_capacity(part.len() * if continues { 2 } else { 1 });
        let mut end = Position {
            line: number,
            column: column + count(part),
        };
        text.push_str(part);
        let mut blank_lines = Vec::new();
        while continues {
            let Some((number, line)) = self.lines.take()? else {
                break;
            };
            let line = line.strip_suffix('\r').unwrap_or(line);
            let trimmed = line.trim_start();
            // Comments and empty lines do not end an instruction that goes on.
            if trimmed.is_empty() {
                blank_lines.push(Span::on_line(number, 1, count(line) + 1));
                continue;
            }
            if trimmed.starts_with('#') {
                continue;
            }
            (part, continues) = self.cut_continuation(line);
            origins.push((
                text.len(),
                Position {
                    line: number,
                    column: 1,
                },
            ));
            text.push_str(part);
            end = Position {
                line: number,
                column: 1 + count(part),
            };
        }
        text.truncate(text.trim_end().len());
        let comments = std::mem::take(&mut self.comments);
        let span = Span { start, end };
        let mut logical = LogicalLine {
            text,
            start,
            origins,
            span,
            comments,
            blank_lines,
            heredocs: Vec::new(),
        };
        let starts = HeredocStart::find(&logical.text);
        for heredoc in starts {
            let (heredoc, end) = self.heredoc(heredoc, &logical)?;
            logical.span.end = end;
            logical.heredocs.push(heredoc);
        }
        Ok(logical)
    }

    /// Cuts the escape character at the end of a line. Spaces after it do not count.
    fn cut_continuation<'t>(&self, line: &'t str) -> (&'t str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            // A second one before it makes it an ordinary character.
            Some(cut) if !cut.ends_with(self.escape) => (cut, true),
            _ => (line, false),
        }
    }

    fn heredoc(
        &mut self,
        start: HeredocStart,
        line: &LogicalLine,
    ) -> Result<(Heredoc, Position), ParseError> {
        let mut body = String::new();
        while let Some((number, raw)) = self.lines.take()? {
            let text = raw.strip_suffix('\r').unwrap_or(raw);
            let compared = if start.strip_tabs {
                text.trim_start_matches('\t')
            } else {
                text
            };
            if compared == start.name {
                let end = Position {
                    line: number,
                    column: 1 + count(text),
                };
                return Ok((start.with_body(body), end));
            }
            body.push_str(if start.strip_tabs { compared } else { text });
            body.push('\n');
        }
        let message = format!("unterminated heredoc: there is no line {:?}", start.name);
        Err(ParseError::new(line.span_of_word(&start.text), message)
            .help("end it with a line that holds its name and nothing else"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Result<LogicalLine, ParseError>> {
        LogicalLines::new(text, '\\', 0).collect()
    }

    #[test]
    fn long_lines_are_refused_where_buildkit_refuses_them() {
        let text = |bytes: usize| format!("RUN {}\nRUN b\n", "x".repeat(bytes - 4));
        assert_eq!(lines(&text(LINE_BYTES_MAX)).len(), 2);
        let refused = lines(&text(LINE_BYTES_MAX + 1));
        assert!(matches!(refused.as_slice(), [Err(error)] if error.span.start.line == 1));
    }

    #[test]
    fn each_character_knows_where_it_came_from() {
        let found = lines("\n  RUN a \\\n # c\n\n  b\n");
        let [Ok(line)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(line.text, "RUN a   b");
        let at = |offset| {
            let position = line.position(offset);
            (position.line, position.column)
        };
        assert_eq!((at(0), at(4), at(8)), ((2, 3), (2, 7), (5, 3)));
        assert_eq!(line.blank_lines.len(), 1);
        let rest = line.ending_with("a   b");
        assert_eq!((rest.position(0).column, rest.position(4).line), (7, 5));
    }
}

//! Physical lines joined into logical ones.

use crate::directives::Directives;
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
    /// For each stretch of the text the place that it comes from: `(byte offset, position)`.
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
        let mut origins = vec![(0, self.position(cut))];
        let later = self.origins.iter().filter(|(start, _)| *start > cut);
        origins.extend(later.map(|(start, position)| (start - cut, *position)));
        Self {
            text: rest.to_owned(),
            origins,
            ..self.clone()
        }
    }

    /// Returns the place of a byte of the joined text.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self.origins.partition_point(|(start, _)| *start <= offset);
        let Some((start, position)) = self.origins.get(index.saturating_sub(1)) else {
            return self.span.start;
        };
        let before = self.text.get(*start..offset).unwrap_or_default();
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

/// Splits a Dockerfile into its logical lines.
pub(crate) fn split(text: &str, directives: &Directives) -> Result<Vec<LogicalLine>, ParseError> {
    Splitter {
        lines: Lines::new(text),
        escape: directives.escape,
        comments: Vec::new(),
    }
    .run()
}

/// Physical lines with their numbers, without their line ends.
struct Lines<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let mut lines: Vec<&str> = text.split('\n').collect();
        // What follows the last line end is a line only if there is something.
        if lines.last() == Some(&"") {
            lines.pop();
        }
        Self { lines, next: 0 }
    }

    fn take(&mut self) -> Result<Option<(u32, &'a str)>, ParseError> {
        let Some(line) = self.lines.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let number = u32::try_from(self.next).unwrap_or(u32::MAX);
        if line.len() > LINE_BYTES_MAX {
            let message = format!("line is longer than {LINE_BYTES_MAX} bytes");
            return Err(ParseError::new(Span::on_line(number, 1, 2), message)
                .help("split it with a backslash at the end of a part"));
        }
        Ok(Some((number, line)))
    }
}

struct Splitter<'a> {
    lines: Lines<'a>,
    escape: char,
    comments: Vec<String>,
}

impl Splitter<'_> {
    fn run(mut self) -> Result<Vec<LogicalLine>, ParseError> {
        let mut found = Vec::new();
        while let Some((number, line)) = self.lines.take()? {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let trimmed = line.trim_start();
            if trimmed.trim().is_empty() {
                self.comments.clear();
            } else if let Some(comment) = trimmed.strip_prefix('#') {
                self.comments.push(comment.trim().to_owned());
            } else {
                let logical = self.logical(number, line)?;
                found.push(logical);
            }
        }
        Ok(found)
    }

    /// Joins an instruction's lines, then collects the heredocs that it begins.
    fn logical(&mut self, number: u32, first: &str) -> Result<LogicalLine, ParseError> {
        let indent = first.len() - first.trim_start().len();
        let column = count(&first[..indent]) + 1;
        let start = Position {
            line: number,
            column,
        };
        let mut text = String::new();
        let mut origins = vec![(0, start)];
        let (mut part, mut continues) = self.cut_continuation(&first[indent..]);
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

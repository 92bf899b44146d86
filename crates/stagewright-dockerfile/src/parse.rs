//! From bytes to a Dockerfile.

use std::borrow::Cow;

use crate::ast::{Dockerfile, From, Instruction, Spanned, Stage};
use crate::directives::Directives;
use crate::error::ParseError;
use crate::flags::{FlagKind, Flags};
use crate::instruction;
use crate::logical_line::{LogicalLine, LogicalLines};
use crate::span::Span;

impl Dockerfile {
    /// Parses a Dockerfile. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (directives, last) = Directives::parse(text)?;
        let lines = LogicalLines::new(text, directives.escape, last);
        let mut dockerfile = Self {
            directives,
            global_args: Vec::new(),
            stages: Vec::new(),
        };
        let mut last = None;
        for line in lines {
            let line = line?;
            last = Some(line.span);
            dockerfile.add(line)?;
        }
        let Some(last) = last else {
            let message = "file with no instructions";
            return Err(ParseError::new(Span::on_line(1, 1, 2), message)
                .help("a Dockerfile begins with FROM"));
        };
        if dockerfile.stages.is_empty() {
            return Err(ParseError::new(last, "no build stage in current context")
                .help("add a FROM instruction"));
        }
        Ok(dockerfile)
    }

    fn add(&mut self, line: LogicalLine) -> Result<(), ParseError> {
        let keyword = line.text.split_whitespace().next().unwrap_or_default();
        if keyword.eq_ignore_ascii_case("FROM") {
            self.stages.push(stage(&line, keyword)?);
            return Ok(());
        }
        let instruction = instruction::parse(&line, self.directives.escape)?;
        match (self.stages.last_mut(), instruction) {
            (Some(stage), instruction) => stage.instructions.push(spanned(line, instruction)),
            (None, Instruction::Arg(arg)) => self.global_args.push(spanned(line, arg)),
            (None, _) => {
                let message = format!("no build stage in current context: {keyword} before FROM");
                return Err(ParseError::new(line.span_of_word(keyword), message)
                    .help("only ARG may stand before the first FROM"));
            }
        }
        Ok(())
    }
}

impl Instruction {
    /// Parses the text of an `ONBUILD` trigger out of an image config.
    ///
    /// # Errors
    /// When it is no instruction that may be a trigger.
    pub fn parse_trigger(text: &str) -> Result<Self, ParseError> {
        let mut lines = LogicalLines::new(text, '\\', 0);
        let (Some(line), None) = (lines.next().transpose()?, lines.next().transpose()?) else {
            let span = Span::on_line(1, 1, 2);
            return Err(ParseError::new(
                span,
                "onbuild trigger should be a single instruction",
            ));
        };
        instruction::check_trigger(&line)?;
        instruction::parse(&line, '\\')
    }
}

fn spanned<T>(line: LogicalLine, instruction: T) -> Spanned<T> {
    Spanned {
        instruction,
        span: line.span,
        text: line.text,
        comments: line.comments,
        blank_lines: line.blank_lines,
    }
}

fn stage(line: &LogicalLine, keyword: &str) -> Result<Stage, ParseError> {
    let rest = &line.text[keyword.len()..];
    let (mut flags, rest) = Flags::cut(line, rest, &[("platform", FlagKind::Value)])?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => (*image, Some(*name)),
        _ => {
            let message = "FROM requires either one or three arguments";
            return Err(ParseError::new(line.span, message).help("write FROM image [AS name]"));
        }
    };
    let name = name.map(|name| stage_name(line, name)).transpose()?;
    let from = From {
        image: image.to_owned(),
        platform: flags.value("platform"),
    };
    let comments = line.comments.clone();
    Ok(Stage {
        name,
        span: line.span,
        text: line.text.clone(),
        comments,
        blank_lines: line.blank_lines.clone(),
        from,
        instructions: Vec::new(),
    })
}

/// Stage names are in lower case: `^[a-z][a-z0-9-_.]*$`.
fn stage_name(line: &LogicalLine, name: &str) -> Result<String, ParseError> {
    let lower = name.to_lowercase();
    let mut chars = lower.chars();
    let begins = chars.next().is_some_and(|char| char.is_ascii_lowercase());
    let goes_on = chars
        .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_.".contains(char));
    if begins && goes_on {
        return Ok(lower);
    }
    let message = format!("invalid name for build stage: {name:?}");
    Err(ParseError::new(line.span_of_word(name), message)
        .help("a name begins with a letter and goes on with letters, digits, `-`, `_` and `.`"))
}

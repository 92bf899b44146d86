//! One ignore rule.

use crate::glob::{BadPattern, Ranges, Token, bad_pattern, next_token, run};

/// A compiled rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The pattern without its `!`.
    pub(super) text: String,
    /// Whether the rule re-includes.
    pub(super) exception: bool,
    /// The line of the ignore file that it stands in, where there is one.
    pub(super) line: Option<usize>,
    shape: Shape,
}

/// How a pattern is compared. Which one applies is part of the rules: `**name` as a whole pattern
/// matches every path that ends in `name`, with a wildcard after it it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// The path is this.
    Exact(Vec<u8>),
    /// The path begins with this.
    Prefix(Vec<u8>),
    /// The path ends in this, or is this without its leading slash.
    Suffix(Vec<u8>),
    /// The path matches the tokens, and ends in the text that all its matches end in.
    Tokens { tokens: Vec<Token>, tail: Vec<u8> },
}

impl Rule {
    /// Compiles a cleaned pattern.
    pub(super) fn new(
        text: &str,
        exception: bool,
        line: Option<usize>,
    ) -> Result<Self, BadPattern> {
        Ok(Self {
            text: text.to_owned(),
            exception,
            line,
            shape: compile(text).map_err(|why| bad_pattern(text, why))?,
        })
    }

    /// Tells whether the rule's own pattern matches the path, not looking at its parents.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match &self.shape {
            Shape::Exact(text) => path == text,
            Shape::Prefix(text) => path.starts_with(text),
            Shape::Suffix(text) => {
                path.ends_with(text) || text.strip_prefix(b"/").is_some_and(|rest| path == rest)
            }
            Shape::Tokens { tokens, tail } => path.ends_with(tail) && run(tokens, path),
        }
    }

    /// The pattern without a trailing `/**` and `/*`: what a path below must begin with, as long
    /// as it holds no other wildcard.
    pub(super) fn stem(&self) -> &str {
        let stem = self.text.strip_suffix("/**").unwrap_or(&self.text);
        stem.strip_suffix("/*").unwrap_or(stem)
    }

    /// Tells whether the stem is a plain path.
    pub(super) fn has_plain_stem(&self) -> bool {
        !self.stem().contains(['*', '[', ']', '?', '^', '\\'])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Tokens,
}

fn compile(pattern: &str) -> Result<Shape, &'static str> {
    let mut kind = Kind::Exact;
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while !rest.is_empty() {
        let at_start = rest.len() == pattern.len();
        if let Some(after) = rest.strip_prefix("**") {
            rest = after.strip_prefix('/').unwrap_or(after);
            if !rest.is_empty() {
                tokens.extend([Token::DeepOpen, Token::DeepLoop]);
                kind = Kind::Tokens;
            } else if kind == Kind::Exact {
                kind = Kind::Prefix;
            } else {
                tokens.push(Token::Rest);
                kind = Kind::Tokens;
            }
            if at_start {
                kind = Kind::Suffix;
            }
            continue;
        }
        let escaped = rest.starts_with('\\');
        let Some((token, after)) = next_token(rest, Ranges::MustAscend)? else {
            break;
        };
        if escaped || !matches!(token, Token::Char(_)) || rest.starts_with(']') {
            kind = Kind::Tokens;
        }
        tokens.push(token);
        rest = after;
    }
    let text = pattern.as_bytes();
    Ok(match kind {
        Kind::Exact => Shape::Exact(text.to_vec()),
        Kind::Prefix => Shape::Prefix(text[..text.len() - 2].to_vec()),
        Kind::Suffix => Shape::Suffix(text[2..].to_vec()),
        Kind::Tokens => Shape::Tokens {
            tail: literal_tail(&tokens),
            tokens,
        },
    })
}

fn literal_tail(tokens: &[Token]) -> Vec<u8> {
    let mut chars: Vec<char> = tokens
        .iter()
        .rev()
        .map_while(|token| match token {
            Token::Char(char) => Some(*char),
            _ => None,
        })
        .collect();
    chars.reverse();
    chars.into_iter().collect::<String>().into_bytes()
}

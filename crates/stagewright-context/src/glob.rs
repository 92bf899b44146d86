//! Shell patterns as Go's `filepath.Match` defines them, which is what COPY's sources are written in.
//!
//! `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are classes, a backslash takes the next
//! character as it is. A pattern must match the whole name.

use thiserror::Error;

/// A pattern that has no meaning: an unfinished or reversed class, or a backslash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a valid pattern: {why}")]
pub struct BadPattern {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it and what to write instead.
    pub why: &'static str,
}

/// One step of a compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// This character.
    Char(char),
    /// Any character but a slash.
    One,
    /// Any number of characters but slashes.
    Star,
    /// A character of a class.
    Class(Class),
    /// Any number of leading folders: the entry of a two step loop, always followed by `DeepLoop`.
    DeepOpen,
    /// The loop of `DeepOpen`: anything that ends in a slash.
    DeepLoop,
    /// Anything at all.
    Rest,
}

/// A bracketed class of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, wanted: char) -> bool {
        let found = self
            .ranges
            .iter()
            .any(|&(low, high)| low <= wanted && wanted <= high);
        found != self.negated
    }
}

/// Whether reversed ranges such as `[z-a]` are refused.
///
/// `filepath.Match` takes them as classes that match nothing; ignore rules refuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranges {
    MayBeReversed,
    MustAscend,
}

/// Tells whether `name` matches `pattern`, both whole.
pub fn matches(pattern: &str, name: &[u8]) -> Result<bool, BadPattern> {
    Ok(Glob::new(pattern)?.matches(name))
}

/// Tells whether `text` holds an unescaped `*`, `?` or `[`.
pub fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((token, after)) =
            next_token(rest, Ranges::MayBeReversed).map_err(|why| bad_pattern(pattern, why))?
        {
            // Stars in a row are one star.
            if token != Token::Star || tokens.last() != Some(&Token::Star) {
                tokens.push(token);
            }
            rest = after;
        }
        Ok(Self { tokens })
    }

    /// Tells whether the whole of `name` matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        run(&self.tokens, name)
    }
}

pub(crate) fn bad_pattern(pattern: &str, why: &'static str) -> BadPattern {
    BadPattern {
        pattern: pattern.to_owned(),
        why,
    }
}

/// Takes one token off the front of a pattern; `None` at its end.
pub(crate) fn next_token(
    pattern: &str,
    ranges: Ranges,
) -> Result<Option<(Token, &str)>, &'static str> {
    let mut chars = pattern.chars();
    let Some(first) = chars.next() else {
        return Ok(None);
    };
    let token = match first {
        '*' => Token::Star,
        '?' => Token::One,
        '[' => {
            let (class, after) = parse_class(chars.as_str(), ranges)?;
            return Ok(Some((Token::Class(class), after)));
        }
        '\\' => Token::Char(
            chars
                .next()
                .ok_or("it ends in a backslash; write `\\\\` for a backslash")?,
        ),
        other => Token::Char(other),
    };
    Ok(Some((token, chars.as_str())))
}

const UNFINISHED: &str = "the class opened by `[` is not closed; write `\\[` for a bracket";

/// Parses a class after its opening bracket; returns it and what follows the closing one.
fn parse_class(mut rest: &str, order: Ranges) -> Result<(Class, &str), &'static str> {
    let negated = rest.starts_with('^');
    if negated {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']')
            && !ranges.is_empty()
        {
            return Ok((Class { negated, ranges }, after));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix('-') {
            (high, rest) = class_char(after)?;
        }
        if order == Ranges::MustAscend && high < low {
            return Err("a class holds a range that runs backwards; write `\\-` for a dash");
        }
        ranges.push((low, high));
    }
}

fn class_char(rest: &str) -> Result<(char, &str), &'static str> {
    let mut chars = rest.chars();
    let char = match chars.next() {
        None => return Err(UNFINISHED),
        Some('-') => return Err("a class has a dash without a range; write `\\-` for a dash"),
        Some(']') => return Err("a class is empty; write `\\]` for a bracket"),
        Some('\\') => chars.next().ok_or(UNFINISHED)?,
        Some(char) => char,
    };
    // A class must go on after each of its characters, if only with the closing bracket.
    if chars.as_str().is_empty() {
        return Err(UNFINISHED);
    }
    Ok((char, chars.as_str()))
}

/// Runs the tokens over the whole name, all alternatives side by side: time is bounded by
/// tokens × characters, whatever the pattern.
pub(crate) fn run(tokens: &[Token], name: &[u8]) -> bool {
    let mut now = States::new(tokens.len() + 1);
    let mut next = States::new(tokens.len() + 1);
    now.add(tokens, 0);
    for char in chars_of(name) {
        next.clear();
        for index in 0..tokens.len() {
            if now.has(index) {
                step(&tokens[index], index, char, tokens, &mut next);
            }
        }
        if next.is_empty() {
            return false;
        }
        std::mem::swap(&mut now, &mut next);
    }
    now.has(tokens.len())
}

fn step(token: &Token, index: usize, char: char, tokens: &[Token], next: &mut States) {
    match token {
        Token::Char(wanted) if *wanted == char => next.add(tokens, index + 1),
        Token::One if char != '/' => next.add(tokens, index + 1),
        Token::Class(class) if class.contains(char) => next.add(tokens, index + 1),
        Token::Star if char != '/' => next.add(tokens, index),
        // Go's `.` stops at a line feed.
        Token::Rest if char != '\n' => next.add(tokens, index),
        Token::DeepLoop if char != '\n' => {
            next.add(tokens, index);
            if char == '/' {
                next.add(tokens, index + 1);
            }
        }
        _ => {}
    }
}

/// The characters of a name; a byte that is not UTF-8 counts as one replacement character.
fn chars_of(name: &[u8]) -> impl Iterator<Item = char> {
    name.utf8_chunks().flat_map(|chunk| {
        let broken = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(broken)
    })
}

/// A set of positions in a pattern.
struct States {
    first: u64,
    rest: Vec<u64>,
}

impl States {
    fn new(len: usize) -> Self {
        Self {
            first: 0,
            rest: vec![0; len / 64],
        }
    }

    fn clear(&mut self) {
        self.first = 0;
        self.rest.fill(0);
    }

    fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|&word| word == 0)
    }

    fn has(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => self.first,
            at => self.rest[at - 1],
        };
        word >> (index % 64) & 1 == 1
    }

    /// Adds a position and those that are reached from it without a character.
    fn add(&mut self, tokens: &[Token], mut index: usize) {
        loop {
            match index / 64 {
                0 => self.first |= 1 << index,
                at => self.rest[at - 1] |= 1 << (index % 64),
            }
            match tokens.get(index) {
                Some(Token::Star | Token::Rest) => index += 1,
                Some(Token::DeepOpen) => {
                    self.add(tokens, index + 1);
                    index += 2;
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match_as_in_go() {
        let cases: &[(&str, &str, bool)] = &[
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "x", true),
            ("[\\-x]", "-", true),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("[z-a]", "m", false),
            ("[!a]", "!", true),
            ("[!a]", "b", false),
            ("a[^b]c", "a/c", true),
            ("", "", true),
            ("", "a", false),
            ("**", "a", true),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
        ];
        for (pattern, name, expected) in cases {
            let found = matches(pattern, name.as_bytes()).unwrap();
            assert_eq!(found, *expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn senseless_patterns_are_refused() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[^]", "[a",
            "[\\", "a*[",
        ] {
            let error = matches(pattern, b"a").unwrap_err();
            assert_eq!(error.pattern, pattern);
        }
    }

    #[test]
    fn names_need_not_be_utf8() {
        assert!(matches("a?b", b"a\xffb").unwrap());
        assert!(!matches("a?b", b"a\xff\xffb").unwrap());
        assert!(matches("a*", b"a\xff\xfe").unwrap());
    }

    #[test]
    fn long_patterns_work() {
        let pattern = "a?".repeat(100);
        assert!(matches(&pattern, "ab".repeat(100).as_bytes()).unwrap());
        assert!(!matches(&pattern, "ab".repeat(99).as_bytes()).unwrap());
        assert!(!matches(&"*a".repeat(60), "a".repeat(59).as_bytes()).unwrap());
    }

    #[test]
    fn wildcards_are_seen_unless_escaped() {
        for (text, expected) in [("a*", true), ("a\\*", false), ("a[b]", true), ("a?", true)] {
            assert_eq!(has_wildcards(text), expected, "{text}");
        }
    }
}

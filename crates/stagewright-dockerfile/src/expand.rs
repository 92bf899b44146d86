//! Expansion of variables, quotes and escapes in a word, as BuildKit's shell lexer does it.
//!
//! `$v`, `${v}`, `${v:-w}`, `${v-w}`, `${v:+w}`, `${v+w}`, `${v:?w}`, `${v?w}`, `${v#p}`,
//! `${v##p}`, `${v%p}`, `${v%%p}`, `${v/p/r}` and `${v//p/r}`, nested in each other. Nothing is
//! expanded in single quotes. A variable that is not set is empty.

use std::collections::BTreeSet;

use thiserror::Error;

/// A word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// `${` without `}`, or a quote that is not closed.
    #[error("unexpected end of {word:?} while looking for {looking_for}")]
    Unclosed {
        /// The word.
        word: String,
        /// What is missing.
        looking_for: &'static str,
    },
    /// Something else than a name after `${`, or an operator that is none.
    #[error("unsupported modifier ({modifier}) in substitution of {word:?}")]
    BadSubstitution {
        /// The word.
        word: String,
        /// What stands there.
        modifier: String,
    },
    /// `${v:?message}` and `v` is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message that the word gives.
        message: String,
    },
    /// Substitutions are nested too deeply.
    #[error("substitutions in {word:?} are nested too deeply")]
    TooDeep {
        /// The word.
        word: String,
    },
}

/// Finds the value of a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// How deep substitutions may be nested.
const DEPTH_MAX: u32 = 64;

/// A word that was expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The variables that were asked for and not set.
    pub unset: BTreeSet<String>,
}

/// Expands words.
#[derive(Debug, Clone, Copy)]
pub struct Expander {
    escape: char,
}

impl Expander {
    /// Makes an expander for a Dockerfile's escape character.
    pub fn new(escape: char) -> Self {
        Self { escape }
    }

    /// Expands a word: quotes and escapes are processed and removed.
    pub fn word<'a>(&self, word: &'a str, lookup: Lookup<'a>) -> Result<Expanded, ExpandError> {
        self.run(word, lookup, false)
    }

    /// Expands a text in which quotes mean nothing: a heredoc.
    pub fn text<'a>(&self, text: &'a str, lookup: Lookup<'a>) -> Result<Expanded, ExpandError> {
        self.run(text, lookup, true)
    }

    fn run<'a>(
        &self,
        word: &'a str,
        lookup: Lookup<'a>,
        raw: bool,
    ) -> Result<Expanded, ExpandError> {
        let mut lexer = Lexer {
            word,
            chars: word.chars().collect(),
            at: 0,
            escape: self.escape,
            raw,
            depth: 0,
            lookup,
            unset: BTreeSet::new(),
        };
        let text = lexer.until(&[])?;
        Ok(Expanded {
            text,
            unset: lexer.unset,
        })
    }
}

struct Lexer<'a> {
    word: &'a str,
    chars: Vec<char>,
    at: usize,
    escape: char,
    /// Quotes are ordinary characters.
    raw: bool,
    depth: u32,
    lookup: Lookup<'a>,
    unset: BTreeSet<String>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    fn unclosed(&self, looking_for: &'static str) -> ExpandError {
        ExpandError::Unclosed {
            word: self.word.to_owned(),
            looking_for,
        }
    }

    /// Expands up to one of the characters, or to the end.
    fn until(&mut self, stops: &[char]) -> Result<String, ExpandError> {
        let mut text = String::new();
        while let Some(char) = self.peek() {
            if stops.contains(&char) {
                break;
            }
            match char {
                '\'' if !self.raw => self.single_quotes(&mut text)?,
                '"' if !self.raw => self.double_quotes(&mut text)?,
                '$' => text.push_str(&self.dollar()?),
                char if char == self.escape => {
                    self.at += 1;
                    text.extend(self.next());
                }
                char => {
                    text.push(char);
                    self.at += 1;
                }
            }
        }
        Ok(text)
    }

    fn single_quotes(&mut self, text: &mut String) -> Result<(), ExpandError> {
        self.at += 1;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(char) => text.push(char),
                None => return Err(self.unclosed("a closing single quote")),
            }
        }
    }

    fn double_quotes(&mut self, text: &mut String) -> Result<(), ExpandError> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.unclosed("a closing double quote")),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(char) if char == self.escape => {
                    self.at += 1;
                    match self.next() {
                        None => return Err(self.unclosed("a closing double quote")),
                        // Inside quotes only these can be escaped; otherwise both characters stay.
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            text.push(next);
                        }
                        Some(next) => text.extend([char, next]),
                    }
                }
                Some(char) => {
                    text.push(char);
                    self.at += 1;
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.at += 1;
        if self.peek() == Some('{') {
            self.at += 1;
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(ExpandError::TooDeep {
                    word: self.word.to_owned(),
                });
            }
            let value = self.braces()?;
            self.depth -= 1;
            return Ok(value);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.value(&name).unwrap_or_default())
    }

    /// Reads a name: letters, digits and `_`, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(char) = self.peek() {
            let first = name.is_empty();
            if first && char.is_ascii_digit() {
                // A number is a positional parameter, and a name of its own.
                while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
                    name.push(digit);
                    self.at += 1;
                }
                return name;
            }
            if !(char.is_alphanumeric() || char == '_') {
                if first && "@*#?-$!".contains(char) {
                    self.at += 1;
                    return char.to_string();
                }
                break;
            }
            name.push(char);
            self.at += 1;
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name).map(str::to_owned);
        if value.is_none() {
            self.unset.insert(name.to_owned());
        }
        value
    }

    fn bad(&self, modifier: impl Into<String>) -> ExpandError {
        ExpandError::BadSubstitution {
            word: self.word.to_owned(),
            modifier: modifier.into(),
        }
    }

    /// What follows `${`.
    fn braces(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return Err(match self.peek() {
                None => self.unclosed("a closing brace"),
                Some(char) => self.bad(char.to_string()),
            });
        }
        match self.next() {
            None => Err(self.unclosed("a closing brace")),
            Some('}') => Ok(self.value(&name).unwrap_or_default()),
            Some(':') => {
                let operator = self
                    .next()
                    .ok_or_else(|| self.unclosed("a closing brace"))?;
                if !"-+?".contains(operator) {
                    return Err(self.bad(format!(":{operator}")));
                }
                self.default(&name, operator, true)
            }
            Some(operator @ ('-' | '+' | '?')) => self.default(&name, operator, false),
            Some(side @ ('#' | '%')) => self.cut(&name, side),
            Some('/') => self.replace(&name),
            Some(char) => Err(self.bad(char.to_string())),
        }
    }

    fn close(&mut self) -> Result<(), ExpandError> {
        match self.next() {
            Some('}') => Ok(()),
            _ => Err(self.unclosed("a closing brace")),
        }
    }

    /// `-`, `+` and `?`; with `:` an empty variable counts as not set.
    fn default(&mut self, name: &str, operator: char, colon: bool) -> Result<String, ExpandError> {
        let unset_before = self.unset.clone();
        let word = self.until(&['}'])?;
        self.close()?;
        let value = (self.lookup)(name).map(str::to_owned);
        let set = value
            .as_ref()
            .is_some_and(|value| !colon || !value.is_empty());
        match operator {
            '-' if set => {
                self.unset = unset_before;
                Ok(value.unwrap_or_default())
            }
            '-' => Ok(word),
            '+' => Ok(if set { word } else { String::new() }),
            _ if set => Ok(value.unwrap_or_default()),
            _ => {
                let message = if word.is_empty() {
                    "is not allowed to be unset".to_owned()
                } else {
                    word
                };
                Err(ExpandError::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }

    /// `#`, `##`, `%`, `%%`: cuts what a pattern matches off the front or the back.
    fn cut(&mut self, name: &str, side: char) -> Result<String, ExpandError> {
        let longest = self.peek() == Some(side);
        if longest {
            self.at += 1;
        }
        let pattern: Vec<char> = self.pattern(&['}'])?;
        self.close()?;
        let value: Vec<char> = self.value(name).unwrap_or_default().chars().collect();
        let lengths: Vec<usize> = if longest {
            (0..=value.len()).rev().collect()
        } else {
            (0..=value.len()).collect()
        };
        for length in lengths {
            let (cut, kept) = if side == '#' {
                (&value[..length], &value[length..])
            } else {
                (
                    &value[value.len() - length..],
                    &value[..value.len() - length],
                )
            };
            if matches(&pattern, cut) {
                return Ok(kept.iter().collect());
            }
        }
        Ok(value.into_iter().collect())
    }

    /// `/p/r` and `//p/r`: replaces the first or every longest match of a pattern.
    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.at += 1;
        }
        let pattern = self.pattern(&['/', '}'])?;
        let replacement = if self.peek() == Some('/') {
            self.at += 1;
            self.until(&['}'])?
        } else {
            return Err(self.unclosed("a `/` before the replacement"));
        };
        self.close()?;
        let value: Vec<char> = self.value(name).unwrap_or_default().chars().collect();
        if pattern.is_empty() {
            return Ok(value.into_iter().collect());
        }
        let mut text = String::new();
        let mut at = 0;
        let mut replaced = false;
        while at < value.len() {
            let found = (at + 1..=value.len())
                .rev()
                .find(|end| matches(&pattern, &value[at..*end]));
            match found {
                Some(end) if all || !replaced => {
                    text.push_str(&replacement);
                    replaced = true;
                    at = end;
                }
                _ => {
                    text.push(value[at]);
                    at += 1;
                }
            }
        }
        Ok(text)
    }

    /// Reads a pattern: variables are expanded, escapes stay for the matcher.
    fn pattern(&mut self, stops: &[char]) -> Result<Vec<char>, ExpandError> {
        let mut pattern = Vec::new();
        while let Some(char) = self.peek() {
            if stops.contains(&char) {
                break;
            }
            if char == '$' {
                pattern.extend(self.dollar()?.chars());
                continue;
            }
            self.at += 1;
            if char == self.escape {
                pattern.push('\\');
                pattern.extend(self.next());
            } else {
                pattern.push(char);
            }
        }
        Ok(pattern)
    }
}

/// Matches a whole text: `*` is anything, `?` one character, a backslash takes the next literally.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // `star` is where to go on when what follows the last `*` did not match.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let (literal, width) = match pattern.get(p) {
            Some('\\') if p + 1 < pattern.len() => (pattern.get(p + 1), 2),
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some('?') if t < text.len() => {
                p += 1;
                t += 1;
                continue;
            }
            Some('?') => (None, 1),
            other => (other, 1),
        };
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if literal.is_some() && literal == text.get(t) {
            p += width;
            t += 1;
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(word: &str) -> Result<String, ExpandError> {
        let lookup = |name: &str| match name {
            "A" => Some("abc"),
            "P" => Some("usr/local/bin.tar.gz"),
            "EMPTY" => Some(""),
            "STAR" => Some("a*b"),
            _ => None,
        };
        Expander::new('\\')
            .word(word, &lookup)
            .map(|expanded| expanded.text)
    }

    #[test]
    fn words_expand() {
        for (word, expected) in [
            ("plain", "plain"),
            ("$A", "abc"),
            ("${A}d", "abcd"),
            ("$A/$A", "abc/abc"),
            ("\\$A", "$A"),
            ("'$A'", "$A"),
            ("\"$A b\"", "abc b"),
            ("\"a\\\"b\\n\"", "a\"b\\n"),
            ("a\\ b", "a b"),
            ("$UNSET", ""),
            ("$", "$"),
            ("a$", "a$"),
            ("$12x", "x"),
            ("${UNSET:-w}", "w"),
            ("${UNSET-w}", "w"),
            ("${EMPTY:-w}", "w"),
            ("${EMPTY-w}", ""),
            ("${A:-w}", "abc"),
            ("${A:+w}", "w"),
            ("${A+w}", "w"),
            ("${EMPTY:+w}", ""),
            ("${EMPTY+w}", "w"),
            ("${UNSET+w}", ""),
            ("${A:?m}", "abc"),
            ("${UNSET:-${A:-x}}", "abc"),
            ("${UNSET:-'}'}", "}"),
            ("${P#*/}", "local/bin.tar.gz"),
            ("${P##*/}", "bin.tar.gz"),
            ("${P%.*}", "usr/local/bin.tar"),
            ("${P%%.*}", "usr/local/bin"),
            ("${P#x}", "usr/local/bin.tar.gz"),
            ("${A/b/X}", "aXc"),
            ("${P/l*a/X}", "usr/Xr.gz"),
            ("${P//\\//_}", "usr_local_bin.tar.gz"),
            ("${A//?/x}", "xxx"),
            ("${STAR#a\\*}", "b"),
            ("${A#$UNSET}", "abc"),
        ] {
            assert_eq!(expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn wrong_words_say_why() {
        for word in [
            "${A", "${", "${A:", "'a", "\"a", "${A:x}", "${A!}", "${}", "${A/b}",
        ] {
            assert!(expand(word).is_err(), "{word}: {:?}", expand(word));
        }
        assert_eq!(expand("${U:?say it}").unwrap_err().to_string(), "U: say it");
        let deep = "${A:-".repeat(100);
        assert!(matches!(expand(&deep), Err(ExpandError::TooDeep { .. })));
    }

    #[test]
    fn heredocs_keep_quotes_and_lose_escapes() {
        let lookup = |name: &str| (name == "A").then_some("abc");
        let text = Expander::new('\\')
            .text("'$A' \"${A}\" \\$A \\\\ \\\n", &lookup)
            .unwrap()
            .text;
        assert_eq!(text, "'abc' \"abc\" $A \\ \n");
    }
}

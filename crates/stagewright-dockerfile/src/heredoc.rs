//! Heredocs.

use serde::Serialize;

use crate::{flags, split};

/// A heredoc of `RUN`, `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heredoc {
    /// The word after `<<`, without quotes: the name of the file that it makes.
    pub name: String,
    /// Its lines, each with a line end. Leading tabs are removed already where `<<-` asks for it.
    pub body: String,
    /// Whether variables in it are expanded: they are not if any part of the word is quoted.
    pub expand: bool,
    /// The file descriptor before `<<`; 0 if there is none.
    pub descriptor: u32,
}

/// The beginning of a heredoc in an instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeredocStart {
    /// The word as it is written.
    pub(crate) text: String,
    pub(crate) name: String,
    pub(crate) strip_tabs: bool,
    expand: bool,
    descriptor: u32,
}

impl HeredocStart {
    /// Finds the heredocs that an instruction begins. Only `RUN`, `COPY` and `ADD` can, also in
    /// `ONBUILD`, and not in their JSON form.
    ///
    /// A line in which a quote has no partner begins none: the shell gets it as it is.
    pub(crate) fn find(line: &str) -> Vec<Self> {
        if !line.contains('<') {
            return Vec::new();
        }
        let mut rest = line.trim_start();
        let mut keyword = cut_word(&mut rest);
        if keyword.eq_ignore_ascii_case("ONBUILD") {
            keyword = cut_word(&mut rest);
        }
        let can = ["RUN", "COPY", "ADD"]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(keyword));
        if !can || !rest.contains("<<") || split::json_array(after_flags(rest)).is_some() {
            return Vec::new();
        }
        words(rest)
            .iter()
            .filter_map(|word| Self::parse(word))
            .collect()
    }

    /// Parses one word: `[n]<<[-]name`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let (descriptor, rest) = word.split_once("<<")?;
        if !descriptor.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let name: String = rest
            .chars()
            .filter(|char| !matches!(char, '\'' | '"'))
            .collect();
        if name.is_empty() || name.contains(char::is_whitespace) && rest == name {
            return None;
        }
        let descriptor = if descriptor.is_empty() {
            0
        } else {
            descriptor.parse().ok()?
        };
        let expand = rest.len() == name.len();
        Some(Self {
            text: word.to_owned(),
            name,
            strip_tabs,
            expand,
            descriptor,
        })
    }

    pub(crate) fn with_body(self, body: String) -> Heredoc {
        Heredoc {
            name: self.name,
            body,
            expand: self.expand,
            descriptor: self.descriptor,
        }
    }
}

/// Returns what follows the flags.
fn after_flags(mut rest: &str) -> &str {
    while rest.starts_with("--") {
        let (flag, after) = flags::unquote(rest);
        rest = after.trim_start();
        if flag == "--" {
            break;
        }
    }
    rest
}

fn cut_word<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.trim_start();
    word
}

/// Splits a text at spaces that are not quoted, as a shell would; quotes stay in the words.
///
/// No words if a quote has no partner. The backslash escapes, whatever the file's own character.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, char) if char.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            (None | Some('"'), char) if char == '\\' => {
                word.push(char);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(char);
    }
    if quote.is_some() {
        return Vec::new();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_heredocs_where_they_may_be() {
        let names = |line: &str| -> Vec<String> {
            HeredocStart::find(line)
                .into_iter()
                .map(|start| start.name)
                .collect()
        };
        assert_eq!(names("RUN <<EOF"), ["EOF"]);
        assert_eq!(names("run cat <<A - 3<<-B"), ["A", "B"]);
        assert_eq!(names("COPY <<'a b' <<\"c\" /d/"), ["a b", "c"]);
        assert_eq!(names("ONBUILD COPY <<x /"), ["x"]);
        assert_eq!(names("RUN [ -f x ] && cat <<EOF"), ["EOF"]);
        for none in [
            "ENV A=<<EOF",
            "RUN [\"<<EOF\"]",
            "RUN cat <<<x",
            "RUN echo $((1<<2))",
            "RUN '<<E'",
            "RUN echo it's <<EOF",
            "RUN --network=none [\"cat\", \"<<EOF\"]",
        ] {
            assert!(names(none).is_empty(), "{none}: {:?}", names(none));
        }
        assert!(!HeredocStart::find("RUN <<'E'")[0].expand);
    }
}

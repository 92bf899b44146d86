//! Splitting an instruction's arguments.

use serde::de::DeserializeOwned;

use crate::ast::Pair;

/// Parses a JSON array of strings. Anything else is the shell form, an array with something behind
/// it too.
pub(crate) fn json_array(text: &str) -> Option<Vec<String>> {
    array(text)
}

fn array<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Returns whether a text is a JSON array that holds something else than strings.
pub(crate) fn is_other_array(text: &str) -> bool {
    array::<serde_json::Value>(text).is_some()
}

/// Splits at white space.
pub(crate) fn whitespace(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Splits at white space that is neither quoted nor escaped. Quotes and escapes stay.
pub(crate) fn name_values(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match quote {
            None if char.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(char, '\'' | '"') => quote = Some(char),
            Some(open) if open == char => quote = None,
            None | Some('"') if char == escape => {
                word.push(char);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(char);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Splits `a=b c=d`, or the old form `a b c` in which everything after the first word is the value.
/// Nothing when neither is meant.
pub(crate) fn pairs(text: &str, escape: char) -> Result<Vec<Pair>, String> {
    let words = name_values(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let rest = text.trim_start();
        let Some((key, value)) = rest.split_once(char::is_whitespace) else {
            return Err(format!("{first} must have two arguments"));
        };
        let value = value.trim().to_owned();
        return Ok(vec![Pair {
            key: key.to_owned(),
            value,
            legacy: true,
        }]);
    }
    words
        .iter()
        .map(|word| {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                format!("syntax error - can't find = in {word:?}. Must be of the form: name=value")
            })?;
            if key.is_empty() {
                return Err(format!("names can not be blank, in {word:?}"));
            }
            Ok(Pair {
                key: key.to_owned(),
                value: value.to_owned(),
                legacy: false,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_or_shell() {
        assert_eq!(
            json_array(r#"["a", "b c"]"#),
            Some(vec!["a".into(), "b c".into()])
        );
        assert_eq!(json_array("[]"), Some(vec![]));
        for shell in [
            "['a']",
            r#"["a",]"#,
            r#"["a", 1]"#,
            "a",
            "[ -f x ]",
            r#"["a"] b"#,
            "[]b",
        ] {
            assert_eq!(json_array(shell), None, "{shell}");
        }
    }

    #[test]
    fn pairs_in_both_forms() {
        let split = |text: &str| -> Vec<(String, String)> {
            pairs(text, '\\')
                .unwrap()
                .into_iter()
                .map(|pair| (pair.key, pair.value))
                .collect()
        };
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        assert_eq!(
            split("a=b c=\"d e\" f=g\\ h"),
            owned(&[("a", "b"), ("c", "\"d e\""), ("f", "g\\ h")])
        );
        assert_eq!(split("a b  c=d"), owned(&[("a", "b  c=d")]));
        assert_eq!(split("a="), owned(&[("a", "")]));
        assert!(pairs("a", '\\').is_err());
        assert!(pairs("a=b c", '\\').is_err());
        assert!(pairs("=b", '\\').is_err());
    }
}

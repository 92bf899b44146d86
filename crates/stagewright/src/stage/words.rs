//! Words of a Dockerfile, quoted so that they mean what a caller wrote.

use crate::error::{Error, ErrorKind};

fn plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| {
            character.is_ascii_alphanumeric() || "_-./:@*+,?[]{}$%~^!".contains(character)
        })
        // An array is a form of its own, and this begins a heredoc or a flag.
        && !text.starts_with(['[', '-'])
}

/// Refuses what no line of a Dockerfile can hold.
pub(super) fn on_one_line(text: &str, what: &str) -> Result<(), Error> {
    if text.contains(['\n', '\r', '\0']) {
        let message = format!("{what} {text:?} does not fit on one line of a Dockerfile");
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(())
}

/// Escapes what is not a variable for a word that is in double quotes or not, as said.
fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escapes_dollar = character == '\\' && characters.peek() == Some(&'$');
        if escapes_dollar {
            out.push('\\');
            out.extend(characters.next());
            continue;
        }
        if special.contains(&character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Writes a word; in double quotes if it has to be.
pub(super) fn word(text: &str, what: &str) -> Result<String, Error> {
    on_one_line(text, what)?;
    if plain(text) {
        return Ok(text.to_owned());
    }
    Ok(format!("\"{}\"", escaped(text, &['\\', '"'])))
}

/// Writes words that may hold spaces, of an instruction that takes an array: plainly when all can
/// be, as an array otherwise.
pub(super) fn words(texts: &[&str], what: &str) -> Result<String, Error> {
    for text in texts {
        on_one_line(text, what)?;
    }
    if texts.iter().all(|text| plain(text)) {
        return Ok(texts.join(" "));
    }
    // The words of an array are expanded after they are read, and lose their quotes then.
    let texts: Vec<String> = texts
        .iter()
        .map(|text| escaped(text, &['\\', '"', '\'']))
        .collect();
    Ok(array(&texts))
}

/// Writes an array whose words are taken as they are.
pub(super) fn array<S: AsRef<str>>(texts: &[S]) -> String {
    let texts: Vec<String> = texts
        .iter()
        .map(|text| serde_json::Value::from(text.as_ref()).to_string())
        .collect();
    format!("[{}]", texts.join(", "))
}

/// Writes a value of a flag, which has no quotes.
pub(super) fn flag_value<'t>(text: &'t str, what: &str) -> Result<&'t str, Error> {
    let quoted = |character: char| {
        character.is_whitespace() || character.is_control() || "\"'\\".contains(character)
    };
    if text.is_empty() || text.contains(quoted) {
        let message = format!("{what} {text:?} is empty, or has spaces, quotes or backslashes");
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(text)
}

/// Writes a value of a mount's option.
pub(super) fn mount_value<'t>(text: &'t str, what: &str) -> Result<&'t str, Error> {
    if text.contains(',') {
        let message = format!("{what} {text:?} of a mount has a comma");
        return Err(Error::new(ErrorKind::Request, message));
    }
    flag_value(text, what)
}

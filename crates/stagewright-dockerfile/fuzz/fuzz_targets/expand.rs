//! Whatever comes as a word: expanding ends and does not panic, and a word without quotes, escapes
//! and variables stays as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_dockerfile::expand::Expander;

fuzz_target!(|input: (bool, &str)| {
    let (backtick, word) = input;
    let escape = if backtick { '`' } else { '\\' };
    let lookup = |name: &str| match name {
        "A" => Some("value"),
        "B" => Some(""),
        "LONG" => Some("a/b.c-d*e?f/g"),
        _ => None,
    };
    let expander = Expander::new(escape);
    let expanded = expander.word(word, &lookup);
    if !word.contains(['$', '"', '\'', escape]) {
        assert_eq!(expanded.map(|value| value.text), Ok(word.to_owned()));
    }
    let text = expander.text(word, &lookup);
    if !word.contains(['$', escape]) {
        assert_eq!(text.map(|value| value.text), Ok(word.to_owned()));
    }
});

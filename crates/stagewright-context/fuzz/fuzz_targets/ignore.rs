//! Whatever stands in a `.dockerignore`: reading and matching end and do not panic, a walk that
//! goes down a path and a rule that is asked for agree with what excludes it, and without
//! exceptions an excluded folder excludes what is in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stagewright_context::Patterns;

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let Ok(patterns) = Patterns::parse(text) else {
        return;
    };
    let mut state = Default::default();
    let mut at = String::new();
    let mut excluded = false;
    for part in path.split('/').filter(|part| !part.is_empty()).take(8) {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(part);
        let (now, next) = patterns.matches_below(&state, at.as_bytes());
        if !patterns.has_exceptions() {
            assert!(now || !excluded, "{at} came back without an exception");
            assert_eq!(now, patterns.matches(at.as_bytes()), "{at}");
        }
        let _ = patterns.excluding_rule(at.as_bytes());
        let _ = patterns.may_reinclude_below(at.as_bytes());
        (excluded, state) = (now, next);
    }
});

//! Guards that a build for tests can do without, one at a time, to see that the suite of escapes notices each.
//!
//! In every other build this is a constant, and nothing that a program or a request says takes a guard away.

/// The variable with the names of the guards that are taken away.
#[cfg(feature = "weakened-for-tests")]
const VARIABLE: &str = "STAGEWRIGHT_WEAKEN";

/// Whether a guard is taken away.
#[cfg(feature = "weakened-for-tests")]
pub(crate) fn without(guard: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|names| names.split(',').any(|name| name == guard))
}

/// Whether a guard is taken away: never.
#[cfg(not(feature = "weakened-for-tests"))]
pub(crate) const fn without(_guard: &str) -> bool {
    false
}

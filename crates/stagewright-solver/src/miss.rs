//! Why a result was not in the cache.

use std::cmp::Ordering;
use std::fmt;

use crate::age;
use crate::parts::{Part, Parts};

/// The part that says which instruction it is.
pub(crate) const STEP: &str = "step";
/// How many changes a message names before it only counts the rest.
const SHOWN_MAX: usize = 3;

/// Why a vertex had to run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissReason {
    /// This place in the Dockerfile has not run before.
    FirstRun,
    /// The request said not to use the cache.
    NoCache,
    /// What the step reads is not what it read the last time.
    Changed(Vec<Change>),
    /// It ran before with the same inputs, longer ago than the request allows.
    TooOld {
        /// How long ago.
        age_ms: u64,
        /// How long ago it might have been.
        limit_ms: u64,
    },
    /// It ran before with the same inputs, but its result is no longer stored: garbage collection
    /// or damage took it.
    Evicted,
}

/// One difference between two runs of a place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What kind of input it is: `command`, `environment`, `file`, `base`…
    pub input: String,
    /// Which one, where there are several: a path, a variable's name.
    pub name: Option<String>,
    /// What it was; absent when it is new. A file's content is never here.
    pub before: Option<String>,
    /// What it is; absent when it is gone.
    pub after: Option<String>,
}

impl MissReason {
    /// Compares what a step reads with what it read the last time.
    pub fn between(before: &Parts, after: &Parts) -> Self {
        let mut changes = Vec::new();
        // Of another instruction nothing else can be compared.
        if before.get(STEP) != after.get(STEP) {
            compare(
                "instruction",
                before.get(STEP),
                after.get(STEP),
                &mut changes,
            );
            return Self::Changed(changes);
        }
        let mut labels = std::collections::BTreeSet::new();
        labels.extend(before.iter().chain(after.iter()).map(|(label, _)| label));
        for label in labels {
            compare(label, before.get(label), after.get(label), &mut changes);
        }
        if changes.is_empty() {
            Self::Evicted
        } else {
            Self::Changed(changes)
        }
    }
}

/// The part that holds the files of a copy.
pub(crate) const FILE: &str = "file";

/// The part that holds the name of the root file system that a step changes.
pub(crate) const BELOW: &str = "files below";

impl MissReason {
    /// Says what the step lies on instead of that file system's name, which says nothing to a person: the image `base`, or
    /// what the steps before it made.
    pub(crate) fn based_on(mut self, base: Option<&str>) -> Self {
        if let Self::Changed(changes) = &mut self {
            for change in changes.iter_mut().filter(|change| change.input == BELOW) {
                (change.before, change.after) = (Some(String::new()), Some(String::new()));
                if let Some(base) = base {
                    "base image".clone_into(&mut change.input);
                    change.name = Some(base.to_owned());
                }
            }
        }
        self
    }

    /// Names the files that changed by where they lie, not by where they are copied to.
    pub(crate) fn below(mut self, folder: &str) -> Self {
        if let Self::Changed(changes) = &mut self
            && !folder.is_empty()
        {
            for change in changes.iter_mut().filter(|change| change.input == FILE) {
                if let Some(name) = &mut change.name {
                    *name = format!("{folder}/{name}");
                }
            }
        }
        self
    }
}

fn compare(label: &str, before: Option<&Part>, after: Option<&Part>, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let changed = |name: &str, before: Option<String>, after: Option<String>| Change {
        input: label.to_owned(),
        name: Some(name.to_owned()),
        before,
        after,
    };
    match (before, after) {
        (Some(Part::Map(old)), Some(Part::Map(new))) => {
            differences(old.iter(), new.iter(), |name, before, after| {
                changes.push(changed(name, before.cloned(), after.cloned()));
            });
        }
        // What is at a path says nothing to a person.
        (Some(Part::Files(old)), Some(Part::Files(new))) => {
            differences(old.iter(), new.iter(), |name, before, after| {
                let known = |value: Option<&str>| value.map(|_| String::new());
                changes.push(changed(name, known(before), known(after)));
            });
        }
        _ => changes.push(Change {
            input: label.to_owned(),
            name: None,
            before: before.map(shown),
            after: after.map(shown),
        }),
    }
}

/// Passes on the names whose values differ, of two lists in the order of names.
fn differences<N: Ord + Copy, V: PartialEq + Copy>(
    old: impl Iterator<Item = (N, V)>,
    new: impl Iterator<Item = (N, V)>,
    mut found: impl FnMut(N, Option<V>, Option<V>),
) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let before = old.next_if(|_| order.is_le());
        let after = new.next_if(|_| order.is_ge());
        let (name, _) = before.or(after).expect("because one of them was there");
        let (before, after) = (
            before.map(|(_, value)| value),
            after.map(|(_, value)| value),
        );
        if before != after {
            found(name, before, after);
        }
    }
}

fn shown(part: &Part) -> String {
    match part {
        Part::Text(value) => value.clone(),
        Part::List(values) => values.join(" "),
        Part::Map(values) => format!("{} entries", values.len()),
        Part::Files(files) => format!("{} entries", files.len()),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.input)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match (self.before.as_deref(), self.after.as_deref()) {
            (None, _) => f.write_str(" added"),
            (_, None) => f.write_str(" removed"),
            (Some(""), Some("")) => f.write_str(" changed"),
            (Some(before), Some(after)) => {
                write!(f, " changed: {:?} is now {:?}", brief(before), brief(after))
            }
        }
    }
}

/// Cuts a long value: a message is one line.
fn brief(value: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut chars = value.chars();
    let cut: String = chars.by_ref().take(CHARS_MAX).collect();
    if chars.next().is_some() {
        cut + "…"
    } else {
        cut
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstRun => f.write_str("has not run before"),
            Self::NoCache => f.write_str("the cache was not to be used"),
            Self::Evicted => f.write_str("its result is no longer stored"),
            Self::TooOld { age_ms, limit_ms } => {
                let (age, limit) = (age::rough(*age_ms), age::exact(*limit_ms));
                write!(f, "made {age} ago, older than --cache-ttl {limit}")
            }
            Self::Changed(changes) => {
                for (i, change) in changes.iter().take(SHOWN_MAX).enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    change.fmt(f)?;
                }
                match changes.len().saturating_sub(SHOWN_MAX) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(env: &[(&str, &str)], files: &[(&str, &str)], command: &str) -> Parts {
        let map = |pairs: &[(&str, &str)]| {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            pairs.iter().map(owned).collect()
        };
        let mut parts = Parts::default();
        parts
            .text("command", command)
            .map("environment", map(env))
            .files("file", files.iter().copied().collect());
        parts
    }

    #[track_caller]
    fn check(before: &Parts, after: &Parts, expected: &str) {
        assert_eq!(MissReason::between(before, after).to_string(), expected);
    }

    #[test]
    fn ages_are_told_next_to_the_limit() {
        const HOUR_MS: u64 = 3_600_000;
        let reason = MissReason::TooOld {
            age_ms: 75 * HOUR_MS,
            limit_ms: 48 * HOUR_MS,
        };
        let expected = "made 3 days ago, older than --cache-ttl 2d";
        assert_eq!(reason.to_string(), expected);
    }

    #[test]
    fn names_what_differs() {
        let base = parts(&[("A", "1")], &[("x", "d1"), ("y", "d2")], "make");
        check(&base, &base, "its result is no longer stored");
        check(
            &base,
            &parts(&[("A", "1")], &[("x", "d1"), ("y", "d2")], "make all"),
            "command changed: \"make\" is now \"make all\"",
        );
        check(
            &base,
            &parts(
                &[("A", "2"), ("B", "")],
                &[("x", "d1"), ("y", "d2")],
                "make",
            ),
            "environment A changed: \"1\" is now \"2\"; environment B added",
        );
        check(
            &base,
            &parts(&[], &[("x", "d3"), ("z", "d2")], "make"),
            "environment A removed; file x changed; file y removed; and 1 more",
        );
    }
}

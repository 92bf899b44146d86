//! What a COPY or ADD source names.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::glob::{Glob, has_wildcards};
use crate::patterns::clean;
use crate::resolve::{View, follow};
use crate::{Context, ContextError};

/// A file or folder that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where the source, its wildcards filled in, points; its last name is what a copy is called.
    pub named: PathBuf,
    /// Where that is once every link is followed: the path to walk. Empty for the context's root.
    pub path: PathBuf,
}

impl Context {
    /// Finds what a source names. Leading slashes and `..` stop at the context's root; links in
    /// the named path are followed inside the context; wildcards match as [`crate::glob`] says.
    ///
    /// Wildcards that match nothing give an empty list; a plain path that isn't there or is
    /// excluded gives the error that says which.
    pub fn find(&self, source: &str) -> Result<Vec<Found>, ContextError> {
        let cleaned = clean(&format!("/{source}"));
        let relative = &cleaned[1..];
        if !has_wildcards(relative) {
            return Ok(vec![self.find_plain(relative)?]);
        }
        let (folder, pattern) = split_wildcards(relative);
        let glob = Glob::new(pattern)?;
        let folder = PathBuf::from(unescape(folder));
        let Some(start) = follow(&View::filtered(self), &folder)? else {
            return Ok(Vec::new());
        };
        let mut found: Vec<Found> = Vec::new();
        let mut taken: Option<PathBuf> = None;
        for entry in self.walk(&start)?.entries {
            if taken
                .as_ref()
                .is_some_and(|taken| entry.path.starts_with(taken))
            {
                continue;
            }
            let Ok(below) = entry.path.strip_prefix(&start) else {
                continue;
            };
            if below.as_os_str().is_empty() || !glob.matches(below.as_os_str().as_bytes()) {
                continue;
            }
            // What is below a match comes with it.
            taken = entry.is_directory().then(|| entry.path.clone());
            let named = folder.join(below);
            let path = follow(&View::filtered(self), &entry.path)?
                .ok_or_else(|| self.not_found(&named))?;
            found.push(Found { named, path });
        }
        Ok(found)
    }

    fn find_plain(&self, relative: &str) -> Result<Found, ContextError> {
        let as_written = PathBuf::from(relative);
        let unescaped = PathBuf::from(unescape(relative));
        for named in [&as_written, &unescaped] {
            if let Some(path) = follow(&View::filtered(self), named)? {
                return Ok(Found {
                    named: named.clone(),
                    path,
                });
            }
        }
        Err(self.why_not(&unescaped)?)
    }

    /// Tells why a path is not there: excluded, or missing.
    fn why_not(&self, named: &Path) -> Result<ContextError, ContextError> {
        let Some(path) = follow(&View::unfiltered(self), named)? else {
            return Ok(self.not_found(named));
        };
        let rule = self.ignore.excluding_rule(path.as_os_str().as_bytes());
        Ok(match rule {
            Some((rule, line)) => ContextError::Ignored {
                rule: rule.to_owned(),
                line,
                path,
            },
            None => self.not_found(named),
        })
    }

    fn not_found(&self, named: &Path) -> ContextError {
        ContextError::NotFound {
            named: named.to_owned(),
            similar: self.similar(named),
        }
    }

    /// Looks for a name in the same folder that differs by case or a letter or two.
    fn similar(&self, named: &Path) -> Option<PathBuf> {
        let name = named.file_name()?.to_str()?;
        let parent = named.parent()?;
        let start = follow(&View::filtered(self), parent).ok()??;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let folder = crate::resolve::open(self.root_fd(), &start, flags).ok()?;
        let listing = rustix::fs::Dir::new(folder).ok()?;
        let mut best: Option<(usize, String)> = None;
        for other in listing.flatten() {
            let Ok(other) = other.file_name().to_str() else {
                continue;
            };
            let distance = edits(&name.to_lowercase(), &other.to_lowercase());
            let close = other != name && distance <= 2.min(name.chars().count() / 3);
            let better = best
                .as_ref()
                .is_none_or(|best| (distance, other) < (best.0, &best.1));
            if close
                && better
                && !self.excludes(&start.join(other))
                && other != "."
                && other != ".."
            {
                best = Some((distance, other.to_owned()));
            }
        }
        best.map(|(_, name)| parent.join(name))
    }
}

/// Splits before the first name that holds a wildcard.
fn split_wildcards(path: &str) -> (&str, &str) {
    let mut start = 0;
    for name in path.split('/') {
        if has_wildcards(name) {
            break;
        }
        start += name.len() + 1;
    }
    (path[..start].trim_end_matches('/'), &path[start..])
}

/// Takes the backslashes off escaped characters: a plain source may escape what would be a
/// wildcard.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => plain.extend(chars.next().or(Some('\\'))),
            char => plain.push(char),
        }
    }
    plain
}

/// Counts the letters to insert, drop or replace to get from one word to another.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, wanted) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = corner + usize::from(wanted != *other);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_split_before_their_first_wildcard() {
        for (source, expected) in [
            ("*", ("", "*")),
            ("a/b*", ("a", "b*")),
            ("a/b/c?/d", ("a/b", "c?/d")),
            ("a\\*/b*", ("a\\*", "b*")),
        ] {
            assert_eq!(split_wildcards(source), expected, "{source}");
        }
    }

    #[test]
    fn edits_count_letters() {
        for (from, to, expected) in [
            ("a", "a", 0),
            ("abc", "abd", 1),
            ("abc", "ab", 1),
            ("", "xy", 2),
        ] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }
}

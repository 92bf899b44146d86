//! What can go wrong with a context.

use std::path::PathBuf;

use thiserror::Error;

use crate::glob::BadPattern;

/// Why something could not be had from a context. Paths are relative to the context's root unless
/// said otherwise.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The context's folder can't be opened.
    #[error("can't open the build context {path}")]
    Open {
        /// The folder, as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder in the context can't be read.
    #[error("can't read {path} in the build context")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A source names something that isn't in the context.
    #[error("{} is not in the build context{}", .named.display(), similar_hint(.similar.as_ref()))]
    NotFound {
        /// The source as it was named.
        named: PathBuf,
        /// A name in the same folder that is spelled almost like it.
        similar: Option<PathBuf>,
    },
    /// A source names something that the ignore rules exclude.
    #[error("{} is excluded by the rule `{rule}`{}; re-include it with `!{}`", .path.display(), line_hint(*.line), .path.display())]
    Ignored {
        /// The file or folder.
        path: PathBuf,
        /// The rule.
        rule: String,
        /// The rule's line in the ignore file.
        line: Option<usize>,
    },
    /// A source's wildcards have no meaning.
    #[error(transparent)]
    BadPattern(#[from] BadPattern),
    /// Links lead in a circle, or through too many others.
    #[error("{path} goes through too many symbolic links")]
    TooManyLinks {
        /// The source as it was named.
        path: PathBuf,
    },
    /// A file was written to while it was read.
    #[error(
        "{path} kept changing while it was read; build again when it is at rest, or exclude it in .dockerignore"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A context that came as a tar archive can't be unpacked.
    #[error("can't unpack the build context's archive at {entry}")]
    Archive {
        /// The archive's entry.
        entry: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// An entry of an archive would be written outside of the context.
    #[error("the build context's archive holds {entry}, which leads out of the context")]
    ArchiveEscape {
        /// The archive's entry.
        entry: PathBuf,
    },
}

fn similar_hint(similar: Option<&PathBuf>) -> String {
    similar.map_or_else(String::new, |path| {
        format!(" (did you mean {}?)", path.display())
    })
}

fn line_hint(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| {
        format!(" in line {line} of the ignore file")
    })
}

impl ContextError {
    /// Says whether what was named is not there, or excluded.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Ignored { .. })
    }

    pub(crate) fn read(path: impl Into<PathBuf>, source: impl Into<std::io::Error>) -> Self {
        Self::Read {
            path: path.into(),
            source: source.into(),
        }
    }
}

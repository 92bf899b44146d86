//! The files that the rules read, and what a rule finds.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host;

/// A text file of the working tree.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// The path from the root, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

impl SourceFile {
    /// Returns whether the file is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns the folder name of the crate that the file belongs to, when it lies in `crates/`.
    pub(super) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Returns the file's name without its folders.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns whether the file holds tests, benches or examples only.
    pub(super) fn is_test_code(&self) -> bool {
        let folders = ["tests", "benches", "examples", "fuzz"];
        self.path.split('/').any(|part| folders.contains(&part))
            || matches!(self.file_name(), "tests.rs" | "test.rs")
            || self.file_name().ends_with("_tests.rs")
    }
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The file, from the root.
    pub(super) path: String,
    /// The line, when the finding has one.
    pub(super) line: Option<usize>,
    /// What is wrong and what to do.
    pub(super) message: String,
}

impl Finding {
    /// Makes a finding about a whole file.
    pub(super) fn file(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            message: message.into(),
        }
    }

    /// Makes a finding about one line, counted from 1.
    pub(super) fn line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: Some(line),
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// Reads every text file that is committed or about to be.
pub(super) fn read_tree() -> Result<Vec<SourceFile>> {
    let root = host::root();
    let listed = host::output(Command::new("git").current_dir(&root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // A file deleted but not yet committed is listed; a link or a folder has no text.
        if !full.symlink_metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        let bytes = fs_err::read(&full).context("reading the working tree")?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

//! A folder to test with.

use std::path::{Path, PathBuf};

use stagewright_context::{Context, Patterns};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub(crate) struct Tree(TempDir);

impl Tree {
    /// Makes files of the given paths, each holding its own path; a path with a trailing slash is
    /// a folder, `a -> b` a link.
    pub(crate) fn new(paths: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for path in paths {
            tree.add(path);
        }
        tree
    }

    pub(crate) fn add(&self, path: &str) {
        let (path, target) = match path.split_once(" -> ") {
            Some((path, target)) => (path, Some(target)),
            None => (path, None),
        };
        let full = self.0.path().join(path);
        fs_err::create_dir_all(full.parent().unwrap()).unwrap();
        match target {
            Some(target) => fs_err::os::unix::fs::symlink(target, full).unwrap(),
            None if path.ends_with('/') => fs_err::create_dir_all(full).unwrap(),
            None => fs_err::write(full, path).unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn context(&self, ignore: &str) -> Context {
        Context::open(self.path(), Patterns::parse(ignore).unwrap()).unwrap()
    }

    pub(crate) fn listing(&self, path: &str, ignore: &str) -> Vec<String> {
        let walk = self.context(ignore).walk(Path::new(path)).unwrap();
        let path = |entry: &stagewright_context::Entry| entry.path.to_str().unwrap().to_owned();
        walk.entries.iter().map(path).collect()
    }
}

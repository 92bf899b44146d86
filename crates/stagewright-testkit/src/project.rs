//! A build context in a temporary folder.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

/// A folder with a project in it; removed when dropped.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// Makes an empty project.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that makes a folder surprises"
    )]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stagewright-project-")
            .tempdir()
            .unwrap();
        Self { folder }
    }

    /// Makes a project of a folder's files: a copy, links as links.
    #[must_use]
    pub fn copy_of(source: &Path) -> Self {
        let project = Self::new();
        copy_folder(source, project.path());
        project
    }

    /// Returns the project's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with its folders; an existing one is replaced.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Makes a folder, with those above it.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        fs_err::create_dir_all(self.path().join(path)).unwrap();
        self
    }

    /// Sets the permissions of what lies at a path.
    #[must_use]
    pub fn mode(self, path: &str, mode: u32) -> Self {
        let permissions = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(self.path().join(path), permissions).unwrap();
        self
    }

    /// Makes a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let link = self.with_parent(path);
        fs_err::os::unix::fs::symlink(target, link).unwrap();
        self
    }

    /// Writes a file of a project in use.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs_err::write(self.with_parent(path), content).unwrap();
    }

    /// Moves a file's time by an hour and leaves its bytes as they are.
    pub fn touch(&self, path: &str) {
        let file = fs_err::OpenOptions::new()
            .append(true)
            .open(self.path().join(path))
            .unwrap();
        let time = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(3600);
        file.file().set_times(times(time)).unwrap();
    }

    /// Removes a file of a project in use.
    pub fn remove(&self, path: &str) {
        fs_err::remove_file(self.path().join(path)).unwrap();
    }

    fn with_parent(&self, path: &str) -> PathBuf {
        let full = self.path().join(path);
        if let Some(parent) = full.parent() {
            fs_err::create_dir_all(parent).unwrap();
        }
        full
    }
}

fn times(time: SystemTime) -> std::fs::FileTimes {
    std::fs::FileTimes::new().set_modified(time)
}

fn copy_folder(source: &Path, destination: &Path) {
    for entry in fs_err::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), destination.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs_err::create_dir(&to).unwrap();
            copy_folder(&from, &to);
        } else if kind.is_symlink() {
            fs_err::os::unix::fs::symlink(fs_err::read_link(&from).unwrap(), &to).unwrap();
        } else {
            fs_err::copy(&from, &to).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_holds_what_it_was_given() {
        let project = Project::new()
            .file("src/a.sh", "one")
            .mode("src/a.sh", 0o750)
            .symlink("link", "src/a.sh")
            .folder("empty");
        let copy = Project::copy_of(project.path());
        for folder in [project.path(), copy.path()] {
            assert_eq!(fs_err::read_to_string(folder.join("link")).unwrap(), "one");
            assert_eq!(
                fs_err::read_link(folder.join("link")).unwrap(),
                Path::new("src/a.sh")
            );
            let mode = fs_err::metadata(folder.join("src/a.sh"))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o750);
            assert!(folder.join("empty").is_dir());
        }
    }

    #[test]
    fn a_touch_changes_the_time_alone() {
        let project = Project::new().file("a", "text");
        let file = project.path().join("a");
        let before = fs_err::metadata(&file).unwrap().modified().unwrap();
        project.touch("a");
        assert_ne!(fs_err::metadata(&file).unwrap().modified().unwrap(), before);
        assert_eq!(fs_err::read_to_string(&file).unwrap(), "text");
    }
}

//! Buildah, the builder that ours is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{output, program};
use crate::{Image, Project};

/// Buildah with a storage of its own. It needs root here: its rootless mode changes what is
/// compared.
#[derive(Debug)]
pub struct Buildah {
    program: PathBuf,
    state: TempDir,
}

impl Buildah {
    /// Takes Buildah with an empty storage, which goes when this is dropped.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that may panic surprises"
    )]
    pub fn new() -> Self {
        let state = tempfile::Builder::new()
            .prefix("stagewright-buildah-")
            .tempdir()
            .unwrap();
        Self {
            program: program("buildah", "buildah"),
            state,
        }
    }

    /// Makes an OCI layout known under the name that a Dockerfile gives its base.
    pub fn add_base(&self, layout: &Path, name: &str) {
        let source = format!("oci:{}", layout.display());
        let pulled = output(self.command().args(["pull", "--quiet", &source])).success();
        let id = pulled.stdout.trim();
        let _ = output(self.command().args(["tag", id, name])).success();
    }

    /// Builds a project and reads the image back.
    ///
    /// # Panics
    ///
    /// When the build fails.
    #[must_use]
    pub fn build(&self, project: &Project, arguments: &[&str]) -> Image {
        let _ = output(
            self.command()
                .args([
                    "build",
                    "--quiet",
                    "--layers",
                    "--isolation=chroot",
                    "--pull-never",
                ])
                .args(["--tag", "localhost/result"])
                .args(arguments)
                .arg(project.path()),
        )
        .success();
        let layout = self.state.path().join("result");
        let target = format!("oci:{}", layout.display());
        let push = [
            "push",
            "--quiet",
            "--disable-compression",
            "localhost/result",
            &target,
        ];
        let _ = output(self.command().args(push)).success();
        let image = Image::read(&layout);
        fs_err::remove_dir_all(&layout).unwrap();
        image
    }

    /// Returns Buildah with its storage chosen.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.state.path().join("root"))
            .arg("--runroot")
            .arg(self.state.path().join("run"));
        command
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // Storage mounts would keep the folder from being removed; without one this changes nothing.
        let _ = self.command().args(["umount", "--all"]).output();
    }
}

//! Buildah, the builder that ours is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{output, program};
use crate::{Entry, Image, Kind, Project, Rootfs};

/// Buildah with a storage of its own. It needs root here: its rootless mode changes what is
/// compared.
#[derive(Debug)]
pub struct Buildah {
    program: PathBuf,
    state: TempDir,
    /// Whether bases may come from a registry.
    pull: bool,
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
        Self::new_in(&std::env::temp_dir())
    }

    /// Takes Buildah with an empty storage in this folder.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn new_in(folder: &Path) -> Self {
        let state = tempfile::Builder::new()
            .prefix("stagewright-buildah-")
            .tempdir_in(folder)
            .unwrap();
        Self {
            program: program("buildah", "buildah"),
            state,
            pull: false,
        }
    }

    /// Takes the images of docker.io from a registry without TLS at an address.
    #[must_use]
    pub fn with_mirror(mut self, address: &str) -> Self {
        let mirror = format!(
            "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\ninsecure = true\n"
        );
        fs_err::write(self.registries(), mirror).unwrap();
        self.pull = true;
        self
    }

    fn registries(&self) -> PathBuf {
        self.state.path().join("registries.conf")
    }

    /// Makes an OCI layout known under the name that a Dockerfile gives its base.
    pub fn add_base(&self, layout: &Path, name: &str) {
        // Buildah makes a name of the path, in which temporary folders' capitals are not allowed:
        // it is given the last part alone.
        let (Some(parent), Some(folder)) = (layout.parent(), layout.file_name()) else {
            panic!("{} has no parent", layout.display());
        };
        let source = format!("oci:{}", Path::new(folder).display());
        let pulled = output(
            self.command()
                .current_dir(parent)
                .args(["pull", "--quiet", &source]),
        )
        .success();
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
        self.try_build("result", project, arguments)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// Builds a project under a name, which several at a time may not share, and reads the image
    /// back; else says why it can't be built.
    pub fn try_build(
        &self,
        name: &str,
        project: &Project,
        arguments: &[&str],
    ) -> Result<Image, String> {
        let tag = format!("localhost/{name}");
        let pull = if self.pull { "--pull" } else { "--pull-never" };
        let build = || {
            let mut command = self.command();
            command
                .args(["build", "--quiet", "--layers", "--isolation=chroot", pull])
                // Else it adds a label with its own version.
                .arg("--identity-label=false")
                .args(["--tag", &tag])
                .args(arguments)
                .arg(project.path());
            output(&mut command)
        };
        let mut built = build();
        // It copies itself into memory for each step, and loses that race now and then.
        if built.stderr.contains("sealing memfd copy") {
            built = build();
        }
        if !built.status.success() {
            return Err(built.stderr);
        }
        let layout = self.state.path().join(name);
        let target = format!("oci:{}", layout.display());
        let push = ["push", "--quiet", "--disable-compression", &tag, &target];
        let _ = output(self.command().args(push)).success();
        let mut image = Image::read(&layout);
        fs_err::remove_dir_all(&layout).unwrap();
        remove_mount_points(&mut image.rootfs);
        Ok(image)
    }

    /// Returns Buildah with its storage chosen.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.state.path().join("root"))
            .arg("--runroot")
            .arg(self.state.path().join("run"))
            // Blobs on their way, which would else lie on the machine's disk.
            .env("TMPDIR", self.state.path());
        if self.pull {
            command.env("CONTAINERS_REGISTRIES_CONF", self.registries());
        }
        command
    }
}

/// Removes the empty files that Buildah mounts over in each RUN and leaves in its layer; no other
/// builder has them.
fn remove_mount_points(rootfs: &mut Rootfs) {
    for path in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
        let stub = |entry: &Entry| matches!(entry.kind, Kind::File { size: 0, .. });
        if rootfs.get(path).is_some_and(stub) {
            rootfs.entries.remove(path);
        }
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // Storage mounts would keep the folder from being removed; without one this changes nothing.
        let _ = self.command().args(["umount", "--all"]).output();
    }
}

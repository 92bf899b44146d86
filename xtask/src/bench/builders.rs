//! The builders that are compared, each told to do the same in its own words.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Result;

use super::daemons::{Docker, program};
use super::disk::Disk;
use super::tree::Tree;
use super::workloads::Workload;
use crate::host;

/// How an image is written into one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    /// Layers as they are.
    Plain,
    Gzip,
    Zstd,
}

/// One builder with state of its own on a disk of its own.
pub(super) struct Builder {
    /// The name in tables.
    pub(super) name: &'static str,
    /// What it says of its version.
    pub(super) version: String,
    kind: Kind,
    tree: Option<Rc<Tree>>,
    // Last, so that daemons have ended when their disk is unmounted.
    disk: Disk,
}

enum Kind {
    Stagewright { program: PathBuf },
    Docker(Docker),
    Buildah,
    Podman,
}

impl Builder {
    /// Returns this tree's command.
    pub(super) fn stagewright(program: PathBuf, disk: Disk) -> Result<Self> {
        let version = host::output(Command::new(&program).arg("--version"))?;
        Ok(Self {
            name: "stagewright",
            version: version.trim().to_owned(),
            kind: Kind::Stagewright { program },
            tree: None,
            disk,
        })
    }

    /// Starts a dockerd, and returns its BuildKit.
    pub(super) fn docker(name: &'static str, tree: Option<Rc<Tree>>, disk: Disk) -> Result<Self> {
        let docker = Docker::start(tree.as_deref(), disk.path())?;
        let format = "docker {{.Server.Version}}";
        let version = host::output(
            docker
                .client(tree.as_deref())
                .args(["version", "-f", format]),
        )?;
        Ok(Self {
            name,
            version: version.trim().to_owned(),
            kind: Kind::Docker(docker),
            tree,
            disk,
        })
    }

    /// Returns the Buildah or the Podman of a tree.
    pub(super) fn containers(
        name: &'static str,
        tree: Option<Rc<Tree>>,
        disk: Disk,
    ) -> Result<Self> {
        let podman = name.starts_with("podman");
        let command = if podman { "podman" } else { "buildah" };
        let version = host::output(program(tree.as_deref(), command).arg("--version"))?;
        Ok(Self {
            name,
            version: version.trim().to_owned(),
            kind: if podman { Kind::Podman } else { Kind::Buildah },
            tree,
            disk,
        })
    }

    /// Returns the process that works for this builder's command, if there is one.
    pub(super) fn daemon(&self) -> Option<u32> {
        match &self.kind {
            Kind::Docker(docker) => Some(docker.process()),
            _ => None,
        }
    }

    /// Where its state lies.
    pub(super) fn folder(&self) -> &Path {
        self.disk.path()
    }

    /// Gives what it has forgotten back to the machine's disk.
    pub(super) fn trim(&self) -> Result<()> {
        let _ = fs_err::remove_file(self.archive_file());
        self.disk.trim()
    }

    /// Returns whether it is this tree's command.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Stagewright { .. })
    }

    /// Returns whether some phases are not taken of it, to have the rest within an hour.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.kind, Kind::Buildah | Kind::Podman)
    }

    /// Where its measured commands write what they print.
    pub(super) fn log(&self) -> PathBuf {
        self.disk.path().join("last.log")
    }

    /// Has the bases ready, as a machine that builds every day has them.
    pub(super) fn prepare(&self, bases: &[String], seed: &Path) -> Result<()> {
        match &self.kind {
            Kind::Stagewright { .. } => {
                // A step in each base has it downloaded and unpacked.
                host::output(&mut self.build_of("seed", seed))?;
                self.copy_store("store", "seed-store")?;
            }
            Kind::Docker(docker) => {
                for base in bases {
                    host::output(
                        docker
                            .client(self.tree.as_deref())
                            .args(["pull", "-q", base]),
                    )?;
                }
            }
            Kind::Buildah | Kind::Podman => {
                for base in bases {
                    host::output(
                        self.storage()
                            .args(["pull", "-q", "--tls-verify=false", base]),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Forgets everything that was built; the bases stay.
    pub(super) fn forget(&self, workload: &Workload) -> Result<()> {
        match &self.kind {
            Kind::Stagewright { .. } => {
                fs_err::remove_dir_all(self.disk.path().join("store"))?;
                self.copy_store("seed-store", "store")?;
            }
            Kind::Docker(docker) => {
                let client = || docker.client(self.tree.as_deref());
                // Not there is what is wanted.
                let _ = host::output(client().args(["rmi", "-f", workload.name]));
                host::output(client().args(["image", "prune", "-f"]))?;
                host::output(client().args(["builder", "prune", "-af"]))?;
            }
            Kind::Buildah | Kind::Podman => {
                let _ = host::output(self.storage().args(["rmi", "-f", workload.name]));
                // Each call takes away one level of what is left without a name.
                while !host::output(self.prune().arg("-f"))?.trim().is_empty() {}
            }
        }
        host::output(&mut Command::new("sync"))?;
        Ok(())
    }

    /// Returns the command that builds a workload.
    pub(super) fn build(&self, workload: &Workload) -> Command {
        self.build_of(workload.name, &workload.folder)
    }

    /// Returns the command that builds a folder under a name.
    pub(super) fn build_of(&self, name: &str, folder: &Path) -> Command {
        let mut command = match &self.kind {
            Kind::Stagewright { program } => {
                let mut command = Command::new(program);
                command
                    .args(["build", "--quiet", "--store"])
                    .arg(self.store());
                command
            }
            Kind::Docker(docker) => {
                let mut command = docker.client(self.tree.as_deref());
                command.args(["build", "--quiet", "--network=host"]);
                command
            }
            Kind::Buildah | Kind::Podman => {
                let mut command = self.storage();
                command.args(["build", "--quiet", "--layers", "--isolation=chroot"]);
                command.args(["--network=host", "--tls-verify=false"]);
                command
            }
        };
        command.args(["-t", name]).arg(folder);
        command
    }

    /// Returns the command that writes a built workload into one file.
    pub(super) fn archive(&self, workload: &Workload, archive: Archive) -> Command {
        let file = self.archive_file();
        // A file that is overwritten would cost what freeing its blocks costs.
        let _ = fs_err::remove_file(&file);
        let packer = match archive {
            Archive::Plain => "",
            Archive::Gzip => "gzip",
            Archive::Zstd => "zstd",
        };
        match &self.kind {
            Kind::Stagewright { .. } => {
                let mut command = self.build_of(workload.name, &workload.folder);
                let compression = if packer.is_empty() {
                    "uncompressed"
                } else {
                    packer
                };
                command.arg("--output").arg(format!(
                    "type=oci,dest={},compression={compression}",
                    file.display()
                ));
                command
            }
            Kind::Docker(docker) => {
                let mut save = docker.client(self.tree.as_deref());
                save.args(["save", workload.name]);
                let pipe = match archive {
                    Archive::Plain => String::new(),
                    Archive::Gzip => "| gzip -6".to_owned(),
                    Archive::Zstd => "| zstd -3 -q -T0".to_owned(),
                };
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!(
                    "set -e; {} {pipe} > {}",
                    host::shown(&save),
                    file.display()
                ));
                command
            }
            // Its push always compresses.
            Kind::Podman if archive == Archive::Plain => {
                let mut command = self.storage();
                command.args(["save", "-q", "--format=oci-archive", "--uncompressed", "-o"]);
                command.arg(&file).arg(workload.name);
                command
            }
            Kind::Buildah | Kind::Podman => {
                let mut command = self.storage();
                command.args(["push", "-q"]);
                if !packer.is_empty() {
                    command.args(["--force-compression", "--compression-format", packer]);
                } else {
                    command.arg("--disable-compression");
                }
                command.arg(workload.name);
                command.arg(format!("oci-archive:{}", file.display()));
                command
            }
        }
    }

    /// Where [`Builder::archive`] writes.
    pub(super) fn archive_file(&self) -> PathBuf {
        self.disk.path().join("archive.tar")
    }

    /// Returns the command that pushes a built workload to a registry, and what is to be done before it.
    pub(super) fn push(&self, workload: &Workload, name: &str) -> (Vec<Command>, Command) {
        match &self.kind {
            Kind::Stagewright { .. } => {
                let mut command = self.build_of(name, &workload.folder);
                command.arg("--push");
                (Vec::new(), command)
            }
            Kind::Docker(docker) => {
                let mut tag = docker.client(self.tree.as_deref());
                tag.args(["tag", workload.name, name]);
                let mut push = docker.client(self.tree.as_deref());
                push.args(["push", "-q", name]);
                (vec![tag], push)
            }
            Kind::Buildah | Kind::Podman => {
                let mut push = self.storage();
                push.args(["push", "-q", "--tls-verify=false", workload.name]);
                push.arg(format!("docker://{name}"));
                (Vec::new(), push)
            }
        }
    }

    fn store(&self) -> PathBuf {
        self.disk.path().join("store")
    }

    fn copy_store(&self, from: &str, to: &str) -> Result<()> {
        host::output(
            Command::new("cp")
                .arg("-a")
                .arg(self.disk.path().join(from))
                .arg(self.disk.path().join(to)),
        )?;
        Ok(())
    }

    /// Returns a buildah or podman command over this builder's own storage.
    fn storage(&self) -> Command {
        let name = match self.kind {
            Kind::Podman => "podman",
            _ => "buildah",
        };
        let mut command = program(self.tree.as_deref(), name);
        command.arg("--root").arg(self.disk.path().join("storage"));
        command.arg("--runroot").arg(self.disk.path().join("run"));
        command.arg("--storage-driver=overlay");
        command
    }

    fn prune(&self) -> Command {
        let mut command = self.storage();
        match self.kind {
            Kind::Podman => command.args(["image", "prune"]),
            _ => command.args(["rmi", "--prune"]),
        };
        command
    }
}

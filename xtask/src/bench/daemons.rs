//! Docker's daemon, run for the measurement alone: its own folders, its own socket, ended by its process id.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::tree::Tree;
use crate::host;

/// How often, and how far apart, a starting daemon is asked for its version.
const TRIES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// A running dockerd; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Docker {
    daemon: Child,
    socket: PathBuf,
}

impl Docker {
    /// Starts the machine's own dockerd, or that of a tree, with all its state in a folder.
    pub(super) fn start(tree: Option<&Tree>, folder: &Path) -> Result<Self> {
        let socket = folder.join("docker.sock");
        let mut command = program(tree, "dockerd");
        // A daemon needs neither a bridge nor a firewall to build with the host's network.
        command
            .args(["--storage-driver=overlay2", "--bridge=none"])
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
            ])
            .arg(format!("--data-root={}", folder.join("data").display()))
            .arg(format!("--exec-root={}", folder.join("exec").display()))
            .arg(format!("--pidfile={}", folder.join("docker.pid").display()))
            .arg(format!("--host=unix://{}", socket.display()));
        let log = fs_err::File::create(folder.join("dockerd.log"))?.into_file();
        let daemon = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log)
            .spawn()
            .context("starting dockerd")?;
        let mut docker = Self { daemon, socket };
        for _ in 0..TRIES_MAX {
            if host::output(docker.client(tree).arg("version")).is_ok() {
                return Ok(docker);
            }
            if let Some(status) = docker.daemon.try_wait()? {
                bail!(
                    "dockerd ended with {status}; see {}",
                    folder.join("dockerd.log").display()
                );
            }
            thread::sleep(PAUSE);
        }
        bail!("dockerd does not answer on {}", docker.socket.display())
    }

    /// Returns a `docker` command that talks to this daemon.
    pub(super) fn client(&self, tree: Option<&Tree>) -> Command {
        let mut command = program(tree, "docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()));
        command.env("DOCKER_BUILDKIT", "1");
        command
    }

    /// Returns the daemon's process; nsenter becomes what it runs, so that it is the daemon in a tree too.
    pub(super) fn process(&self) -> u32 {
        self.daemon.id()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // A daemon that is asked ends its containerd and unmounts what it mounted.
        let _ = host::output(Command::new("kill").arg(self.daemon.id().to_string()));
        let _ = self.daemon.wait();
    }
}

/// Returns a command that runs a program of this machine, or of a tree.
pub(super) fn program(tree: Option<&Tree>, name: &str) -> Command {
    match tree {
        Some(tree) => tree.command(name),
        // The package's own, whatever else of that name comes first on the PATH.
        None => Command::new(
            ["/usr/bin", "/usr/sbin"]
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|file| file.is_file())
                .unwrap_or_else(|| PathBuf::from(name)),
        ),
    }
}

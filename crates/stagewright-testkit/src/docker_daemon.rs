//! Debian's dockerd, which knows nothing of this project.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Output, output, program};

const STARTING_TRIES_MAX: u32 = 200;

/// A dockerd with a data root of its own that ends with the test. It needs root, makes no bridge and
/// touches no firewall.
#[derive(Debug)]
pub struct DockerDaemon {
    process: Child,
    folder: TempDir,
}

impl Drop for DockerDaemon {
    fn drop(&mut self) {
        // A kill would leave its containerd behind.
        let mut end = Command::new("kill");
        drop(output(end.arg(self.process.id().to_string())));
        drop(self.process.wait());
    }
}

impl DockerDaemon {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("dockerd-")
            .tempdir()
            .unwrap();
        let path = folder.path();
        let log = fs_err::File::create(path.join("log")).unwrap();
        let process = Command::new(program("dockerd", "docker.io"))
            .arg("--data-root")
            .arg(path.join("data"))
            .arg("--exec-root")
            .arg(path.join("exec"))
            .arg("--pidfile")
            .arg(path.join("pid"))
            .arg(format!("--host=unix://{}", path.join("socket").display()))
            // Nothing is mounted that could be left behind, and it works on every file system.
            .arg("--storage-driver=vfs")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .arg("--ip-forward=false")
            // Its hosts and log drivers are not those of the machine's own daemon.
            .arg("--config-file")
            .arg(empty_config(path.join("daemon.json")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        let daemon = Self { process, folder };
        for _ in 0..STARTING_TRIES_MAX {
            let mut version = daemon.command();
            if output(version.arg("version")).status.success() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs_err::read_to_string(daemon.folder.path().join("log")).unwrap();
        panic!("dockerd does not answer:\n{log}");
    }

    /// Has a command, and what it starts, find this daemon.
    pub fn reach<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let path = self.folder.path();
        command
            .env(
                "DOCKER_HOST",
                format!("unix://{}", path.join("socket").display()),
            )
            .env("DOCKER_CONFIG", path.join("config"))
            .env_remove("DOCKER_CONTEXT")
    }

    /// Runs `docker` to its end.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn docker(&self, arguments: &[&str]) -> Output {
        output(self.command().args(arguments)).success()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("docker", "docker.io"));
        self.reach(&mut command);
        command
    }
}

fn empty_config(path: PathBuf) -> PathBuf {
    fs_err::write(&path, "{}").unwrap();
    path
}

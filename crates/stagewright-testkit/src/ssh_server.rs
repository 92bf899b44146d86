//! An ssh server on the loopback network, with keys of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{output, program};

/// OpenSSH's server, which lets root in with the keys that a test makes, until it is dropped.
pub struct SshServer {
    folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl SshServer {
    /// Starts a server that knows no keys. Needs root.
    ///
    /// # Panics
    ///
    /// When this machine has no OpenSSH server, or it does not start.
    pub fn start() -> Self {
        let sshd = program("sshd", "openssh-server");
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        make_key(&at("host"), &["-t", "ed25519", "-N", ""]);
        fs_err::write(at("authorized"), "").unwrap();
        // What the package leaves to the system's start.
        fs_err::create_dir_all("/run/sshd").unwrap();
        // A port that is free now; sshd takes no listening socket.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f", "/dev/null"]);
        for option in [
            format!("ListenAddress=127.0.0.1:{port}"),
            format!("HostKey={}", at("host").display()),
            format!("AuthorizedKeysFile={}", at("authorized").display()),
            "PidFile=none".to_owned(),
            "StrictModes=no".to_owned(),
            "UsePAM=no".to_owned(),
            "PasswordAuthentication=no".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs_err::File::create(at("log")).unwrap().into_parts().0)
            .spawn()
            .unwrap();
        let server = Self {
            folder,
            port,
            process,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "sshd did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns what the server said.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a key with options of `ssh-keygen`, lets it in, and returns its file.
    pub fn key(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.folder.path().join(name);
        make_key(&path, options);
        let public = fs_err::read_to_string(path.with_extension("pub")).unwrap();
        let authorized = self.folder.path().join("authorized");
        let known = fs_err::read_to_string(&authorized).unwrap();
        fs_err::write(&authorized, known + &public).unwrap();
        path
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn make_key(path: &Path, options: &[&str]) {
    let mut command = Command::new(program("ssh-keygen", "openssh-client"));
    command.args(["-q", "-f"]).arg(path).args(options);
    let _ = output(&mut command).success();
}

/// An agent with one key, until it is dropped.
pub struct SshAgent {
    process: Child,
    folder: tempfile::TempDir,
}

impl SshAgent {
    /// Starts an agent that has a key.
    pub fn start(key: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let process = Command::new(program("ssh-agent", "openssh-client"))
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { process, folder };
        let end = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            assert!(Instant::now() < end, "ssh-agent did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = agent.command(&["-q", &key.display().to_string()]).success();
        agent
    }

    /// Returns its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Returns what it says of its keys.
    pub fn list(&self) -> String {
        self.command(&["-l"]).success().stdout
    }

    fn command(&self, arguments: &[&str]) -> crate::Output {
        let mut command = Command::new(program("ssh-add", "openssh-client"));
        command.env("SSH_AUTH_SOCK", self.socket()).args(arguments);
        output(&mut command)
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

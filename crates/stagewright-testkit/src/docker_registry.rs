//! Debian's docker-registry, which knows nothing of this project.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{output, program};

/// The name `u` and the password `p`, as htpasswd keeps them.
const HTPASSWD: &str = "u:$2b$05$LrvXnMs7dehPF6BpVLkwPOtTKhdD0iHXVk01lTUc5TIZou1eL6fFK\n";
const STARTING_TRIES_MAX: u32 = 100;

/// A docker-registry on the loopback that ends with the test.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    address: String,
    folder: TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl DockerRegistry {
    /// Starts one for everybody, over plain HTTP.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn open() -> Self {
        Self::start(|_| Vec::new())
    }

    /// Starts one that wants the name `u` and the password `p`, over TLS with a CA of its own.
    ///
    /// # Panics
    ///
    /// When it is not installed, or openssl is not.
    #[must_use]
    pub fn with_login_and_tls() -> Self {
        Self::start(|path| {
            make_certificates(path);
            fs_err::write(path.join("htpasswd"), HTPASSWD).unwrap();
            let file = |name: &str| path.join(name).display().to_string();
            vec![
                ("REGISTRY_AUTH_HTPASSWD_REALM", "test".to_owned()),
                ("REGISTRY_AUTH_HTPASSWD_PATH", file("htpasswd")),
                ("REGISTRY_HTTP_TLS_CERTIFICATE", file("server.pem")),
                ("REGISTRY_HTTP_TLS_KEY", file("server.key")),
            ]
        })
    }

    fn start(setup: impl FnOnce(&Path) -> Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs_err::write(
            path.join("config.yml"),
            "version: 0.1\nstorage: {filesystem: {rootdirectory: /nonexistent}}\nhttp: {addr: ':0'}\n",
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let log = fs_err::File::create(path.join("log")).unwrap();
        let process = Command::new(program("docker-registry", "docker-registry"))
            .arg("serve")
            .arg(path.join("config.yml"))
            .env(
                "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY",
                path.join("storage"),
            )
            .env("REGISTRY_HTTP_ADDR", &address)
            .env("OTEL_TRACES_EXPORTER", "none")
            .envs(setup(path))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        let registry = Self {
            process,
            address,
            folder,
        };
        for _ in 0..STARTING_TRIES_MAX {
            if TcpStream::connect(&registry.address).is_ok() {
                return registry;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs_err::read_to_string(registry.folder.path().join("log")).unwrap();
        panic!("docker-registry does not listen:\n{log}");
    }

    /// Returns `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the certificate of its CA.
    #[must_use]
    pub fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// Makes a CA and a certificate for the server, with openssl.
fn make_certificates(path: &Path) {
    let script = "set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server
printf 'subjectAltName=IP:127.0.0.1\n' > ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile ext";
    let mut command = Command::new("sh");
    let _ = output(command.args(["-c", script]).current_dir(path)).success();
}

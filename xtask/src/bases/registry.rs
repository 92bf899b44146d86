//! A registry on the loopback interface that serves the stand-ins under the names that they stand
//! in for. It is Debian's docker-registry, so that what pulls from it is tried on a real one.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::make::{Bases, IMAGES};
use crate::host;

const CONFIG: &str = "version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {}}\n";
/// How often, and how far apart, a starting registry is asked whether it listens.
const STARTING_TRIES_MAX: u32 = 100;
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// A running registry; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    /// Starts a registry over a folder's storage, with the stand-ins in it.
    pub(crate) fn start(state: &Path, bases: &Bases) -> Result<Self> {
        let storage = state.join("registry");
        let marker = state.join("registry.recipe");
        let filled = fs_err::read_to_string(&marker).is_ok_and(|found| found == bases.recipe);
        if !filled && storage.exists() {
            fs_err::remove_dir_all(&storage)?;
        }
        fs_err::create_dir_all(&storage)?;
        let registry = serve(state, &storage)?;
        if !filled {
            for (name, tag, folder) in IMAGES {
                let source = format!("oci:{}", bases.layout(folder).display());
                push(&source, &format!("{}/{name}:{tag}", registry.address))?;
            }
            fs_err::write(&marker, &bases.recipe)?;
        }
        println!("stand-in bases: served on {}", registry.address);
        Ok(registry)
    }

    /// Starts an empty registry that keeps what is pushed in a folder.
    pub(crate) fn empty(folder: &Path) -> Result<Self> {
        let storage = folder.join("storage");
        fs_err::create_dir_all(&storage)?;
        serve(folder, &storage)
    }

    /// Returns `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Already ended is fine, and there is nobody to tell otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(state: &Path, storage: &Path) -> Result<Registry> {
    let config = state.join("registry.yml");
    fs_err::write(&config, CONFIG)?;
    let address = free_address()?;
    let program = host::find_program("docker-registry").context("there is no docker-registry")?;
    let log = fs_err::File::create(state.join("registry.log"))?;
    // setpriv has the kernel end the registry with this program, however that ends.
    let process = Command::new("setpriv")
        .args(["--pdeathsig", "TERM"])
        .arg(program)
        .arg("serve")
        .arg(&config)
        .env("REGISTRY_HTTP_ADDR", &address)
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", storage)
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.into_file())
        .spawn()
        .context("starting docker-registry")?;
    let mut registry = Registry { process, address };
    for _ in 0..STARTING_TRIES_MAX {
        if std::net::TcpStream::connect(&registry.address).is_ok() {
            return Ok(registry);
        }
        if let Some(status) = registry.process.try_wait()? {
            bail!(
                "docker-registry ended with {status}; see {}/registry.log",
                state.display()
            );
        }
        thread::sleep(STARTING_PAUSE);
    }
    bail!("docker-registry does not listen on {}", registry.address)
}

/// Returns an address that was free a moment ago.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.to_string())
}

/// Copies an image, which skopeo names so, to a registry on this machine.
pub(crate) fn push(source: &str, name: &str) -> Result<()> {
    host::run(
        Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
            ])
            .args([source, &format!("docker://{name}")]),
    )
}

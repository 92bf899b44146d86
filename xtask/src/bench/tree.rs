//! Newer Debian's builders, in a tree of their own: what this machine's own release has is years older.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host;

/// The release that the tree is made of.
const RELEASE: &str = "trixie";
const PACKAGES: &str = "ca-certificates,docker.io,docker-cli,docker-buildx,buildah,podman,crun,runc,iptables,netavark,procps";
/// How often a tree that is being entered is asked whether it is there.
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A root file system that commands can be run in, with the host's processes, network and devices.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    holder: Child,
}

impl Tree {
    /// Makes the tree below a folder, once, and enters it; `shared` is seen in it at the same place.
    pub(super) fn enter(folder: &Path, shared: &Path) -> Result<Self> {
        let root = folder.join(RELEASE);
        if !root.join("usr/bin/buildah").exists() {
            make(&root)?;
        }
        fs_err::create_dir_all(root.join("etc/containers"))?;
        fs_err::write(root.join("etc/containers/containers.conf"), limits()?)?;
        fs_err::copy("/etc/resolv.conf", root.join("etc/resolv.conf"))?;
        let inside = root.join(shared.strip_prefix("/").unwrap_or(shared));
        fs_err::create_dir_all(&inside)?;
        fs_err::create_dir_all(root.join("mnt"))?;
        let script = format!(
            "set -e; mount --bind {root} {root}; cd {root}; for m in proc sys dev; do mount --rbind /$m {root}/$m; done; \
             mount --rbind {shared} {inside}; mount -t tmpfs tmpfs {root}/run; pivot_root . mnt; umount -l /mnt; \
             touch /run/entered; exec sleep infinity",
            root = root.display(),
            shared = shared.display(),
            inside = inside.display(),
        );
        // setpriv has the kernel end the holder, and with it the mounts, when this program ends.
        let holder = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                "sh",
                "-c",
            ])
            .arg(script)
            .stdin(Stdio::null())
            .spawn()
            .context("starting what holds the tree")?;
        let mut tree = Self { root, holder };
        for _ in 0..TRIES_MAX {
            if host::output(tree.command("test").args(["-e", "/run/entered"])).is_ok() {
                return Ok(tree);
            }
            if let Some(status) = tree.holder.try_wait()? {
                bail!("what holds {} ended with {status}", tree.root.display());
            }
            thread::sleep(PAUSE);
        }
        bail!("{} can't be entered", tree.root.display())
    }

    /// Returns a command that runs a program of the tree.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--target", &self.holder.id().to_string(), "--"])
            .arg(program);
        command
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn make(root: &Path) -> Result<()> {
    println!(
        "{RELEASE}: making a tree of newer builders in {}",
        root.display()
    );
    if root.exists() {
        fs_err::remove_dir_all(root)?;
    }
    fs_err::create_dir_all(root)?;
    host::run(
        Command::new("mmdebstrap")
            .args([
                "--quiet",
                "--variant=minbase",
                "--mode=root",
                "--components=main",
            ])
            .args(["--aptopt=APT::Install-Recommends \"false\""])
            .args(["--aptopt=Acquire::Check-Valid-Until \"false\""])
            .arg(format!("--include={PACKAGES}"))
            .arg(RELEASE)
            .arg(root)
            .arg(mirror()?),
    )
}

/// Returns a configuration that raises no limit: a root without the capability for it may not, and need not here.
fn limits() -> Result<String> {
    let hard =
        |flag: &str| host::output(Command::new("bash").args(["-c", &format!("ulimit -H{flag}")]));
    let (files, processes) = (hard("n")?, hard("u")?);
    let (files, processes) = (files.trim(), processes.trim());
    Ok(format!(
        "[containers]\ndefault_ulimits = [\"nofile={files}:{files}\", \"nproc={processes}:{processes}\"]\n"
    ))
}

/// Returns the mirror that this machine's own packages come from.
fn mirror() -> Result<String> {
    host::output(Command::new("sh").args([
        "-c",
        "apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1",
    ]))
    .map(|text| text.trim().to_owned())
    .context("asking apt for its mirror")
}

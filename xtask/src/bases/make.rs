//! Makes the stand-ins, once: what is there and made by the same recipe is used again.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::{alpine, layout, node};
use crate::host::{self, Tool};

/// What making and serving the stand-ins takes.
const TOOLS: &[Tool] = &[
    Tool {
        program: "busybox",
        package: "busybox-static",
    },
    Tool {
        program: "docker-registry",
        package: "docker-registry",
    },
    Tool {
        program: "mmdebstrap",
        package: "mmdebstrap",
    },
    Tool {
        program: "setpriv",
        package: "util-linux",
    },
    Tool {
        program: "skopeo",
        package: "skopeo",
    },
    Tool {
        program: "tar",
        package: "tar",
    },
];

/// The time of everything that the stand-ins are made of.
pub(super) const EPOCH: u64 = 1_700_000_000;
/// What the images say of themselves.
pub(super) const LABEL: (&str, &str) = (
    "stagewright.stand-in",
    "made of Debian packages by cargo xtask; not the image of this name",
);

/// The stand-ins, as OCI layouts on disk.
#[derive(Debug)]
pub(crate) struct Bases {
    /// The folder that holds them.
    pub(super) folder: PathBuf,
    /// The digest of all that they are made of.
    pub(super) recipe: String,
}

/// A stand-in: the name that it stands in for, and its folder.
pub(super) const IMAGES: [(&str, &str, &str); 2] = [
    ("library/node", "12-stretch", "node"),
    ("library/alpine", "3.10", "alpine"),
];

impl Bases {
    /// Makes the stand-ins below a folder, or finds them there.
    pub(crate) fn make(state: &Path) -> Result<Self> {
        host::install_missing(TOOLS)?;
        let folder = state.join("bases");
        let recipe = recipe()?;
        let marker = folder.join("recipe");
        if fs_err::read_to_string(&marker).is_ok_and(|found| found == recipe) {
            println!("stand-in bases: found in {}", folder.display());
            return Ok(Self { folder, recipe });
        }
        println!(
            "stand-in bases: making node:12-stretch and alpine:3.10 in {}",
            folder.display()
        );
        let started = Instant::now();
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        fs_err::create_dir_all(&folder)?;
        let node = node::make(&folder)?;
        layout::write(&node, &folder.join("node"), "12-stretch")?;
        let alpine = alpine::make(&folder)?;
        layout::write(&alpine, &folder.join("alpine"), "3.10")?;
        for leftover in [&node.tar, &alpine.tar] {
            fs_err::remove_file(leftover)?;
        }
        fs_err::write(&marker, &recipe)?;
        println!(
            "stand-in bases: made in {:.0} s",
            started.elapsed().as_secs_f64()
        );
        Ok(Self { folder, recipe })
    }

    /// Returns the OCI layout of a stand-in, by its folder's name.
    pub(super) fn layout(&self, folder: &str) -> PathBuf {
        self.folder.join(folder)
    }
}

/// Returns the digest of everything that decides what the stand-ins hold, but for the versions
/// of the distribution's packages: those are what they were when the stand-ins were made.
fn recipe() -> Result<String> {
    let mut parts: Vec<Vec<u8>> = [
        include_str!("make.rs"),
        include_str!("node.rs"),
        include_str!("alpine.rs"),
        include_str!("layout.rs"),
        node::HOOK,
    ]
    .map(Vec::from)
    .into();
    parts.extend(alpine::SCRIPTS.map(|(_, text)| text.into()));
    parts.push(fs_err::read(host::lesson().join("package-lock.json"))?);
    parts.push(node::describe_host()?.into());
    parts.push(
        host::find_program("busybox")
            .map(fs_err::read)
            .transpose()?
            .unwrap_or_default(),
    );
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Ok(layout::hex(&hasher.finalize()))
}

//! Where packages are made, and what holds for each of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host;

/// No package may be larger, nor the command.
const BYTES_MAX: u64 = 15_000_000;

/// Where packages are made.
pub(super) struct Place {
    /// Cargo's target folder.
    pub(super) target: PathBuf,
    /// For all else; it is kept, so that tools are installed once.
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn open() -> Result<Self> {
        let target = host::target_folder()?;
        let folder = target.join("bindings");
        fs_err::create_dir_all(&folder)?;
        Ok(Self { target, folder })
    }

    /// What the tests of every language find: the shared vectors, and BusyBox for commands.
    pub(super) fn environment(&self) -> Result<[(&'static str, PathBuf); 2]> {
        let busybox = host::find_program("busybox").context("there is no busybox")?;
        Ok([
            (
                "STAGEWRIGHT_TEST_VECTORS",
                host::root().join("tests/vectors"),
            ),
            ("STAGEWRIGHT_TEST_BUSYBOX", busybox),
        ])
    }

    /// Builds packages as the command is built for its tests, so that what they share is built
    /// once, and returns the folder of what came out.
    pub(super) fn build(&self, packages: &[&str]) -> Result<PathBuf> {
        let mut command = host::cargo();
        command.args(["build", "--locked", "--release"]);
        for package in packages {
            command.args(["--package", package]);
        }
        host::run(&mut command)?;
        Ok(self.target.join("release"))
    }
}

/// Returns the only file in a folder whose name ends so.
pub(super) fn only_file(folder: &Path, end: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    match &found[..] {
        [file] => Ok(file.clone()),
        _ => bail!(
            "{} holds {} files that end in {end}",
            folder.display(),
            found.len()
        ),
    }
}

/// Says how large a package is, and refuses one that is too large.
pub(super) fn check_size(file: &Path) -> Result<()> {
    let bytes = fs_err::metadata(file)?.len();
    println!("{}: {:.1} MB", file.display(), bytes as f64 / 1e6);
    if bytes > BYTES_MAX {
        bail!(
            "{} is larger than {} MB",
            file.display(),
            BYTES_MAX / 1_000_000
        );
    }
    Ok(())
}

/// Removes what an earlier run left, and makes the folder.
pub(super) fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

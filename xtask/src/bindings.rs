//! `cargo xtask bindings`: packs the packages of other languages as users get them, installs each
//! into an empty place, and runs its tests there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{self, Tool};

/// What Python's packages are made and tested with.
const PYTHON_TOOLS: &[&str] = &["maturin>=1.9,<2", "pytest>=8,<10", "mypy>=1.11,<3"];

/// No package may be larger.
const BYTES_MAX: u64 = 15 << 20;

/// Options of `bindings`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct BindingsArguments {
    /// Only these languages: python
    languages: Vec<String>,
}

/// Packs and tests.
pub(crate) fn run(arguments: &BindingsArguments) -> Result<()> {
    let known = ["python"];
    if let Some(other) = arguments
        .languages
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        bail!(
            "there are no bindings for {other:?}; there are: {}",
            known.join(", ")
        );
    }
    let wanted = |name: &str| {
        arguments.languages.is_empty() || arguments.languages.iter().any(|it| it == name)
    };
    let place = Place::open()?;
    if wanted("python") {
        python(&place)?;
    }
    Ok(())
}

/// Where packages are made.
struct Place {
    /// Cargo's target folder.
    target: PathBuf,
    /// For all else; it is kept, so that tools are installed once.
    folder: PathBuf,
}

impl Place {
    fn open() -> Result<Self> {
        let metadata =
            host::output(host::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
        let metadata: serde_json::Value =
            serde_json::from_str(&metadata).context("reading cargo metadata")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo names no target folder")?;
        let target = PathBuf::from(target);
        let folder = target.join("bindings");
        fs_err::create_dir_all(&folder)?;
        Ok(Self { target, folder })
    }

    /// Builds packages as the command is built for its tests, so that what they share is built
    /// once, and returns the folder of what came out.
    fn build(&self, packages: &[&str]) -> Result<PathBuf> {
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
fn only_file(folder: &Path, end: &str) -> Result<PathBuf> {
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
fn check_size(file: &Path) -> Result<()> {
    let bytes = fs_err::metadata(file)?.len();
    println!("{}: {:.1} MB", file.display(), bytes as f64 / 1e6);
    if bytes > BYTES_MAX {
        bail!("{} is larger than {} MiB", file.display(), BYTES_MAX >> 20);
    }
    Ok(())
}

/// Removes what an earlier run left, and makes the folder.
fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    Ok(folder)
}

fn python(place: &Place) -> Result<()> {
    host::install_missing(&[Tool {
        program: "busybox",
        package: "busybox-static",
    }])?;
    // `venv` is a module, and no program tells whether it is there.
    let python = host::find_program("python3").context("there is no python3")?;
    let has_venv = Command::new(&python)
        .args(["-c", "import ensurepip, venv"])
        .status()
        .is_ok_and(|status| status.success());
    if !has_venv {
        host::run(Command::new("apt-get").args(["install", "--yes", "python3-venv"]))?;
    }
    let tools = place.folder.join("python-tools");
    if !tools.join("bin/maturin").exists() {
        host::run(Command::new(&python).args(["-m", "venv"]).arg(&tools))?;
        host::run(
            Command::new(tools.join("bin/pip"))
                .args(["install", "--quiet"])
                .args(PYTHON_TOOLS),
        )?;
    }
    let built = place.build(&["stagewright-python", "stagewright-cli"])?;
    let source = host::root().join("bindings/python");
    let scripts = emptied(source.join("stagewright.data"))?.join("scripts");
    fs_err::create_dir_all(&scripts)?;
    fs_err::copy(built.join("stagewright"), scripts.join("stagewright"))?;
    let dist = emptied(place.folder.join("python-dist"))?;
    host::run(
        Command::new(tools.join("bin/maturin"))
            .args([
                "build",
                "--locked",
                "--release",
                "--strip",
                "--compatibility=linux",
                "--manifest-path",
            ])
            .arg(source.join("Cargo.toml"))
            .arg("--out")
            .arg(&dist),
    )?;
    let wheel = only_file(&dist, ".whl")?;
    check_size(&wheel)?;
    // A fresh environment that sees nothing of the source tree but its tests.
    let fresh = emptied(place.folder.join("python-fresh"))?;
    host::run(Command::new(&python).args(["-m", "venv"]).arg(&fresh))?;
    host::run(
        Command::new(fresh.join("bin/pip"))
            .args(["install", "--quiet"])
            .arg(&wheel)
            .args(&PYTHON_TOOLS[1..]),
    )?;
    let tests = source.join("tests");
    host::run(
        Command::new(fresh.join("bin/mypy"))
            .args(["--strict", "--package", "stagewright", "--config-file="])
            .current_dir(&fresh),
    )?;
    host::run(
        Command::new(fresh.join("bin/mypy"))
            .args(["--strict", "--config-file="])
            .arg(&tests)
            .current_dir(&fresh),
    )?;
    host::run(
        Command::new(fresh.join("bin/pytest"))
            .args(["-q", "--rootdir"])
            .arg(&tests)
            .arg(&tests)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&fresh),
    )
}

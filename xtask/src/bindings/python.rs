//! The Python package.

use std::process::Command;

use anyhow::{Context, Result};

use super::examples::{Examples, script};
use super::place::{Place, check_size, emptied, only_file};
use crate::host::{self, Tool};

/// What Python's packages are made and tested with.
const PYTHON_TOOLS: &[&str] = &["maturin>=1.9,<2", "pytest>=8,<10", "mypy>=1.11,<3"];

/// Packs the wheel, installs it into a fresh environment, and tests it there.
pub(super) fn run(place: &Place) -> Result<()> {
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
    let built = place.build(&["stagewright-cli"])?;
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
    )?;
    let examples = Examples {
        language: "python",
        file: "examples.py",
        program: script,
        command: &|file| {
            let mut command = Command::new(fresh.join("bin/python"));
            command.arg(file);
            Ok(command)
        },
    };
    examples.run(&emptied(place.folder.join("python-examples"))?)
}

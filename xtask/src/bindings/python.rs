//! The Python package.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::examples::{Examples, script};
use super::place::{Place, check_size, emptied, only_file};
use super::samples::Samples;
use crate::host::{self, Tool};

/// What Python's packages are made and tested with.
const PYTHON_TOOLS: &[&str] = &[
    "maturin>=1.9,<2",
    "auditwheel>=6,<7",
    "pytest>=8,<10",
    "mypy>=1.11,<3",
];
/// The machines that the wheel is for: those whose C library is of this version or later. It is that of Debian 12's, RHEL 9's
/// and Ubuntu 22.04's day.
const PLATFORM: &str = "manylinux_2_34";

/// Packs the wheel, installs it into a fresh environment, and tests it there.
pub(super) fn run(place: &Place, samples: Option<&Samples>) -> Result<()> {
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
    if !tools.join("bin/auditwheel").exists() {
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
    check_size(&built.join("stagewright"))?;
    fs_err::copy(built.join("stagewright"), scripts.join("stagewright"))?;
    let dist = emptied(place.folder.join("python-dist"))?;
    host::run(
        Command::new(tools.join("bin/maturin"))
            .args([
                "build",
                "--locked",
                "--release",
                "--strip",
                "--compatibility",
                PLATFORM,
                "--manifest-path",
            ])
            .arg(source.join("Cargo.toml"))
            .arg("--out")
            .arg(&dist),
    )?;
    let wheel = only_file(&dist, ".whl")?;
    check_size(&wheel)?;
    check_platform(&tools, &wheel)?;
    // A fresh environment that sees nothing of the source tree but its tests.
    let fresh = emptied(place.folder.join("python-fresh"))?;
    host::run(Command::new(&python).args(["-m", "venv"]).arg(&fresh))?;
    host::run(
        Command::new(fresh.join("bin/pip"))
            .args(["install", "--quiet"])
            .arg(&wheel)
            .args(&PYTHON_TOOLS[2..]),
    )?;
    let tests = source.join("tests");
    let sources = [&tests, &source.join("samples")];
    host::run(
        Command::new(fresh.join("bin/mypy"))
            .args(["--strict", "--package", "stagewright", "--config-file="])
            .current_dir(&fresh),
    )?;
    host::run(
        Command::new(fresh.join("bin/mypy"))
            .args(["--strict", "--config-file="])
            .args(sources)
            .current_dir(&fresh),
    )?;
    host::run(
        Command::new(fresh.join("bin/pytest"))
            .args(["-q", "--rootdir"])
            .arg(&tests)
            .arg(&tests)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(place.environment()?)
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
    examples.run(&emptied(place.folder.join("python-examples"))?)?;
    let Some(samples) = samples else {
        return Ok(());
    };
    samples.run(place, "python", |name| {
        let mut command = Command::new(fresh.join("bin/python"));
        command.arg(source.join(format!("samples/{name}.py")));
        command
    })
}

/// Has another program than the one that named the wheel say what machines it is for.
fn check_platform(tools: &Path, wheel: &Path) -> Result<()> {
    let shown = host::output(
        Command::new(tools.join("bin/auditwheel"))
            .arg("show")
            .arg(wheel),
    )?;
    println!("{}", shown.trim());
    let platform = format!("{PLATFORM}_{}", std::env::consts::ARCH);
    let named = wheel.to_string_lossy().contains(&platform);
    if !named || !shown.contains(&platform) {
        bail!("{} is not for {platform}", wheel.display());
    }
    Ok(())
}

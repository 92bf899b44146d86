//! The Node package, and that of this platform, which brings the native module and the command.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::examples::{Examples, script};
use super::place::{Place, check_size, emptied, only_file};
use super::samples::Samples;
use crate::host::{self, Tool};

/// What the package is made with: the compiler, and what it knows of the oldest Node.
const TOOLS: &[&str] = &["typescript@^7", "@types/node@^18"];
/// Where certificates are that this machine trusts; npm looks at its own only.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Packs both packages, installs them offline into an empty project, and tests them there.
pub(super) fn run(place: &Place, samples: Option<&Samples>) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the Node package is made on x86_64 only");
    }
    host::install_missing(&[
        Tool {
            program: "node",
            package: "nodejs",
        },
        Tool {
            program: "npm",
            package: "npm",
        },
        Tool {
            program: "strip",
            package: "binutils",
        },
        Tool {
            program: "busybox",
            package: "busybox-static",
        },
        Tool {
            program: "cc",
            package: "gcc",
        },
    ])?;
    let tools = tools(place)?;
    let built = place.build(&["stagewright-node", "stagewright-cli"])?;
    let source = host::root().join("bindings/node");
    let packed = emptied(place.folder.join("node-packed"))?;
    let platform = platform(place, &source, &built)?;
    pack(&platform, &packed)?;
    check_size(&only_file(&packed, ".tgz")?)?;
    pack(&library(place, &source, &tools)?, &packed)?;
    test(place, &source, &tools, &packed, samples)
}

/// Installs the compiler, once.
fn tools(place: &Place) -> Result<PathBuf> {
    let tools = place.folder.join("node-tools");
    if !tools.join("node_modules/typescript").exists() {
        fs_err::create_dir_all(&tools)?;
        fs_err::write(tools.join("package.json"), "{\"private\": true}\n")?;
        host::run(npm(&tools).arg("install").args(TOOLS))?;
    }
    Ok(tools.join("node_modules"))
}

fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command
        .current_dir(folder)
        .args(["--silent", "--no-audit", "--no-fund"]);
    if std::env::var_os("NODE_EXTRA_CA_CERTS").is_none() && Path::new(CERTIFICATES).exists() {
        command.env("NODE_EXTRA_CA_CERTS", CERTIFICATES);
    }
    command
}

/// Lays out the package of this platform.
fn platform(place: &Place, source: &Path, built: &Path) -> Result<PathBuf> {
    let folder = emptied(place.folder.join("node-platform"))?;
    fs_err::copy(source.join("platform.json"), folder.join("package.json"))?;
    for (from, to) in [
        ("libstagewright_node.so", "stagewright.node"),
        ("stagewright", "stagewright"),
    ] {
        fs_err::copy(built.join(from), folder.join(to))?;
        host::run(Command::new("strip").arg(folder.join(to)))?;
    }
    Ok(folder)
}

/// Lays out the package that users name, compiled.
fn library(place: &Place, source: &Path, tools: &Path) -> Result<PathBuf> {
    let folder = emptied(place.folder.join("node-library"))?;
    fs_err::create_dir(folder.join("bin"))?;
    for file in [
        "package.json",
        "README.md",
        "index.mjs",
        "index.d.mts",
        "bin/stagewright.js",
    ] {
        fs_err::copy(source.join(file), folder.join(file))?;
    }
    host::run(
        Command::new(tools.join(".bin/tsc"))
            .arg("--project")
            .arg(source)
            .arg("--typeRoots")
            .arg(tools.join("@types"))
            .arg("--outDir")
            .arg(&folder),
    )?;
    Ok(folder)
}

fn pack(folder: &Path, to: &Path) -> Result<()> {
    host::run(npm(folder).arg("pack").arg("--pack-destination").arg(to))
}

/// Installs what was packed into an empty project, without a network, and tests it there.
fn test(
    place: &Place,
    source: &Path,
    tools: &Path,
    packed: &Path,
    samples: Option<&Samples>,
) -> Result<()> {
    let project = emptied(place.folder.join("node-project"))?;
    fs_err::write(project.join("package.json"), "{\"private\": true}\n")?;
    let mut install = npm(&project);
    install.args(["install", "--offline"]);
    for entry in fs_err::read_dir(packed)? {
        install.arg(entry?.path());
    }
    host::run(&mut install)?;
    for folder in ["tests", "samples"] {
        for entry in fs_err::read_dir(source.join(folder))? {
            let entry = entry?;
            fs_err::copy(entry.path(), project.join(entry.file_name()))?;
        }
    }
    host::run(
        Command::new(tools.join(".bin/tsc"))
            .args(["--noEmit", "--strict", "--target", "es2022"])
            .args(["--module", "nodenext", "--types", "node", "--typeRoots"])
            .arg(tools.join("@types"))
            .arg("types.mts")
            .current_dir(&project),
    )?;
    let node = host::find_program("node").context("there is no node")?;
    host::run(
        Command::new(&node)
            .args(["--expose-gc", "--test", "index.test.mjs"])
            .args(["vectors.test.mjs", "hazards.test.mjs"])
            .envs(place.environment()?)
            .current_dir(&project),
    )?;
    let examples = Examples {
        language: "js",
        file: "examples.mjs",
        program: script,
        command: &|file| {
            let mut command = Command::new(&node);
            command.arg(file);
            Ok(command)
        },
    };
    // Below the project, so that they find the packages.
    examples.run(&emptied(project.join("examples"))?)?;
    let Some(samples) = samples else {
        return Ok(());
    };
    samples.run(place, "node", |name| {
        let mut command = Command::new(&node);
        command.arg(project.join(format!("{name}.mjs")));
        command
    })
}

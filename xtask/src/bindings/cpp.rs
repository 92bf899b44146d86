//! The C++ package: headers, a shared library, and what CMake and pkg-config find them by.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::examples::{Examples, cpp_program};
use super::place::{Place, check_size, emptied, only_file};
use super::samples::Samples;
use crate::host::{self, Tool};

/// Packs what users unpack anywhere, and tests it from a project that sees nothing else.
pub(super) fn run(place: &Place, samples: Option<&Samples>) -> Result<()> {
    host::install_missing(&[
        Tool {
            program: "cmake",
            package: "cmake",
        },
        Tool {
            program: "g++",
            package: "g++",
        },
        Tool {
            program: "pkg-config",
            package: "pkg-config",
        },
        Tool {
            program: "strip",
            package: "binutils",
        },
        Tool {
            program: "busybox",
            package: "busybox-static",
        },
    ])?;
    // Headers are no program that could be found.
    if !Path::new("/usr/include/nlohmann/json.hpp").exists() {
        host::run(Command::new("apt-get").args(["install", "--yes", "nlohmann-json3-dev"]))?;
    }
    let built = place.build(&["stagewright-cpp"])?;
    let prefix = library(place, &built)?;
    pack(place, &prefix)?;
    test(place, samples)
}

fn library(place: &Place, built: &Path) -> Result<PathBuf> {
    let version = env!("CARGO_PKG_VERSION");
    let prefix = emptied(place.folder.join("cpp-package").join(package_name(version)))?;
    let build = emptied(place.folder.join("cpp-build"))?;
    host::run(
        Command::new("cmake")
            .arg("-S")
            .arg(host::root().join("bindings/cpp"))
            .arg("-B")
            .arg(&build)
            .args(["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib"])
            .arg(format!("-DSTAGEWRIGHT_VERSION={version}"))
            .arg(format!("-DCMAKE_INSTALL_PREFIX={}", prefix.display()))
            .arg(format!(
                "-DSTAGEWRIGHT_RUST={}",
                built.join("libstagewright_cpp.a").display()
            ))
            .arg(format!(
                "-DSTAGEWRIGHT_BRIDGE={}",
                place.target.join("cxxbridge").display()
            )),
    )?;
    host::run(
        Command::new("cmake")
            .arg("--build")
            .arg(&build)
            .arg("--parallel"),
    )?;
    host::run(
        Command::new("cmake")
            .arg("--install")
            .arg(&build)
            .arg("--strip"),
    )?;
    Ok(prefix)
}

fn package_name(version: &str) -> String {
    format!("stagewright-cpp-{version}-linux-{}", std::env::consts::ARCH)
}

fn pack(place: &Place, prefix: &Path) -> Result<()> {
    let dist = emptied(place.folder.join("cpp-dist"))?;
    let name = prefix
        .file_name()
        .context("the package has no name")?
        .to_string_lossy();
    let archive = dist.join(format!("{name}.tar.gz"));
    host::run(
        Command::new("tar")
            .arg("-C")
            .arg(place.folder.join("cpp-package"))
            .arg("-czf")
            .arg(&archive)
            .arg(&*name),
    )?;
    check_size(&archive)
}

/// Unpacks the archive elsewhere, and builds and runs the tests against it: with CMake, and a
/// program with pkg-config.
fn test(place: &Place, samples: Option<&Samples>) -> Result<()> {
    let archive = only_file(&place.folder.join("cpp-dist"), ".tar.gz")?;
    let project = emptied(place.folder.join("cpp-project"))?;
    let prefix = emptied(project.join("prefix"))?;
    host::run(
        Command::new("tar")
            .args(["--strip-components=1", "-xzf"])
            .arg(&archive)
            .arg("-C")
            .arg(&prefix),
    )?;
    for entry in fs_err::read_dir(host::root().join("bindings/cpp/tests"))? {
        let entry = entry?;
        fs_err::copy(entry.path(), project.join(entry.file_name()))?;
    }
    let build = project.join("build");
    host::run(
        Command::new("cmake")
            .arg("-S")
            .arg(&project)
            .arg("-B")
            .arg(&build)
            .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())),
    )?;
    host::run(Command::new("cmake").arg("--build").arg(&build))?;
    host::run(
        Command::new("ctest")
            .args(["--output-on-failure", "--test-dir"])
            .arg(&build)
            .envs(place.environment()?),
    )?;
    let flags = host::output(
        Command::new("pkg-config")
            .args(["--cflags", "--libs", "stagewright"])
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")),
    )?;
    let program = project.join("with-pkg-config");
    host::run(
        Command::new("g++")
            .arg(project.join("hello.cpp"))
            .arg("-o")
            .arg(&program)
            .args(flags.split_whitespace()),
    )?;
    host::run(
        Command::new(&program)
            .arg(project.join("hello-store"))
            .env("LD_LIBRARY_PATH", prefix.join("lib")),
    )?;
    let examples = Examples {
        language: "cpp",
        file: "examples.cpp",
        program: cpp_program,
        command: &|file| {
            let program = file.with_extension("");
            let mut compile = Command::new("g++");
            compile.args(["-std=c++17", "-Wall", "-Wextra", "-Werror"]);
            compile.arg(file).arg("-o").arg(&program);
            host::run(compile.args(flags.split_whitespace()))?;
            let mut command = Command::new(program);
            command.env("LD_LIBRARY_PATH", prefix.join("lib"));
            Ok(command)
        },
    };
    examples.run(&emptied(project.join("examples"))?)?;
    let Some(samples) = samples else {
        return Ok(());
    };
    let programs = project.join("samples");
    host::run(
        Command::new("cmake")
            .arg("-S")
            .arg(host::root().join("bindings/cpp/samples"))
            .arg("-B")
            .arg(&programs)
            .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())),
    )?;
    host::run(
        Command::new("cmake")
            .arg("--build")
            .arg(&programs)
            .arg("--parallel"),
    )?;
    samples.run(place, "cpp", |name| Command::new(programs.join(name)))
}

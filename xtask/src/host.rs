//! The machine that a verb runs on: the workspace's root, its tools, its packages.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Returns the workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("because xtask lies one folder below the root")
        .to_path_buf()
}

/// Returns the folder of the lesson: the Dockerfile and the application of the acceptance test.
pub(crate) fn lesson() -> PathBuf {
    root().join("tests/fixtures/lesson")
}

/// Builds the command as its users have it, and returns where it lies.
pub(crate) fn build_command() -> Result<PathBuf> {
    run(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package=stagewright-cli",
    ]))?;
    Ok(target_folder()?.join("release/stagewright"))
}

/// Returns the folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target folder")?;
    Ok(PathBuf::from(target))
}

/// Returns the cargo that started this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command that talks to the terminal itself, after a line that says what runs.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!(
            "{} ended with {status} after {:.1?}",
            shown(command),
            started.elapsed()
        );
    }
    Ok(())
}

/// Runs a command and returns its standard output; its standard error is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        bail!(
            "{} ended with {}\n{}",
            shown(command),
            out.status,
            stderr.trim_end()
        );
    }
    String::from_utf8(out.stdout).with_context(|| format!("{} printed no UTF-8", shown(command)))
}

/// Writes a command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns where a program lies on the PATH, looking in the administrator's folders too.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    std::env::split_paths(&path)
        .chain(usual.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns whether this process is root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs_err::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A program that a verb needs, and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// The program's name on the PATH.
    pub(crate) program: &'static str,
    /// The package to install when it is missing.
    pub(crate) package: &'static str,
}

/// Installs the packages of the tools that are missing; with none missing it does nothing.
pub(crate) fn install_missing(tools: &[Tool]) -> Result<()> {
    let missing: BTreeSet<&str> = tools
        .iter()
        .filter(|tool| find_program(tool.program).is_none())
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.into_iter().collect();
    println!("installing what is missing: {}", names.join(" "));
    if find_program("apt-get").is_none() {
        bail!(
            "there is no apt-get on this machine; install by hand: {}",
            names.join(" ")
        );
    }
    if !is_root() {
        bail!(
            "only root can install packages; run: apt-get install {}",
            names.join(" ")
        );
    }
    run(apt_get().args(["update", "--quiet=2"]))?;
    run(apt_get()
        .args(["install", "--quiet=2", "--yes", "--no-install-recommends"])
        .args(&names))
}

/// Returns apt-get as it runs with nobody to answer its questions, and without starting services.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // invoke-rc.d starts no service of a package outside a booted system's own runlevel.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let cases: [(&[&str], &str); 3] = [
            (&["build", "-t", "a:1"], "x build -t a:1"),
            (&["a b"], "x 'a b'"),
            (&["it's", ""], r"x 'it'\''s' ''"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(shown(Command::new("x").args(arguments)), expected);
        }
    }

    #[test]
    fn a_failed_command_says_what_it_printed() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]))
            .expect_err("exit 3 is a failure");
        assert!(
            format!("{error}").ends_with("exit status: 3\nwhy"),
            "{error}"
        );
    }
}

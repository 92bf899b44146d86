//! Programs that tests run.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as it ran.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Returns itself when the program succeeded.
    ///
    /// # Panics
    ///
    /// When it did not, with all that it printed.
    #[must_use]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Returns itself if the program ended with this exit code.
    ///
    /// # Panics
    ///
    /// When it did not, with everything that it wrote.
    #[must_use]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Returns the exit code; a program that a signal ended has none.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}

/// Runs a command to its end, with nothing on its standard input.
///
/// # Panics
///
/// When it can't be started.
pub fn output(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let out = match command.stdin(Stdio::null()).output() {
        Ok(out) => out,
        Err(error) => panic!("{shown} can't be started: {error}"),
    };
    Output {
        command: shown,
        status: out.status,
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Returns where a program lies.
///
/// # Panics
///
/// When it is not there; the message names the package that brings it.
#[must_use]
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    std::env::split_paths(&path)
        .chain(usual.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "this test needs {name}: install the package {package}, or run `cargo xtask test`"
            )
        })
}

//! The `stagewright` command, as a test runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Output, output};
use crate::{Project, busybox};

/// Names the command to test; without it the command of this workspace is built.
const COMMAND_VARIABLE: &str = "STAGEWRIGHT_BIN";

/// The command with a store of its own.
#[derive(Debug)]
pub struct Stagewright {
    program: PathBuf,
    state: TempDir,
    options: Vec<String>,
}

impl Stagewright {
    /// Takes the command with an empty store, which goes when this is dropped.
    ///
    /// # Panics
    ///
    /// When the command can't be built.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that builds a program surprises"
    )]
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// Takes the command with an empty store in this folder.
    ///
    /// # Panics
    ///
    /// When the command can't be built.
    #[must_use]
    pub fn new_in(folder: &Path) -> Self {
        let state = tempfile::Builder::new()
            .prefix("stagewright-store-")
            .tempdir_in(folder)
            .unwrap();
        Self {
            program: find_command(),
            state,
            options: Vec::new(),
        }
    }

    /// Makes a BusyBox image and has every build find it as `busybox`.
    ///
    /// # Panics
    ///
    /// When this machine has no static BusyBox.
    #[must_use]
    pub fn with_busybox() -> Self {
        Self::with_busybox_in(&std::env::temp_dir())
    }

    /// As [`Stagewright::with_busybox`], with a store in this folder.
    ///
    /// # Panics
    ///
    /// As there.
    #[must_use]
    pub fn with_busybox_in(folder: &Path) -> Self {
        let command = Self::new_in(folder);
        let layout = command.state.path().join("busybox");
        busybox(&layout);
        let context = format!("--build-context=busybox=oci-layout://{}", layout.display());
        command.option(context)
    }

    /// Returns where [`Stagewright::with_busybox`] put its image.
    #[must_use]
    pub fn busybox_layout(&self) -> PathBuf {
        self.state.path().join("busybox")
    }

    /// Adds an option to every build.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Returns where the store lies.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.path().join("store")
    }

    /// Returns the command with a verb, and nothing of the caller's own settings.
    #[must_use]
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("HOME", self.state.path());
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SOURCE_DATE_EPOCH"] {
            command.env_remove(variable);
        }
        command.arg(verb);
        command
    }

    /// Returns `stagewright build` of a project, not yet started.
    #[must_use]
    pub fn build_command(&self, project: &Project, arguments: &[&str]) -> Command {
        let mut command = self.command("build");
        command
            .arg("--store")
            .arg(self.store())
            .args(&self.options)
            .args(arguments)
            .arg(project.path());
        command
    }

    /// Builds a project, with its events.
    pub fn build(&self, project: &Project, arguments: &[&str]) -> Build {
        let mut command = self.build_command(project, arguments);
        command.arg("--progress=rawjson");
        Build {
            output: output(&mut command),
        }
    }

    /// Asks what a build of a project would do, and returns what is said of its steps.
    ///
    /// # Panics
    ///
    /// When it can't be said.
    #[must_use]
    pub fn explain(&self, project: &Project, arguments: &[&str]) -> Vec<ExplainedStep> {
        let mut command = self.command("explain");
        command
            .arg("--store")
            .arg(self.store())
            .args(&self.options)
            .args(arguments)
            .arg("--format=json")
            .arg(project.path());
        let text = output(&mut command).success().stdout;
        let explained: Vec<Value> = serde_json::from_str(&text).unwrap();
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        explained
            .iter()
            .filter(|one| one["verdict"] != "source")
            .map(|one| ExplainedStep {
                instruction: instruction(&field(&one["name"])),
                verdict: field(&one["verdict"]),
                reason: field(&one["miss"]["text"]),
            })
            .collect()
    }

    /// Builds a project and writes it as an OCI layout into a folder.
    pub fn build_into(&self, project: &Project, folder: &Path, arguments: &[&str]) -> Build {
        let destination = format!("type=oci,dest={}", folder.display());
        let mut all = vec!["-o", destination.as_str()];
        all.extend(arguments);
        self.build(project, &all)
    }
}

/// What `stagewright explain` says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedStep {
    /// The instruction: `RUN npm ci`.
    pub instruction: String,
    /// `hit`, `miss`, `depends_on` or `unknown`.
    pub verdict: String,
    /// Why it would run, as people read it; empty when it would not.
    pub reason: String,
}

/// A build that ended.
#[derive(Debug)]
pub struct Build {
    /// What it printed and how it ended.
    pub output: Output,
}

impl Build {
    /// Returns itself when the build succeeded.
    ///
    /// # Panics
    ///
    /// When it did not, with all that it printed.
    #[must_use]
    pub fn success(self) -> Self {
        Self {
            output: self.output.success(),
        }
    }

    /// Returns the events, a JSON object each.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let lines = self.output.stdout.lines().chain(self.output.stderr.lines());
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(Value::is_object)
            .collect()
    }

    /// Returns what steps wrote, without what is told around it.
    #[must_use]
    pub fn log(&self) -> String {
        let text = |event: &Value| event["text"].as_str().map(str::to_owned);
        self.events().iter().filter_map(text).collect()
    }

    /// Returns the instructions that ran, in the order in which they ended and without the stage and
    /// step in front; what came from the cache is not among them.
    #[must_use]
    pub fn executed(&self) -> Vec<String> {
        self.events()
            .iter()
            .filter(|event| {
                event["event"] == "vertex_finished"
                    && event["step"] == true
                    && event["cached"] != true
            })
            .map(|event| instruction(event["name"].as_str().unwrap_or_default()))
            .collect()
    }
}

/// Returns `RUN npm ci` of `[build 2/5] RUN npm ci`.
fn instruction(name: &str) -> String {
    let rest = name
        .strip_prefix('[')
        .and_then(|name| name.split_once("] "));
    rest.map_or(name, |(_, instruction)| instruction).to_owned()
}

/// Returns the command under test: the one that the environment names, else this workspace's,
/// built as the tests are.
fn find_command() -> PathBuf {
    if let Some(path) = std::env::var_os(COMMAND_VARIABLE) {
        return path.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = output(Command::new(cargo).current_dir(manifest).args([
        "build",
        "--quiet",
        "--package=stagewright-cli",
        "--message-format=json",
    ]))
    .success();
    built
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo built no command: {built}"))
}

//! What is done in a stage.

use super::definition::Stage;
use crate::request::{Network, SecretValue};

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Run(RunStep),
    Copy(CopyStep),
    /// An instruction with one word.
    Word(&'static str, String),
    /// An instruction with a name and a value.
    Pair(&'static str, String, String),
    Arg(String, Option<String>),
    Volume(String),
    Command(&'static str, CommandLine),
    /// As it is written in a Dockerfile.
    Text(String),
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A text for the shell.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

impl CommandLine {
    pub(super) fn exec<I: Into<String>>(argv: impl IntoIterator<Item = I>) -> Self {
        Self::Exec(argv.into_iter().map(Into::into).collect())
    }
}

impl From<&str> for CommandLine {
    fn from(text: &str) -> Self {
        Self::Shell(text.to_owned())
    }
}

impl From<String> for CommandLine {
    fn from(text: String) -> Self {
        Self::Shell(text)
    }
}

impl<I: Into<String>> From<Vec<I>> for CommandLine {
    fn from(argv: Vec<I>) -> Self {
        Self::exec(argv)
    }
}

impl<I: Into<String>, const N: usize> From<[I; N]> for CommandLine {
    fn from(argv: [I; N]) -> Self {
        Self::exec(argv)
    }
}

/// A `RUN` of a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The command.
    pub command: CommandLine,
    /// What it sees besides the stage's files.
    pub mounts: Vec<Mount>,
    /// Its network; the request's if absent.
    pub network: Option<Network>,
}

impl RunStep {
    /// Runs a text in the shell.
    pub fn shell(command: impl Into<String>) -> Self {
        Self::of(CommandLine::Shell(command.into()))
    }

    /// Runs a program with its arguments.
    pub fn exec<I: Into<String>>(argv: impl IntoIterator<Item = I>) -> Self {
        Self::of(CommandLine::exec(argv))
    }

    /// Runs a command of either form.
    pub fn of(command: CommandLine) -> Self {
        Self {
            command,
            mounts: Vec::new(),
            network: None,
        }
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }
}

/// Something that a `RUN` sees besides the stage's files.
#[derive(Clone, PartialEq, Eq)]
pub enum Mount {
    /// A folder that is kept between builds.
    Cache {
        /// Where.
        target: String,
        /// Its name; the target if absent.
        id: Option<String>,
        /// Who may use it at once: `shared`, `private` or `locked`; shared if absent.
        sharing: Option<String>,
    },
    /// Files of the context, a stage or an image.
    Bind {
        /// Where.
        target: String,
        /// Whose.
        from: CopySource,
        /// Which; all if absent.
        source: Option<String>,
        /// Whether the command may write there; what it writes is thrown away.
        writable: bool,
    },
    /// An empty folder in memory.
    Tmpfs {
        /// Where.
        target: String,
        /// At most how many bytes it takes.
        size_bytes: Option<u64>,
    },
    /// A secret, in a file or a variable. A build fails when it has no value.
    Secret {
        /// Its name.
        id: String,
        /// The file; `/run/secrets/ID` if neither it nor a variable is given.
        target: Option<String>,
        /// The variable.
        env: Option<String>,
        /// Its value; that of the request's secret of the name if absent.
        value: Option<SecretValue>,
    },
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, target) = match self {
            Self::Cache { target, .. } => ("Cache", Some(target)),
            Self::Bind { target, .. } => ("Bind", Some(target)),
            Self::Tmpfs { target, .. } => ("Tmpfs", Some(target)),
            // The value is not shown.
            Self::Secret { id, .. } => ("Secret", Some(id)),
        };
        f.debug_struct(kind).field("name", &target).finish()
    }
}

/// A `COPY` of a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyStep {
    /// Whose files.
    pub from: CopySource,
    /// Which: paths and patterns.
    pub sources: Vec<String>,
    /// Where to.
    pub dest: String,
    /// Whose they become, as `user[:group]`.
    pub chown: Option<String>,
    /// Their modes, as `755` or `u=rwX,go=rX`.
    pub chmod: Option<String>,
    /// Copies into a layer that does not depend on what is below.
    pub link: bool,
    /// Keeps the folders that the sources are in.
    pub parents: bool,
    /// Patterns of what is left out.
    pub exclude: Vec<String>,
}

impl CopyStep {
    /// Copies files of the build context.
    pub fn new<I: Into<String>>(
        sources: impl IntoIterator<Item = I>,
        dest: impl Into<String>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            dest: dest.into(),
            ..Self::default()
        }
    }
}

/// Whose files are copied or mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CopySource {
    /// The build context's.
    #[default]
    Context,
    /// Those of a stage that is written in code.
    Stage(Stage),
    /// Those of a stage of the request's Dockerfile, a named context, or an image.
    Named(String),
}

impl From<&Stage> for CopySource {
    fn from(stage: &Stage) -> Self {
        Self::Stage(stage.clone())
    }
}

impl From<&str> for CopySource {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

//! Instructions as plain data. Words that are subject to expansion are as they were written.

use serde::Serialize;

use crate::directives::Directives;
use crate::heredoc::Heredoc;
use crate::span::Span;

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dockerfile {
    /// The parser directives.
    pub directives: Directives,
    /// The arguments before the first `FROM`.
    pub global_args: Vec<Spanned<Arg>>,
    /// The stages; at least one.
    pub stages: Vec<Stage>,
}

/// A stage: a `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name, in lower case.
    pub name: Option<String>,
    /// Where its `FROM` stands.
    pub span: Span,
    /// The text of its `FROM` on one line, as it was written.
    pub text: String,
    /// The comments directly above its `FROM`.
    pub comments: Vec<String>,
    /// The blank lines within its `FROM`, after a line that goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blank_lines: Vec<Span>,
    /// What it starts from.
    pub from: From,
    /// Its instructions.
    pub instructions: Vec<Spanned<Instruction>>,
}

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spanned<T> {
    /// What it is.
    pub instruction: T,
    /// Where it stands, heredocs included.
    pub span: Span,
    /// Its text on one line, as it was written; heredocs not included.
    pub text: String,
    /// The comments directly above.
    pub comments: Vec<String>,
    /// The blank lines within, after a line that goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blank_lines: Vec<Span>,
}

/// `FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct From {
    /// The image or stage.
    pub image: String,
    /// `--platform`.
    pub platform: Option<String>,
}

/// An instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "instruction", rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each is its instruction")]
pub enum Instruction {
    Add(Add),
    Arg(Arg),
    Cmd(Cmd),
    Copy(Copy),
    Entrypoint(Entrypoint),
    Env(Env),
    Expose(Expose),
    Healthcheck(Healthcheck),
    Label(Label),
    Maintainer(Maintainer),
    Onbuild(Onbuild),
    Run(Run),
    Shell(Shell),
    Stopsignal(Stopsignal),
    User(User),
    Volume(Volume),
    Workdir(Workdir),
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// A text for the shell.
    Shell(String),
    /// A program and its arguments, as a JSON array.
    Exec(Vec<String>),
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Add {
    /// What is copied, besides heredocs.
    pub sources: Vec<String>,
    /// The files given as heredocs.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`.
    pub unpack: Option<bool>,
}

/// `ARG`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Arg {
    /// The arguments, in order.
    pub args: Vec<ArgItem>,
}

/// One argument of `ARG`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArgItem {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Option<String>,
}

/// `CMD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cmd {
    /// The command.
    pub command: Command,
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// What is copied, besides heredocs.
    pub sources: Vec<String>,
    /// The files given as heredocs.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: String,
    /// `--from`.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `ENTRYPOINT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entrypoint {
    /// The command.
    pub command: Command,
}

/// `ENV`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Env {
    /// The variables, in order.
    pub pairs: Vec<Pair>,
}

/// `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The labels, in order.
    pub pairs: Vec<Pair>,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
    /// It was written without `=` (the old form, one pair a line).
    pub legacy: bool,
}

/// `EXPOSE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expose {
    /// The ports, as they are written.
    pub ports: Vec<String>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// The command; nothing for `NONE`.
    pub command: Option<Command>,
    /// `--interval` in nanoseconds; 0 if absent.
    pub interval_ns: i64,
    /// `--timeout` in nanoseconds; 0 if absent.
    pub timeout_ns: i64,
    /// `--start-period` in nanoseconds; 0 if absent.
    pub start_period_ns: i64,
    /// `--start-interval` in nanoseconds; 0 if absent.
    pub start_interval_ns: i64,
    /// `--retries`; 0 if absent.
    pub retries: i64,
}

/// `MAINTAINER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maintainer {
    /// The author.
    pub name: String,
}

/// `ONBUILD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Onbuild {
    /// The instruction to run when the image is a base, heredocs included.
    pub trigger: String,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// The heredocs of the shell form.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, as they are written.
    pub mounts: Vec<String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
    /// `--device`, as they are written.
    pub devices: Vec<String>,
}

/// `SHELL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shell {
    /// The shell and its arguments.
    pub words: Vec<String>,
}

/// `STOPSIGNAL`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stopsignal {
    /// The signal's name or number.
    pub signal: String,
}

/// `USER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// `user[:group]`.
    pub user: String,
}

/// `VOLUME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// The directories.
    pub paths: Vec<String>,
}

/// `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workdir {
    /// The directory.
    pub path: String,
}

//! A stage as a value.

use std::sync::Arc;

use super::compose::compose;
use super::instruction::{CommandLine, CopySource, CopyStep, Item, RunStep};
use crate::error::Error;

/// A stage that is written in code: a base, and what is done on top of it.
///
/// It is a value. Each method returns the stage with one more instruction, and the stage that it
/// was called on can be kept (a clone is cheap) and be continued in several ways. Stages that are
/// equal are one stage of the build.
///
/// `$NAME` and `${NAME}` in arguments stand for variables of the stage, as they do in a Dockerfile,
/// and `\$` stands for a dollar; every other character stands for itself. Commands of `run` belong
/// to the shell entirely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage(Arc<Definition>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) base: StageBase,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
    pub(super) items: Vec<Item>,
}

/// What a [`Stage`] starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// An image by reference; or, if the request has a Dockerfile or named contexts, a stage of the
    /// one or one of the others. `scratch` is an empty file system.
    Named(String),
    /// Another stage that is written in code.
    Stage(Stage),
}

impl From<&str> for StageBase {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for StageBase {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl From<&Stage> for StageBase {
    fn from(stage: &Stage) -> Self {
        Self::Stage(stage.clone())
    }
}

impl From<Stage> for StageBase {
    fn from(stage: Stage) -> Self {
        Self::Stage(stage)
    }
}

impl Stage {
    /// Starts a stage from an image, a stage of the request's Dockerfile, or another stage.
    pub fn from(base: impl Into<StageBase>) -> Self {
        Self(Arc::new(Definition {
            base: base.into(),
            platform: None,
            name: None,
            items: Vec::new(),
        }))
    }

    /// Starts a stage from nothing.
    pub fn scratch() -> Self {
        Self::from("scratch")
    }

    /// Returns the Dockerfile that says the same.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] when something cannot be written into a Dockerfile.
    pub fn to_dockerfile(&self) -> Result<String, Error> {
        let composed = compose(None, Some(self), &[], &[])?;
        Ok(composed.map(|composed| composed.text).unwrap_or_default())
    }

    pub(super) fn definition(&self) -> &Definition {
        &self.0
    }

    fn change(mut self, change: impl FnOnce(&mut Definition)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    fn with(self, item: Item) -> Self {
        self.change(|definition| definition.items.push(item))
    }

    /// Gives the stage a name, for events and for `no_cache_filter`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.change(|definition| definition.name = Some(name.into()))
    }

    /// Takes the base image for a platform (`os/architecture[/variant]`).
    #[must_use]
    pub fn platform(self, platform: impl Into<String>) -> Self {
        self.change(|definition| definition.platform = Some(platform.into()))
    }

    /// Runs a command in the shell (`RUN`). Several lines are one script.
    #[must_use]
    pub fn run(self, command: impl Into<String>) -> Self {
        self.run_with(RunStep::shell(command))
    }

    /// Runs a program with its arguments, without a shell (`RUN [...]`).
    #[must_use]
    pub fn run_exec<I: Into<String>>(self, argv: impl IntoIterator<Item = I>) -> Self {
        self.run_with(RunStep::exec(argv))
    }

    /// Runs a command with mounts or a network of its own.
    #[must_use]
    pub fn run_with(self, step: RunStep) -> Self {
        self.with(Item::Run(step))
    }

    /// Copies files of the build context (`COPY`).
    #[must_use]
    pub fn copy<I: Into<String>>(
        self,
        sources: impl IntoIterator<Item = I>,
        dest: impl Into<String>,
    ) -> Self {
        self.copy_with(CopyStep::new(sources, dest))
    }

    /// Copies files of another stage, an image or a named context (`COPY --from`).
    #[must_use]
    pub fn copy_from<I: Into<String>>(
        self,
        from: impl Into<CopySource>,
        sources: impl IntoIterator<Item = I>,
        dest: impl Into<String>,
    ) -> Self {
        self.copy_with(CopyStep {
            from: from.into(),
            ..CopyStep::new(sources, dest)
        })
    }

    /// Copies files with an owner, modes or the like.
    #[must_use]
    pub fn copy_with(self, step: CopyStep) -> Self {
        self.with(Item::Copy(step))
    }

    /// Sets the working directory, and makes it (`WORKDIR`).
    #[must_use]
    pub fn workdir(self, path: impl Into<String>) -> Self {
        self.with(Item::Word("WORKDIR", path.into()))
    }

    /// Sets a variable of the environment (`ENV`).
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Item::Pair("ENV", name.into(), value.into()))
    }

    /// Declares a build argument, with a default if there is one (`ARG`).
    #[must_use]
    pub fn arg(self, name: impl Into<String>, default: Option<String>) -> Self {
        self.with(Item::Arg(name.into(), default))
    }

    /// Sets a label (`LABEL`).
    #[must_use]
    pub fn label(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Item::Pair("LABEL", name.into(), value.into()))
    }

    /// Sets the user of what follows and of the image (`USER`).
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.with(Item::Word("USER", user.into()))
    }

    /// Names a port that the image listens on, as `80` or `53/udp` (`EXPOSE`).
    #[must_use]
    pub fn expose(self, port: impl Into<String>) -> Self {
        self.with(Item::Word("EXPOSE", port.into()))
    }

    /// Names a folder that a container keeps apart (`VOLUME`).
    #[must_use]
    pub fn volume(self, path: impl Into<String>) -> Self {
        self.with(Item::Volume(path.into()))
    }

    /// Sets the signal that stops a container (`STOPSIGNAL`).
    #[must_use]
    pub fn stop_signal(self, signal: impl Into<String>) -> Self {
        self.with(Item::Word("STOPSIGNAL", signal.into()))
    }

    /// Sets the shell of commands that are texts (`SHELL`).
    #[must_use]
    pub fn shell<I: Into<String>>(self, argv: impl IntoIterator<Item = I>) -> Self {
        let argv = CommandLine::exec(argv);
        self.with(Item::Command("SHELL", argv))
    }

    /// Sets the command of the image (`CMD`).
    #[must_use]
    pub fn cmd(self, command: impl Into<CommandLine>) -> Self {
        self.with(Item::Command("CMD", command.into()))
    }

    /// Sets the entrypoint of the image (`ENTRYPOINT`).
    #[must_use]
    pub fn entrypoint(self, command: impl Into<CommandLine>) -> Self {
        self.with(Item::Command("ENTRYPOINT", command.into()))
    }

    /// Adds an instruction as it is written in a Dockerfile: what has no method of its own
    /// (`HEALTHCHECK`, `ONBUILD`, `ADD`), or what was copied from one.
    #[must_use]
    pub fn instruction(self, text: impl Into<String>) -> Self {
        self.with(Item::Text(text.into()))
    }
}

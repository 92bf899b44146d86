//! A step that failed, to look around in.

use stagewright_exec::ExecError;
use stagewright_solver::{FailedPlace, StepError};

use crate::builder::Builder;
use crate::error::Error;
use crate::failure;
use crate::run_image::RunCanceller;

/// The place where the step that failed is kept, for a request with
/// [`keep_failed_step`](crate::BuildRequest::keep_failed_step).
#[derive(Debug, Clone)]
pub struct KeptStep {
    builder: Builder,
    place: FailedPlace,
}

impl KeptStep {
    pub(crate) fn new(builder: Builder, place: FailedPlace) -> Self {
        Self { builder, place }
    }

    /// Takes the step that failed, once the build has ended. Nothing if none did.
    pub fn take(&self) -> Option<FailedStep> {
        let step = self.place.take()?;
        Some(FailedStep {
            step,
            _builder: self.builder.clone(),
        })
    }
}

/// A `RUN` that failed, with its root file system and its mounts as it left them. The locks on its
/// caches and its ssh agents are kept as long as this is; what it changed goes when this is dropped,
/// and nothing of it is ever stored.
#[derive(Debug)]
pub struct FailedStep {
    step: stagewright_solver::FailedStep,
    /// Its runtime is what the step's ssh agents answer on.
    _builder: Builder,
}

/// How a [`FailedStep`] is entered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnterOptions {
    /// The program and its arguments, in place of the step's shell.
    pub command: Vec<String>,
    /// More environment, as `(name, value)`.
    pub env: Vec<(String, String)>,
}

impl FailedStep {
    /// Returns the shell that the step was started by: that of `SHELL`, or `/bin/sh`.
    pub fn shell(&self) -> &str {
        self.step.shell()
    }

    /// Runs a shell in the step's place, with the step's environment, user, working directory, mounts
    /// and network, on this process's standard streams, and returns the exit code. If they are a
    /// terminal, the shell has one of its own, to which all keys go meanwhile. Blocks; may be called
    /// again, and finds what was changed before.
    ///
    /// # Errors
    /// [`ErrorKind::StepFailed`](crate::ErrorKind::StepFailed) when the program cannot be started,
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when it was stopped.
    pub fn enter(&self, options: &EnterOptions, cancel: &RunCanceller) -> Result<i32, Error> {
        let shell = [self.shell().to_owned()];
        let argv = match options.command.as_slice() {
            [] => &shell,
            command => command,
        };
        match self.step.enter(argv, &options.env, cancel.handle()) {
            Ok(exit) => Ok(exit.shell_code()),
            Err(StepError::Exec(ExecError::Cancelled)) => {
                Err(failure::of_step(StepError::Cancelled))
            }
            Err(error) => Err(failure::of_step(error)),
        }
    }
}

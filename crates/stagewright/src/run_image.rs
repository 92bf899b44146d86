//! Running a built image in the sandbox, without a container runtime.

use stagewright_exec::{CancelHandle, ExecError, Exit, Step, User};
use stagewright_snapshot::StepRoot;
use stagewright_solver::accounts_of;

use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::image::Image;

/// How an image is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// The command, in place of the image's.
    pub command: Vec<String>,
    /// More environment, as `(name, value)`.
    pub env: Vec<(String, String)>,
    /// The user, in place of the image's.
    pub user: Option<String>,
    /// The working directory, in place of the image's.
    pub workdir: Option<String>,
}

/// Stops an image that runs.
#[derive(Debug, Clone)]
pub struct RunCanceller(CancelHandle);

impl RunCanceller {
    /// Makes a handle for one run.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the process has no descriptor left.
    pub fn new() -> Result<Self, Error> {
        let handle = CancelHandle::new()
            .map_err(|error| Error::new(ErrorKind::Internal, failure::chain(&error)))?;
        Ok(Self(handle))
    }

    pub(crate) fn handle(&self) -> &CancelHandle {
        &self.0
    }

    /// Kills everything in the run.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Image {
    /// Runs the image on this process's standard streams with the host's network, and returns the
    /// exit code. What it writes to its files is thrown away. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::StepFailed`] when its command cannot be started, [`ErrorKind::Cancelled`] when
    /// it was stopped.
    pub fn run(&self, options: &RunOptions, cancel: &RunCanceller) -> Result<i32, Error> {
        let config = &self.config().config;
        let mut argv = config.entrypoint.clone().unwrap_or_default();
        if options.command.is_empty() {
            argv.extend(config.cmd.clone().unwrap_or_default());
        } else {
            argv.extend(options.command.iter().cloned());
        }
        if argv.is_empty() {
            let message = "the image has no command: name one after the image";
            return Err(Error::new(ErrorKind::Request, message));
        }
        let tree = self.tree()?;
        let user = options.user.as_deref().unwrap_or(&config.user);
        let account = accounts_of(&tree, user).map_err(failure::of_step)?;
        let inner = self.builder().inner();
        let snapshot = |error| failure::of_step(stagewright_solver::StepError::Snapshot(error));
        let sandbox = inner.sandbox.get().map_err(failure::of_step)?;
        let prepared = StepRoot::prepare(self.snapshots(), self.layer_ids(), sandbox.stacking())
            .map_err(snapshot)?;
        let mut env: Vec<(String, String)> = config
            .env
            .iter()
            .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        env.extend(options.env.iter().cloned());
        if env.iter().all(|(name, _)| name != "HOME") {
            env.push(("HOME".to_owned(), account.home));
        }
        let workdir = options.workdir.as_deref().unwrap_or(&config.working_dir);
        let step = Step {
            env: env
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            cwd: if workdir.is_empty() {
                "/".into()
            } else {
                workdir.into()
            },
            user: User {
                uid: account.uid,
                gid: account.gid,
                groups: account.groups,
            },
            hostname: "stagewright".to_owned(),
            ..Step::new(
                prepared.root_fs(),
                argv.into_iter().map(Into::into).collect(),
            )
        };
        let exit = sandbox
            .run_attached(&step, &cancel.0)
            .map_err(|error| match error {
                ExecError::Cancelled => Error::new(ErrorKind::Cancelled, "the run was stopped"),
                error => failure::of_step(stagewright_solver::StepError::Exec(error)),
            })?;
        Ok(match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        })
    }
}

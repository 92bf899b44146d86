//! A step that failed, with the root file system as it left it, so that somebody can look around.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;
use stagewright_exec::{CancelHandle, Exit, Mount, RootFs, Step};
use stagewright_plan::ExecOp;
use stagewright_snapshot::{Snapshots, StepRoot};

use crate::error::StepError;
use crate::run_mounts::Leases;
use crate::services::{LazySandbox, Services};

/// The shell of a step that was not started by one.
const SHELL: &str = "/bin/sh";

/// Where the first step of a build that fails is kept.
#[derive(Debug, Clone, Default)]
pub struct FailedPlace(Arc<Mutex<Option<FailedStep>>>);

impl FailedPlace {
    /// Takes the step out.
    pub fn take(&self) -> Option<FailedStep> {
        // Nothing is left half done by who panicked with the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What failed first is why the build failed.
    pub(crate) fn put(&self, step: FailedStep) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.get_or_insert(step);
    }
}

/// A step that failed. What it changed, its mounts, the locks on its caches and its ssh agents stay
/// as long as this lives, and go with it: nothing of it gets into the store.
#[derive(Debug)]
pub struct FailedStep {
    step: Step,
    shell: String,
    /// The directories of the root.
    _prepared: StepRoot,
    sandbox: Arc<LazySandbox>,
    _leases: Leases,
    /// What the step is mounted of is not collected.
    _session: Snapshots,
}

impl FailedStep {
    pub(crate) fn new(
        services: &Services,
        op: &ExecOp,
        step: Step,
        prepared: StepRoot,
        leases: Leases,
    ) -> Self {
        Self {
            step,
            shell: shell_of(&op.argv),
            _prepared: prepared,
            sandbox: Arc::clone(&services.sandbox),
            _leases: leases,
            _session: services.snapshots.clone(),
        }
    }

    /// Returns the shell that the step was started by, `/bin/sh` if it was none.
    pub fn shell(&self) -> &str {
        &self.shell
    }

    /// Runs a program where the step ran, with its environment, user, working directory, mounts and
    /// network, and without its timeout, on the standard streams of this process: on a terminal of
    /// its own if they are one. Blocks.
    ///
    /// # Errors
    /// When the program could not be run, or was cancelled.
    pub fn enter(
        &self,
        argv: &[String],
        env: &[(String, String)],
        cancel: &CancelHandle,
    ) -> Result<Exit, StepError> {
        let mut step = Step {
            argv: argv.iter().map(Into::into).collect(),
            timeout: None,
            ..self.step.clone()
        };
        for (name, value) in env {
            step.env.retain(|(known, _)| known != name.as_str());
            step.env.push((name.into(), value.into()));
        }
        self.renew_work(&mut step).map_err(StepError::Io)?;
        Ok(self.sandbox.get()?.run_interactive(&step, cancel)?)
    }

    /// Gives every overlay a new directory to work in: the kernel does not take that of a mount that
    /// was not made durable for another one.
    fn renew_work(&self, step: &mut Step) -> std::io::Result<()> {
        let scratch = step.mounts.iter_mut().filter_map(|mount| match mount {
            Mount::BindDiscard { work, .. }
            | Mount::Layers {
                scratch: Some((_, work)),
                ..
            } => Some(work),
            _ => None,
        });
        let of_root = match &mut step.root {
            RootFs::Overlay { work, .. } => Some(work),
            RootFs::Directory(_) => None,
        };
        for work in scratch.chain(of_root) {
            *work = new_sibling(work)?;
        }
        Ok(())
    }
}

/// Makes a directory beside another one, which is removed with it.
fn new_sibling(directory: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let mut name = directory.as_os_str().to_owned();
        name.push(format!("-{number}"));
        match fs::create_dir(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| name.into()),
        }
    }
}

/// Returns the shell of a command in shell form.
fn shell_of(argv: &[String]) -> String {
    match argv {
        [shell, .., flag, _] if flag == "-c" => shell.clone(),
        _ => SHELL.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_that_of_the_step() {
        let of = |line: &str| shell_of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("/bin/bash -o pipefail -c x"), "/bin/bash");
        assert_eq!(of("/bin/ash -c x"), "/bin/ash");
        assert_eq!(of("cat -c"), "/bin/sh");
        assert_eq!(of("true"), "/bin/sh");
    }
}

//! A shell where a step failed.

use stagewright::{EnterOptions, KeptStep, RunCanceller};

use super::interrupts::Interrupts;
use crate::failure::Failure;

/// Says what failed and opens a shell there, if it was a step. Standard input is the shell's: a
/// terminal, or what commands are read from.
pub(crate) fn open(failure: Failure, kept: &KeptStep) -> Failure {
    let Some(step) = kept.take() else {
        return failure;
    };
    eprint!("{}", failure.text());
    let shell = step.shell();
    eprintln!(
        "opening {shell} where the step failed, with its files, mounts, environment and user; when it ends, so does the build, and its changes are gone"
    );
    let entered = || -> Result<(), Failure> {
        let canceller = RunCanceller::new()?;
        let cancel = canceller.clone();
        let signals = Interrupts::listen(move || cancel.cancel())?;
        let options = EnterOptions {
            // What programs need to know of the terminal.
            env: std::env::var("TERM")
                .map(|term| ("TERM".to_owned(), term))
                .into_iter()
                .collect(),
            ..EnterOptions::default()
        };
        match (step.enter(&options, &canceller), signals.heard()) {
            (Err(_), Some(signal)) => Err(Failure::Signal(signal)),
            // What the shell's last command ended with says nothing of the build.
            (result, _) => result.map(drop).map_err(Failure::from),
        }
    };
    match entered() {
        Ok(()) => Failure::Told(Box::new(failure)),
        Err(stopped @ Failure::Signal(_)) => stopped,
        Err(error) => {
            eprint!("{}", error.text());
            Failure::Told(Box::new(failure))
        }
    }
}

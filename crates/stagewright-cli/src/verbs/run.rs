//! `stagewright run`.

use std::process::ExitCode;

use stagewright::{Builder, RunCanceller, RunOptions};

use super::interrupts::Interrupts;
use crate::arguments::RunArguments;
use crate::failure::Failure;

/// Runs an image in the foreground; the exit code is its command's.
pub(crate) fn run(builder: &Builder, arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let image = builder.image(&arguments.image)?;
    let canceller = RunCanceller::new()?;
    let options = RunOptions {
        command: arguments.command.clone(),
        ..RunOptions::default()
    };
    let cancel = canceller.clone();
    let signals = Interrupts::listen(move || cancel.cancel())?;
    match (image.run(&options, &canceller), signals.heard()) {
        // What a stopped command ended with says nothing more.
        (Err(_), Some(signal)) => Err(Failure::Signal(signal)),
        (result, _) => {
            let code = result?;
            // What does not fit a byte was no exit code of a process.
            Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }
}

//! The stagewright command: arguments in, the library's work shown, an exit code out.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command is what talks to people"
)]

mod arguments;
mod failure;
mod progress;
mod settings;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match verbs::run(arguments::Arguments::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprint!("{}", failure.text());
            failure.code()
        }
    }
}

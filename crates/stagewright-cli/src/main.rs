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
    end_with_the_reader();
    match verbs::run(arguments::Arguments::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprint!("{}", failure.text());
            failure.code()
        }
    }
}

/// Has the command end quietly when who reads its output has gone, as in `stagewright images | head -1`: printing panics
/// then, and a panic reads like a defect.
fn end_with_the_reader() {
    /// 128 and the number of SIGPIPE, as a shell reports it of other programs.
    const READER_GONE: i32 = 141;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to") && message.contains("Broken pipe") {
            std::process::exit(READER_GONE);
        }
        hook(panic);
    }));
}

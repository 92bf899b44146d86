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
use clap::error::{ContextKind, ContextValue};

fn main() -> ExitCode {
    end_with_the_reader();
    let arguments = arguments::Arguments::try_parse();
    match verbs::run(arguments.unwrap_or_else(|error| without_keys(error).exit())) {
        Ok(code) => code,
        Err(failure) => {
            eprint!("{}", failure.text());
            failure.code()
        }
    }
}

/// Leaves a value out of an error that has a key or a token in it: what is printed is kept in logs.
fn without_keys(mut error: clap::Error) -> clap::Error {
    const KEYS: [&str; 4] = ["secret_access_key", "session_token", "token", "account_url"];
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && value.split(',').any(|field| {
            let name = field.split('=').next().unwrap_or_default();
            let name = name.trim().trim_start_matches('"').to_ascii_lowercase();
            KEYS.contains(&name.as_str())
        })
    {
        let hidden = ContextValue::String("…".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
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

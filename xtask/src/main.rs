//! The project's own commands, run as `cargo xtask VERB`: one file a verb.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command of the project talks to whoever runs it"
)]

mod ci;
mod host;
mod licences;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check the rules that the compiler does not: crate arrows, file sizes, names and the like
    Tidy,
    /// Check every dependency's licence and origin against deny.toml
    Deny,
    /// Run every check of a change: format, lints, tidy, deny, docs, tests
    Ci(ci::CiArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Tidy => tidy::run(),
        Verb::Deny => licences::run(),
        Verb::Ci(arguments) => ci::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

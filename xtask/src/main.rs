//! The project's own commands, run as `cargo xtask VERB`: one file a verb.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command of the project talks to whoever runs it"
)]

mod bases;
mod bench;
mod bindings;
mod book;
mod ci;
mod codegen;
mod command_reference;
mod counts;
mod demo;
mod facade_table;
mod guards;
mod host;
mod ignored;
mod licences;
mod state;
mod test;
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
    /// Build the lesson's two-stage application, run it, fetch its page, build it again from cache
    Demo(demo::DemoArguments),
    /// Install what the tests need and run them all
    Test(test::TestArguments),
    /// Make the stand-in base images and serve them on the loopback interface until interrupted
    Bases,
    /// Measure: the command against other builders, and how its times grow
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Count the instructions of warm builds, and fail when there are many more than were recorded
    Counts(counts::CountsArguments),
    /// Take guards of the sandbox away, one at a time, and see that the tests of escapes notice
    Guards,
    /// Check the rules that the compiler does not: crate arrows, file sizes, names and the like
    Tidy,
    /// Check every dependency's licence and origin against deny.toml
    Deny,
    /// Write what other languages say in the same words, from the Rust source
    Codegen(codegen::CodegenArguments),
    /// Pack the packages of other languages, install them and run their tests
    Bindings(bindings::BindingsArguments),
    /// Render the documentation as web pages, with mdBook
    Book,
    /// Run every check of a change: format, lints, tidy, deny, docs, tests
    Ci(ci::CiArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Bases => serve_bases(),
        Verb::Bench(bench) => bench::run(&bench),
        Verb::Counts(arguments) => counts::run(&arguments),
        Verb::Guards => guards::run(),
        Verb::Tidy => tidy::run(),
        Verb::Deny => licences::run(),
        Verb::Codegen(arguments) => codegen::run(&arguments),
        Verb::Bindings(arguments) => bindings::run(&arguments),
        Verb::Book => book::run(),
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

fn serve_bases() -> anyhow::Result<()> {
    let registry = state::State::open()?.serve_bases()?;
    println!(
        "try: stagewright build --registry-mirror docker.io={} DIR",
        registry.address()
    );
    println!("end with Ctrl-C");
    loop {
        std::thread::park();
    }
}

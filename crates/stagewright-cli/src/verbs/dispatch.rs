//! From the verb to what does it.

use std::process::ExitCode;

use stagewright::Builder;

use super::{
    build, cache, doctor, explain, images, inspect, parse, push, run as run_image, save, sizes,
    transfer,
};
use crate::arguments::{Arguments, GlobalArguments, MirrorArgument, Verb};
use crate::failure::Failure;
use crate::settings;

/// Does what was asked for; the exit code is that of a verb that ran to its end.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let global = &arguments.global;
    let builder = match &arguments.verb {
        Verb::Parse(arguments) => {
            parse::run(arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Check(arguments) => return parse::check(arguments),
        Verb::Build(arguments) => open(global, &arguments.registry_mirror)?,
        Verb::Explain(arguments) => open(global, &arguments.build.registry_mirror)?,
        _ => open(global, &[])?,
    };
    let code = run_with(&builder, &arguments);
    for warning in builder.take_warnings() {
        eprintln!("warning: {warning}");
    }
    code
}

fn run_with(builder: &Builder, arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.verb {
        Verb::Build(arguments) => return build::run(builder, arguments),
        Verb::Explain(arguments) => explain::run(builder, arguments)?,
        // They need no store.
        Verb::Parse(_) | Verb::Check(_) => {}
        Verb::Inspect(arguments) => inspect::run(builder, arguments)?,
        Verb::Sizes(arguments) => sizes::run(builder, arguments)?,
        Verb::Run(arguments) => return run_image::run(builder, arguments),
        Verb::Cache(verb) => return cache::run(builder, verb),
        Verb::Images(arguments) => images::list(builder, arguments)?,
        Verb::Rmi(arguments) => images::remove(builder, arguments)?,
        Verb::Push(arguments) => push::run(builder, arguments)?,
        Verb::Pull(arguments) => transfer::pull(builder, arguments)?,
        Verb::Copy(arguments) => transfer::copy(builder, arguments)?,
        Verb::Load(arguments) => transfer::load(builder, arguments)?,
        Verb::Save(arguments) => save::run(builder, arguments)?,
        Verb::Tag(arguments) => images::tag(builder, arguments)?,
        Verb::Doctor => return doctor::run(builder),
    }
    Ok(ExitCode::SUCCESS)
}

fn open(global: &GlobalArguments, mirrors: &[MirrorArgument]) -> Result<Builder, Failure> {
    let options = settings::builder_options(global, mirrors)?;
    Ok(Builder::open(options)?)
}

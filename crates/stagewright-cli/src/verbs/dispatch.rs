//! From the verb to what does it.

use std::process::ExitCode;

use stagewright::Builder;

use super::{build, cache, doctor, images, inspect, parse, push, run as run_image, sizes};
use crate::arguments::{Arguments, GlobalArguments, MirrorArgument, Verb};
use crate::failure::Failure;
use crate::settings;

/// Does what was asked for; the exit code is that of a verb that ran to its end.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let global = &arguments.global;
    match &arguments.verb {
        Verb::Build(arguments) => {
            build::run(&open(global, &arguments.registry_mirror)?, arguments)?
        }
        Verb::Parse(arguments) => parse::run(arguments)?,
        Verb::Check(arguments) => return parse::check(arguments),
        Verb::Inspect(arguments) => inspect::run(&open(global, &[])?, arguments)?,
        Verb::Sizes(arguments) => sizes::run(&open(global, &[])?, arguments)?,
        Verb::Run(arguments) => return run_image::run(&open(global, &[])?, arguments),
        Verb::Cache(verb) => return cache::run(&open(global, &[])?, verb),
        Verb::Images(arguments) => images::list(&open(global, &[])?, arguments)?,
        Verb::Rmi(arguments) => images::remove(&open(global, &[])?, arguments)?,
        Verb::Push(arguments) => push::run(&open(global, &[])?, arguments)?,
        Verb::Tag(arguments) => images::tag(&open(global, &[])?, arguments)?,
        Verb::Doctor => return doctor::run(&open(global, &[])?),
    }
    Ok(ExitCode::SUCCESS)
}

fn open(global: &GlobalArguments, mirrors: &[MirrorArgument]) -> Result<Builder, Failure> {
    let options = settings::builder_options(global.store.as_deref(), mirrors)?;
    Ok(Builder::open(options)?)
}

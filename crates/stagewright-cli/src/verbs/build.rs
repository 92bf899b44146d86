//! `stagewright build`.

use serde_json::json;
use stagewright::{Builder, Image};

use super::{input, outputs, watch};
use crate::arguments::{BuildArguments, ProgressMode};
use crate::failure::Failure;

/// Builds, and writes what was asked for.
pub(crate) fn run(builder: &Builder, arguments: &BuildArguments) -> Result<(), Failure> {
    outputs::check(arguments)?;
    let input = input::read(arguments)?;
    let image = watch::watch(builder.build(input.request.clone()), mode(arguments))?;
    let manifest = outputs::write(arguments, &image)?;
    let id = image.id().to_string();
    if let Some(file) = &arguments.iidfile {
        fs_err::write(file, &id)?;
    }
    if let Some(file) = &arguments.metadata_file {
        let text = format!("{:#}\n", metadata(&image, manifest.as_deref()));
        fs_err::write(file, text)?;
    }
    let stdout_taken = arguments
        .output
        .iter()
        .any(|output| outputs::to_stdout(&output.kind));
    if mode(arguments) == ProgressMode::Quiet && !stdout_taken {
        println!("{id}");
    }
    Ok(())
}

fn mode(arguments: &BuildArguments) -> ProgressMode {
    if arguments.quiet {
        ProgressMode::Quiet
    } else {
        arguments.progress
    }
}

/// Says what buildx says, under its names.
fn metadata(image: &Image, manifest: Option<&str>) -> serde_json::Value {
    let mut document = json!({ "containerimage.config.digest": image.id().to_string() });
    if let Some(digest) = manifest {
        document["containerimage.digest"] = digest.into();
    }
    if !image.names().is_empty() {
        document["image.name"] = image.names().join(",").into();
    }
    document
}

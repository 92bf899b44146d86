//! `stagewright pull`, `copy` and `load`.

use std::io::IsTerminal as _;

use stagewright::Builder;
use tempfile::NamedTempFile;

use super::push::shown;
use crate::arguments::{CopyArguments, LoadArguments, ProgressMode, PullArguments};
use crate::failure::Failure;

/// Pulls images into the store, and prints their ids.
pub(crate) fn pull(builder: &Builder, arguments: &PullArguments) -> Result<(), Failure> {
    let (options, mode) = (arguments.transfer.options(), arguments.shown.mode());
    for name in &arguments.images {
        let image = shown(mode, |events| builder.pull_image(name, &options, events))?;
        if mode == ProgressMode::Quiet {
            println!("{}", image.id());
        }
    }
    Ok(())
}

/// Copies an image, and prints its digest.
pub(crate) fn copy(builder: &Builder, arguments: &CopyArguments) -> Result<(), Failure> {
    let (options, mode) = (arguments.transfer.options(), arguments.shown.mode());
    let (from, to) = (&arguments.from, &arguments.to);
    let copied = shown(mode, |events| {
        builder.copy_image(from, to, &options, events)
    })?;
    if let Some(digest) = copied.manifest.filter(|_| mode == ProgressMode::Quiet) {
        println!("{digest}");
    }
    Ok(())
}

/// Loads an archive, and prints the names of what was in it.
pub(crate) fn load(builder: &Builder, arguments: &LoadArguments) -> Result<(), Failure> {
    let (options, mode) = (arguments.transfer.options(), arguments.shown.mode());
    let (path, _kept) = match &arguments.input {
        Some(path) => (path.clone(), None),
        None => {
            let mut stdin = std::io::stdin().lock();
            if stdin.is_terminal() {
                let message =
                    "standard input is a terminal; name an archive with -i, or pipe one in";
                return Err(Failure::Usage(message.to_owned()));
            }
            let file = NamedTempFile::new()?;
            std::io::copy(&mut stdin, &mut file.as_file())?;
            (file.path().to_owned(), Some(file))
        }
    };
    let names = shown(mode, |events| builder.load_images(&path, &options, events))?;
    for name in names {
        println!("{name}");
    }
    Ok(())
}

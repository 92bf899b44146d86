//! `stagewright pull`, `copy` and `load`.

use std::io::IsTerminal as _;

use stagewright::Builder;
use tempfile::NamedTempFile;

use super::push::shown;
use super::watch::Screen;
use crate::arguments::{CopyArguments, LoadArguments, PullArguments};
use crate::failure::Failure;

/// Pulls images into the store, and prints their ids.
pub(crate) fn pull(builder: &Builder, arguments: &PullArguments) -> Result<(), Failure> {
    let options = arguments.transfer.options();
    let screen = Screen::new(arguments.shown.mode());
    for name in &arguments.images {
        let image = shown(&screen, |events| builder.pull_image(name, &options, events))?;
        if screen.is_quiet() {
            println!("{}", image.id());
        }
    }
    Ok(())
}

/// Copies an image, and prints its digest.
pub(crate) fn copy(builder: &Builder, arguments: &CopyArguments) -> Result<(), Failure> {
    let options = arguments.transfer.options();
    let screen = Screen::new(arguments.shown.mode());
    let (from, to) = (&arguments.from, &arguments.to);
    let copied = shown(&screen, |events| {
        builder.copy_image(from, to, &options, events)
    })?;
    if let Some(digest) = copied.manifest.filter(|_| screen.is_quiet()) {
        println!("{digest}");
    }
    Ok(())
}

/// Loads an archive, and prints the names of what was in it.
pub(crate) fn load(builder: &Builder, arguments: &LoadArguments) -> Result<(), Failure> {
    let options = arguments.transfer.options();
    let screen = Screen::new(arguments.shown.mode());
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
    let names = shown(&screen, |events| {
        builder.load_images(&path, &options, events)
    })?;
    for name in names {
        println!("{name}");
    }
    Ok(())
}

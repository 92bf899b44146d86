//! Which file says what of a build context is left out.

use std::path::{Path, PathBuf};

use stagewright_context::Patterns;

use crate::error::{Error, ErrorKind};
use crate::input::read_file;

/// What such files are called; the first that is there is read. Behind the name of a Dockerfile they
/// are that Dockerfile's.
const NAMES: [&str; 2] = [".dockerignore", ".containerignore"];

/// Reads the rules for a folder: those that are given, else those beside the Dockerfile, else its own.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the file that is given is not there, [`ErrorKind::Request`] when one
/// cannot be read or has a wrong rule.
pub(crate) fn rules(
    root: &Path,
    dockerfile: Option<&Path>,
    given: Option<&Path>,
) -> Result<Patterns, Error> {
    if let Some(path) = given {
        let text = read_file(path)?.ok_or_else(|| {
            let message = format!("the ignore file {} does not exist", path.display());
            Error::new(ErrorKind::NotFound, message)
        })?;
        return parse(path, &text);
    }
    let beside = dockerfile.into_iter().flat_map(|path| {
        NAMES.map(|name| {
            let mut path = path.as_os_str().to_owned();
            path.push(name);
            PathBuf::from(path)
        })
    });
    for path in beside.chain(NAMES.map(|name| root.join(name))) {
        if let Some(text) = read_file(&path)? {
            let name = path.file_name().unwrap_or_default();
            return parse(name.as_ref(), &text);
        }
    }
    Ok(Patterns::default())
}

fn parse(path: &Path, text: &str) -> Result<Patterns, Error> {
    Patterns::parse(text)
        .map_err(|error| Error::new(ErrorKind::Request, format!("{}: {error}", path.display())))
}

//! Other tools' stores, by way of their commands.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, ErrorKind};

/// Writes an image of Podman's storage into an archive of OCI's.
pub(super) fn save_from_podman(name: &str, file: &Path) -> Result<(), Error> {
    let mut command = Command::new("podman");
    command.args(["save", "--quiet", "--format", "oci-archive", "-o"]);
    let doing = format!("saving {name:?}");
    run(command.arg(file).arg("--").arg(name), &doing, None)
}

/// Writes an image of a Docker daemon into an archive.
pub(super) fn save_from_docker(name: &str, file: &Path) -> Result<(), Error> {
    let mut command = Command::new("docker");
    let doing = format!("saving {name:?}");
    command.args(["save", "-o"]).arg(file).arg("--").arg(name);
    run(&mut command, &doing, None)
}

/// What writes an archive.
pub(super) type Archive<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), Error>;

/// Loads an archive of Docker's.
pub(super) fn load_into(program: &str, archive: Archive<'_>) -> Result<(), Error> {
    let mut command = Command::new(program);
    run(command.arg("load"), "loading an image", Some(archive))
}

fn run(command: &mut Command, doing: &str, archive: Option<Archive<'_>>) -> Result<(), Error> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let fail = |message: String| Error::new(ErrorKind::Export, message);
    let spawned = command
        .stdin(match archive {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = spawned.map_err(|error| Error {
        help: Some(format!("install {shown}, or copy to or from an archive")),
        ..fail(format!("{shown} cannot be started: {error}"))
    })?;
    let written = match (archive, process.stdin.take()) {
        (Some(archive), Some(mut stdin)) => archive(&mut stdin).and_then(|()| {
            let flushed = stdin.flush();
            flushed.map_err(|error| fail(error.to_string()))
        }),
        _ => Ok(()),
    };
    let out = process
        .wait_with_output()
        .map_err(|error| fail(format!("waiting for {shown}: {error}")))?;
    if !out.status.success() {
        // Why it ended is more than that its input then broke.
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(fail(format!(
            "{doing}: {shown} ended with {}: {}",
            out.status,
            said.trim_end()
        )));
    }
    written
}

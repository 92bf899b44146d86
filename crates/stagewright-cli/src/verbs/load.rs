//! `--load`: the image into Docker or Podman, whichever is there.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use stagewright::{Export, Image};

use crate::failure::Failure;

/// The programs that load an archive from their standard input, in the order in which they are
/// looked for.
const LOADERS: [&str; 2] = ["docker", "podman"];

/// Loads an image in a form that both take.
pub(crate) fn load(image: &Image, export: &Export) -> Result<(), Failure> {
    let loader = LOADERS.into_iter().find(|program| answers(program)).ok_or_else(|| {
        anyhow!(
            "--load needs docker or podman, and neither answers; write -o type=docker,dest=FILE instead"
        )
    })?;
    let mut process = Command::new(loader)
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {loader} load"))?;
    let written = match process.stdin.take() {
        Some(mut stdin) => image.export_to(export, &mut stdin).and_then(|_| {
            stdin.flush().map_err(|error| {
                stagewright::Error::new(stagewright::ErrorKind::Export, error.to_string())
            })
        }),
        None => Ok(()),
    };
    let out = process
        .wait_with_output()
        .with_context(|| format!("waiting for {loader} load"))?;
    if !out.status.success() {
        // Why it ended is more than that its input then broke.
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(anyhow!(
            "{loader} load ended with {}: {}",
            out.status,
            said.trim_end()
        )
        .into());
    }
    Ok(written?)
}

/// Returns whether a program is there and has what it needs: docker its daemon.
fn answers(program: &str) -> bool {
    let asked = || -> anyhow::Result<()> {
        let status = Command::new(program)
            .arg("info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("it has no daemon");
        }
        Ok(())
    };
    asked().is_ok()
}

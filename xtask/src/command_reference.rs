//! The reference of the command, as its own help says it.

use anyhow::Result;

use crate::host;

/// Where it is written.
pub(crate) const FILE: &str = "docs/reference/command.md";

/// Asks the command, which is built.
pub(crate) fn text() -> Result<String> {
    let mut build = host::cargo();
    build.args(["build", "--quiet", "--locked", "--package=stagewright-cli"]);
    host::run(&mut build)?;
    let program = host::target_folder()?.join("debug/stagewright");
    Ok(stagewright_testkit::command_reference(&program))
}

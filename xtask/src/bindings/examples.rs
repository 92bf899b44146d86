//! The examples of the documentation in the languages that have packages, run with the packages as
//! they are installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use stagewright_testkit::{ExampleHost, Page};

use crate::host;

/// A language of examples.
pub(super) struct Examples<'a> {
    /// As it stands behind a fence.
    pub(super) language: &'a str,
    /// What a file of them is called.
    pub(super) file: &'a str,
    /// Makes a program of a page's examples, in their order.
    pub(super) program: fn(&[&str]) -> String,
    /// Returns the command that runs such a file.
    pub(super) command: &'a dyn Fn(&Path) -> Result<Command>,
}

impl Examples<'_> {
    /// Runs the examples of each page as one program, and compares what they print with what the
    /// page shows. `folder` is where the programs are written.
    pub(super) fn run(&self, folder: &Path) -> Result<()> {
        let host = ExampleHost::new();
        let pages = Page::all(&host::root());
        let mut count = 0;
        for page in &pages {
            let blocks = page.examples(self.language);
            if blocks.is_empty() {
                continue;
            }
            count += blocks.len();
            let texts: Vec<&str> = blocks.iter().map(|block| block.text.as_str()).collect();
            let program = host.fill_in(&(self.program)(&texts));
            let file = self.write(folder, page, &program)?;
            let project = host.project(page, self.language);
            let mut command = (self.command)(&file)?;
            let printed = printed(host.prepare(&mut command, &project))?;
            page.check_output(self.language, &host.restore(&printed));
            println!("docs/{}: {} examples", page.name, blocks.len());
        }
        if count == 0 {
            bail!("the documentation has no examples in {}", self.language);
        }
        Ok(())
    }

    fn write(&self, folder: &Path, page: &Page, program: &str) -> Result<PathBuf> {
        let folder = folder.join(page.name.replace(['/', '.'], "-"));
        fs_err::create_dir_all(&folder)?;
        let file = folder.join(self.file);
        fs_err::write(&file, program)?;
        Ok(file)
    }
}

/// Runs a program, and returns what it wrote to both of its streams, one after the other.
fn printed(command: &mut Command) -> Result<String> {
    let shown = host::shown(command);
    let out = command.output()?;
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !out.status.success() {
        bail!("{shown} ended with {}\n{text}", out.status);
    }
    Ok(text)
}

/// Puts the examples one behind the other.
pub(super) fn script(examples: &[&str]) -> String {
    examples.join("\n")
}

/// Makes a C++ program: what an example includes goes to the top, the rest into `main`.
pub(super) fn cpp_program(examples: &[&str]) -> String {
    let text = script(examples);
    let (includes, body): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("#include"));
    format!(
        "{}\n\nint main() {{\n{}\n}}\n",
        includes.join("\n"),
        body.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_examples_includes_first() {
        let program = cpp_program(&["#include <a>\nint b;\n", "#include <c>\nb = 1;\n"]);
        assert_eq!(
            program,
            "#include <a>\n#include <c>\n\nint main() {\nint b;\n\nb = 1;\n}\n"
        );
    }
}

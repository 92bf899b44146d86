//! `cargo xtask book`: the documentation as web pages, rendered by mdBook.
//!
//! The pages are read where they lie as well, in the source tree: links lead from one folder to
//! another, and some pages (this project's README files, ARCHITECTURE.md) lie outside of `docs`. So
//! what mdBook is given is a copy of the tree, with a list of its pages seen from the root. That links hold is checked by
//! `cargo xtask tidy`, and the examples by the tests: neither needs mdBook, which takes minutes to compile.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host;

/// The folder of the pages, and of what they show.
const PAGES: &str = "docs";
/// The list of the pages.
const SUMMARY: &str = "SUMMARY.md";
/// The page that readers come to first.
const FIRST: &str = "docs/introduction.html";
/// What mdBook is told. README files keep their names, as links have them.
const SETTINGS: &str = "\
[book]
title = \"stagewright\"
language = \"en\"
src = \"source\"

[build]
build-dir = \"html\"
use-default-preprocessors = false

[output.html]
no-section-label = true
additional-css = [\"book.css\"]
";
/// Names of tests are longer than a column of a table; the table of features has six, and theirs is the last. Text that
/// is so wide leaves no room for arrows beside it: those below it do.
const STYLE: &str = "\
:root { --content-max-width: 1000px; }
.nav-wide-wrapper { display: none; }
.nav-wrapper { display: block; }
table code { overflow-wrap: anywhere; }
th:nth-child(6):last-child { min-width: 18em; }
";

/// Renders the pages into the target folder.
pub(crate) fn run() -> Result<()> {
    let Some(mdbook) = host::find_program("mdbook") else {
        bail!("there is no mdbook on this machine: cargo install mdbook --no-default-features");
    };
    let folder = host::target_folder()?.join("book");
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    let source = folder.join("source");
    copy_pages(&host::root(), &source)?;
    fs_err::write(folder.join("book.toml"), SETTINGS)?;
    fs_err::write(folder.join("book.css"), STYLE)?;
    host::run(Command::new(mdbook).arg("build").arg(&folder))?;
    let index = folder.join("html/index.html");
    // mdBook makes it a copy of the first page, whose links then begin in the wrong folder.
    fs_err::write(
        &index,
        format!("<!DOCTYPE html><meta http-equiv=\"refresh\" content=\"0; url={FIRST}\">\n"),
    )?;
    println!("rendered: {}", index.display());
    Ok(())
}

/// Copies the folder of the pages, and the pages that lie elsewhere.
fn copy_pages(root: &Path, to: &Path) -> Result<()> {
    copy_folder(&root.join(PAGES), &to.join(PAGES))?;
    let summary = fs_err::read_to_string(root.join(PAGES).join(SUMMARY))?;
    let (seen_from_root, pages) = moved(&summary)?;
    for page in pages {
        let copy = to.join(&page);
        if !copy.exists() {
            let folder = copy.parent().context("a page lies in a folder")?;
            fs_err::create_dir_all(folder)?;
            fs_err::copy(root.join(&page), &copy)?;
        }
    }
    fs_err::write(to.join(SUMMARY), seen_from_root)?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs_err::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

/// Writes a list of pages as it is seen from the root, and returns where the pages lie.
fn moved(summary: &str) -> Result<(String, Vec<PathBuf>)> {
    let (mut text, mut pages) = (String::new(), Vec::new());
    for line in summary.lines() {
        match line.split_once("](") {
            None => text += line,
            Some((before, target)) => {
                let target = target.strip_suffix(')');
                let target = target.with_context(|| format!("{line:?} is no link alone"))?;
                let page = match target.strip_prefix("../") {
                    Some(outside) => outside.to_owned(),
                    None => format!("{PAGES}/{target}"),
                };
                text += &format!("{before}]({page})");
                pages.push(PathBuf::from(page));
            }
        }
        text.push('\n');
    }
    Ok((text, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_pages_is_moved_to_the_root() {
        let (text, pages) = moved("# A\n\n- [b](guide/b.md)\n  - [c](../C.md)\n").expect("links");
        assert_eq!(text, "# A\n\n- [b](docs/guide/b.md)\n  - [c](C.md)\n");
        assert_eq!(pages, ["docs/guide/b.md", "C.md"].map(PathBuf::from));
        assert!(moved("- [b](b.md) and more\n").is_err());
    }
}

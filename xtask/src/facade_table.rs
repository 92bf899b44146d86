//! The table of the facade by language: every function is in it, and what it names is there.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::host;

const TABLE: &str = "bindings/README.md";
/// Types whose methods other languages have.
const TYPES: [&str; 7] = [
    "Build",
    "Builder",
    "Canceller",
    "Events",
    "Image",
    "RunCanceller",
    "Stage",
];
/// Python, Node and C++ in the order of the table, and where they say what they have.
const LANGUAGES: [&str; 3] = [
    "bindings/python/python/stagewright",
    "bindings/node/ts",
    "bindings/cpp/include/stagewright",
];

/// Checks both.
pub(crate) fn check() -> Result<()> {
    let table = fs_err::read_to_string(host::root().join(TABLE))?;
    for name in functions(&host::root().join("crates/stagewright/src"))? {
        if !table.contains(&format!("`{name}`")) {
            bail!("{TABLE} lacks `{name}`: say what it is in every language");
        }
    }
    let mut sources = Vec::new();
    for folder in LANGUAGES {
        sources.push((folder, texts(&host::root().join(folder))?));
    }
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        for (cell, (folder, source)) in cells.iter().skip(1).zip(&sources) {
            for word in words(cell) {
                if !source.contains(word) {
                    bail!("{TABLE} names {word:?}, which is not in {folder}");
                }
            }
        }
    }
    Ok(())
}

/// Returns the words of the code in a cell.
fn words(cell: &str) -> Vec<&str> {
    // What is between the first and the second mark is code, and so on.
    let code = cell.split('`').skip(1).step_by(2);
    code.flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .filter(|word| word.len() > 1 && !["new", "await"].contains(word))
        .collect()
}

/// Returns the facade's public functions and methods, as Rust names them.
fn functions(folder: &Path) -> Result<Vec<String>> {
    let exported = fs_err::read_to_string(folder.join("lib.rs"))?;
    let mut found = Vec::new();
    for source in files(folder, "rs")? {
        let text = fs_err::read_to_string(&source)?;
        let parsed = syn::parse_file(&text).with_context(|| source.display().to_string())?;
        for item in parsed.items {
            match item {
                syn::Item::Fn(function) if is_public(&function.vis) => {
                    let name = function.sig.ident.to_string();
                    let words = exported.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                    if words.into_iter().any(|word| word == name) {
                        found.push(name);
                    }
                }
                syn::Item::Impl(block) if block.trait_.is_none() => {
                    found.extend(methods(&block));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

fn methods(block: &syn::ItemImpl) -> Vec<String> {
    let syn::Type::Path(of) = &*block.self_ty else {
        return Vec::new();
    };
    let of = of.path.segments.last().map(|part| part.ident.to_string());
    let Some(of) = of.filter(|of| TYPES.contains(&of.as_str())) else {
        return Vec::new();
    };
    let public = block.items.iter().filter_map(|item| match item {
        syn::ImplItem::Fn(method) if is_public(&method.vis) => Some(&method.sig.ident),
        _ => None,
    });
    public.map(|name| format!("{of}::{name}")).collect()
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

fn texts(folder: &Path) -> Result<String> {
    let mut all = String::new();
    for end in ["py", "ts", "hpp"] {
        for file in files(folder, end)? {
            let _ = writeln!(all, "{}", fs_err::read_to_string(file)?);
        }
    }
    Ok(all)
}

/// Returns the files with an ending, those of folders in it too.
fn files(folder: &Path, end: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "json") {
            found.extend(files(&path, end)?);
        } else if path.extension().is_some_and(|found| found == end) {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_cell_are_those_of_its_code() {
        assert_eq!(
            words("`await build.wait()`, a signal, `new Builder({ store })`"),
            ["build", "wait", "Builder", "store"]
        );
    }

    #[test]
    fn public_methods_of_known_types_are_read() {
        let block = syn::parse_str("impl Stage { pub fn a() {} fn b() {} pub(crate) fn c() {} }");
        assert_eq!(methods(&block.expect("it is an impl")), ["Stage::a"]);
        let other = syn::parse_str("impl Other { pub fn a() {} }");
        assert!(methods(&other.expect("it is an impl")).is_empty());
    }
}

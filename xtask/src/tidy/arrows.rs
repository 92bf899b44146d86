//! Which crate may depend on which: ARCHITECTURE.md's table is the list, `cargo metadata` the
//! judge's evidence. The document can't drift, since it is what is checked against.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::source::Finding;

const DOCUMENT: &str = "ARCHITECTURE.md";
/// The heading that the table stands under.
const HEADING: &str = "## The crates";
/// The only crate that may name sled.
const SLED_OWNER: &str = "stagewright-store";

/// A workspace member and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependency {
    name: String,
    /// For tests only: a test may look down through the facade, code may not.
    dev: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    dependencies: Vec<MetadataDependency>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    kind: Option<String>,
}

/// Reads the members out of `cargo metadata --no-deps`.
pub(super) fn parse_metadata(json: &str) -> Result<Vec<Package>> {
    let metadata: Metadata = serde_json::from_str(json).context("reading cargo metadata")?;
    let package = |found: MetadataPackage| Package {
        name: found.name,
        dependencies: found
            .dependencies
            .into_iter()
            .map(|d| Dependency {
                name: d.name,
                dev: d.kind.as_deref() == Some("dev"),
            })
            .collect(),
    };
    Ok(metadata.packages.into_iter().map(package).collect())
}

/// A row of the document's table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    name: String,
    may_depend_on: Vec<String>,
}

/// Checks the members against the document's table.
pub(super) fn check(document: &str, packages: &[Package]) -> Vec<Finding> {
    let rows = rows(document);
    let mut findings = Vec::new();
    let mut allowed: BTreeMap<&str, &[String]> = BTreeMap::new();
    for row in &rows {
        if allowed.insert(&row.name, &row.may_depend_on).is_some() {
            findings.push(at(row, format!("`{}` has a second row", row.name)));
        }
        for name in row.may_depend_on.iter().chain([&row.name]) {
            if !packages.iter().any(|package| package.name == *name) {
                findings.push(at(row, format!("`{name}` is no crate of the workspace")));
            }
        }
    }
    for package in packages {
        let Some(may_depend_on) = allowed.get(package.name.as_str()) else {
            let message = format!("`{}` has no row in the table of crates", package.name);
            findings.push(Finding::file(DOCUMENT, message));
            continue;
        };
        findings.extend(check_package(package, may_depend_on, packages));
    }
    findings
}

fn check_package(package: &Package, allowed: &[String], members: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if name == "sled" && package.name != SLED_OWNER {
            let message = format!(
                "`{}` depends on sled; only `{SLED_OWNER}` may",
                package.name
            );
            findings.push(Finding::file(&manifest(&package.name), message));
        }
        let member = members.iter().any(|other| other.name == name);
        if !member || dependency.dev || allowed.iter().any(|other| other == name) {
            continue;
        }
        let message = format!(
            "`{}` may not depend on `{name}`; the arrows are in {DOCUMENT}, \"{}\"",
            package.name,
            HEADING.trim_start_matches("## ")
        );
        findings.push(Finding::file(&manifest(&package.name), message));
    }
    findings
}

fn manifest(package: &str) -> String {
    format!("crates/{package}/Cargo.toml")
}

fn at(row: &Row, message: String) -> Finding {
    Finding::line(DOCUMENT, row.line, message)
}

/// Reads the rows `| `name` | line | `a`, `b` |` of the table under the heading.
fn rows(document: &str) -> Vec<Row> {
    let mut lines = document.lines().enumerate();
    if !lines.by_ref().any(|(_, line)| line.trim_end() == HEADING) {
        return Vec::new();
    }
    lines
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(index, line)| row(index + 1, line))
        .collect()
}

fn row(line: usize, text: &str) -> Option<Row> {
    let cells: Vec<&str> = text
        .trim()
        .strip_prefix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
    let arrows = cells.get(2)?;
    // Between backticks is every second piece.
    let may_depend_on = arrows
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some(Row {
        line,
        name: name.to_owned(),
        may_depend_on,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT_TEXT: &str = "# Title\n\n## The crates\n\n| crate | line | may depend on |\n|---|---|---|\n| `a` | first | — |\n| `b` | second | `a` |\n\n## Next\n\n| `x` | not a crate | — |\n";

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |word: &&str| match word.strip_prefix("dev:") {
            Some(name) => Dependency {
                name: name.to_owned(),
                dev: true,
            },
            None => Dependency {
                name: (*word).to_owned(),
                dev: false,
            },
        };
        Package {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn check_messages(document: &str, packages: &[Package]) -> Vec<String> {
        check(document, packages)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn arrows_of_the_table_pass() {
        let packages = [package("a", &["serde", "dev:b"]), package("b", &["a"])];
        assert_eq!(
            check_messages(DOCUMENT_TEXT, &packages),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_arrow_that_the_table_lacks_is_found() {
        let packages = [package("a", &["b"]), package("b", &[])];
        let found = check_messages(DOCUMENT_TEXT, &packages);
        assert_eq!(
            found,
            [
                "crates/a/Cargo.toml: `a` may not depend on `b`; the arrows are in ARCHITECTURE.md, \"The crates\""
            ]
        );
    }

    #[test]
    fn crates_and_rows_must_match_one_to_one() {
        let document = DOCUMENT_TEXT.replace("| `b` | second |", "| `a` | again |");
        let found = check_messages(&document, &[package("a", &[]), package("b", &[])]);
        assert_eq!(
            found,
            [
                "ARCHITECTURE.md:8: `a` has a second row",
                "ARCHITECTURE.md: `b` has no row in the table of crates"
            ]
        );
        let found = check_messages(DOCUMENT_TEXT, &[package("a", &[])]);
        assert_eq!(
            found,
            ["ARCHITECTURE.md:8: `b` is no crate of the workspace"]
        );
    }

    #[test]
    fn only_the_store_names_sled() {
        let packages = [package("a", &["sled"]), package("b", &[])];
        let found = check_messages(DOCUMENT_TEXT, &packages);
        assert_eq!(
            found,
            ["crates/a/Cargo.toml: `a` depends on sled; only `stagewright-store` may"]
        );
    }

    #[test]
    fn metadata_tells_test_dependencies_apart() {
        let json = r#"{"packages": [{"name": "a", "dependencies": [
            {"name": "serde", "kind": null}, {"name": "insta", "kind": "dev"}]}]}"#;
        let packages = parse_metadata(json).expect("because the text is metadata");
        assert_eq!(packages, [package("a", &["serde", "dev:insta"])]);
    }
}

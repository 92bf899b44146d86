//! Packages of npm: each folder of `node_modules` has a `package.json`.

use serde_json::Value;

use super::scan::{Package, PackageKind};

/// Says whether a `package.json` is that of an installed package, and not of a part of one.
pub(super) fn is_installed(path: &str) -> bool {
    let Some(folder) = path.strip_suffix("/package.json") else {
        return false;
    };
    let name = match folder.rsplit_once("node_modules/") {
        Some((before, name)) if before.is_empty() || before.ends_with('/') => name,
        _ => return false,
    };
    match name.split_once('/') {
        Some((scope, rest)) => scope.starts_with('@') && !rest.contains('/'),
        None => !name.is_empty(),
    }
}

/// Reads what a package says of itself. One that says no name or version is none.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    // Older packages have an object, or a list of them.
    let license = match &document["license"] {
        Value::Object(license) => license.get("type").and_then(Value::as_str),
        license => license.as_str(),
    };
    let author = match &document["author"] {
        Value::Object(author) => author.get("name").and_then(Value::as_str),
        author => author.as_str(),
    };
    let package = Package {
        kind: PackageKind::Npm,
        name: text("name"),
        version: text("version"),
        supplier: author.unwrap_or_default().to_owned(),
        license: license.unwrap_or_default().to_owned(),
        homepage: text("homepage"),
        found_in: path.to_owned(),
        ..Package::default()
    };
    match package.name.is_empty() || package.version.is_empty() {
        true => Vec::new(),
        false => vec![package],
    }
}

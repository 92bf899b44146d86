//! Packages of pip: `METADATA` of a `.dist-info`, `PKG-INFO` of an `.egg-info` (core metadata
//! specification).

use super::fields::Fields;
use super::scan::{Package, PackageKind};

/// Reads what a package says of itself. The description after the fields is left out.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    let fields = Fields::of_lines(text.lines().take_while(|line| !line.trim().is_empty()));
    let license = match fields.get("License-Expression") {
        "" => fields.line("License"),
        expression => expression.to_owned(),
    };
    let package = Package {
        kind: PackageKind::Python,
        // Names that differ in these are one name (PEP 503).
        name: normal_name(fields.get("Name")),
        version: fields.line("Version"),
        supplier: fields.line("Author"),
        license,
        homepage: fields.line("Home-page"),
        found_in: path.to_owned(),
        ..Package::default()
    };
    match package.name.is_empty() || package.version.is_empty() {
        true => Vec::new(),
        false => vec![package],
    }
}

fn normal_name(name: &str) -> String {
    let mut normal = String::new();
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            letter => normal.extend(letter.to_lowercase()),
        }
    }
    normal
}

//! Alpine's packages: `/lib/apk/db/installed` (apk's "v2 index format": a letter, a colon, a value).

use super::scan::{Package, PackageKind};

/// Reads the packages that are installed.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        // Files and their modes have letters, too; upper and lower case are different letters.
        let field = |letter: char| {
            let lines = paragraph.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(letter)?.strip_prefix(':'));
            values.next().unwrap_or_default().trim().to_owned()
        };
        Package {
            kind: PackageKind::Apk,
            name: field('P'),
            version: field('V'),
            architecture: field('A'),
            source: field('o'),
            supplier: field('m'),
            license: field('L'),
            homepage: field('U'),
            found_in: path.to_owned(),
            ..Package::default()
        }
    });
    let mut packages: Vec<Package> = paragraphs
        .filter(|package| !package.name.is_empty())
        .collect();
    for package in &mut packages {
        if package.source == package.name {
            package.source.clear();
        }
    }
    packages
}

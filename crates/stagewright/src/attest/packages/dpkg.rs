//! Debian's packages: `/var/lib/dpkg/status`, and `status.d` of images without dpkg (deb-control(5)).

use super::fields::Fields;
use super::scan::{Package, PackageKind};

/// Reads the packages that are installed. Those that were removed and whose configuration is left
/// stand there, too.
pub(super) fn parse(text: &str, path: &str) -> Vec<Package> {
    let installed = |fields: &Fields<'_>| fields.get("Status").ends_with(" installed");
    read(text, path, installed)
}

/// Reads packages of a list in which each is installed.
pub(super) fn parse_present(text: &str, path: &str) -> Vec<Package> {
    read(text, path, |_| true)
}

fn read(text: &str, path: &str, wanted: impl Fn(&Fields<'_>) -> bool) -> Vec<Package> {
    let paragraphs = Fields::paragraphs(text).into_iter();
    paragraphs
        .filter(|fields| !fields.get("Package").is_empty() && wanted(fields))
        .map(|fields| Package {
            kind: PackageKind::Dpkg,
            name: fields.line("Package"),
            version: fields.line("Version"),
            architecture: fields.line("Architecture"),
            source: source(&fields),
            supplier: fields.line("Maintainer"),
            homepage: fields.line("Homepage"),
            found_in: path.to_owned(),
            ..Package::default()
        })
        .collect()
}

/// Returns the source package, `name@version` if it has another version.
fn source(fields: &Fields<'_>) -> String {
    let source = fields.get("Source");
    match source.split_once(" (") {
        Some((name, version)) => format!("{name}@{}", version.trim_end_matches(')')),
        None => source.to_owned(),
    }
}

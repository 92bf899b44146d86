//! SBOMs in SPDX 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>), in JSON.

use serde_json::{Value, json};
use stagewright_digest::Digest;

use super::packages::{Package, PackageKind, Scan};

/// What kind of predicate it is.
pub(super) const PREDICATE_TYPE: &str = "https://spdx.dev/Document";
const NO_ASSERTION: &str = "NOASSERTION";
const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";
const ROOT_ID: &str = "SPDXRef-DocumentRoot";

/// What a document is about.
pub(super) struct Subject<'a> {
    /// What was looked at: `image`, `stage build`, `context`.
    pub(super) name: &'a str,
    /// What it is made of: the same for the same files, so that the document's name is.
    pub(super) content: &'a str,
    /// When the document was made, as RFC 3339 has it.
    pub(super) created: &'a str,
}

/// Writes what was found.
pub(super) fn document(subject: &Subject<'_>, scan: &Scan) -> Value {
    let mut packages = vec![root(subject, scan)];
    packages.extend(scan.packages.iter().map(package));
    let described = std::iter::once(relationship(DOCUMENT_ID, "DESCRIBES", ROOT_ID));
    let contained = scan
        .packages
        .iter()
        .map(|package| relationship(ROOT_ID, "CONTAINS", &id(package)));
    let relationships: Vec<Value> = described.chain(contained).collect();
    // Unique for each content and moment (6.5): two documents of one name are one document.
    let unique =
        Digest::of(format!("{} {} {}", subject.name, subject.content, subject.created).as_bytes());
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT_ID,
        "name": subject.name,
        "documentNamespace": format!("urn:stagewright:sbom:{}", unique.to_hex()),
        "creationInfo": {
            "created": subject.created,
            "creators": [format!("Tool: stagewright-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    if !scan.gaps.is_empty() {
        document["comment"] = scan.gaps.join("\n").into();
    }
    document
}

/// The image itself, which contains the rest.
fn root(subject: &Subject<'_>, scan: &Scan) -> Value {
    let mut root = json!({
        "SPDXID": ROOT_ID,
        "name": subject.name,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": "CONTAINER",
    });
    if let Some(os) = &scan.os {
        root["comment"] = format!("distribution: {}", os.pretty).into();
    }
    root
}

fn package(package: &Package) -> Value {
    let mut object = json!({
        "SPDXID": id(package),
        "name": package.name,
        "versionInfo": version(package),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": license(&package.license),
        "copyrightText": NO_ASSERTION,
        "sourceInfo": format!("found in /{}", package.found_in),
    });
    if package.version.is_empty() {
        object
            .as_object_mut()
            .map(|fields| fields.remove("versionInfo"));
    }
    if let Some(supplier) = supplier(package.kind, &package.supplier) {
        object["supplier"] = supplier.into();
    }
    if let Some(homepage) = homepage(&package.homepage) {
        object["homepage"] = homepage.into();
    }
    // What is no expression of SPDX stays readable.
    if !package.license.is_empty() && object["licenseDeclared"] == NO_ASSERTION {
        object["licenseComments"] = package.license.as_str().into();
    }
    if let Some(purl) = &package.purl {
        object["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }]);
    }
    object
}

/// Returns the version as people read it.
fn version(package: &Package) -> String {
    match package.epoch.as_str() {
        "" => package.version.clone(),
        epoch => format!("{epoch}:{}", package.version),
    }
}

/// Returns the name of a package in the document: the same for the same package.
fn id(package: &Package) -> String {
    let text = format!(
        "{:?} {} {} {} {}",
        package.kind,
        package.name,
        version(package),
        package.architecture,
        package.found_in
    );
    format!(
        "SPDXRef-Package-{}",
        &Digest::of(text.as_bytes()).to_hex()[..16]
    )
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": kind,
        "relatedSpdxElement": to,
    })
}

/// Returns a licence if it is an expression of SPDX's, with names of its list.
fn license(text: &str) -> &str {
    match spdx::Expression::parse(text) {
        Ok(_) => text,
        Err(_) => NO_ASSERTION,
    }
}

/// Returns who keeps a package: who has an address in angle brackets is a person, or called one. Packages of rpm come
/// from vendors, who have no address, or that of their pages.
fn supplier(kind: PackageKind, text: &str) -> Option<String> {
    let text = text.trim();
    let (name, address) = match text.split_once('<') {
        Some((name, address)) => (name.trim(), address.split('>').next().unwrap_or_default()),
        None => (text, ""),
    };
    let name = name
        .split(" (")
        .next()
        .unwrap_or_default()
        .trim_matches('"');
    match (name, address) {
        ("", _) => None,
        (name, address) if kind == PackageKind::Rpm && !address.contains('@') => {
            Some(format!("Organization: {name}"))
        }
        (name, "") => Some(format!("Person: {name}")),
        (name, address) => Some(format!("Person: {name} ({address})")),
    }
}

fn homepage(text: &str) -> Option<&str> {
    let is_address = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    (is_address && !text.contains(char::is_whitespace)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_expressions_or_comments() {
        for (text, expected) in [
            ("MIT", "MIT"),
            ("GPL-2.0-only AND MIT", "GPL-2.0-only AND MIT"),
            ("BSD style", NO_ASSERTION),
            ("", NO_ASSERTION),
        ] {
            assert_eq!(license(text), expected, "{text}");
        }
    }

    #[test]
    fn suppliers_are_written_as_the_specification_wants() {
        use PackageKind::{Dpkg, Rpm};
        for (kind, text, expected) in [
            (Dpkg, "A <a@example.org>", Some("Person: A (a@example.org)")),
            (Dpkg, "A B", Some("Person: A B")),
            (Dpkg, "<a@example.org>", None),
            (Dpkg, "", None),
            (Rpm, "Red Hat, Inc.", Some("Organization: Red Hat, Inc.")),
            (
                Rpm,
                "A LLC <https://a.example/>",
                Some("Organization: A LLC"),
            ),
            (Rpm, "A <a@example.org>", Some("Person: A (a@example.org)")),
            (Rpm, "", None),
        ] {
            assert_eq!(supplier(kind, text).as_deref(), expected, "{text}");
        }
    }
}

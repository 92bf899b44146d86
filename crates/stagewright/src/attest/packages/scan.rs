//! From files to packages.

use std::collections::BTreeSet;

use super::os_release::OsRelease;
use super::rpm::Format;
use super::{apk, cargo, dpkg, npm, os_release, python, rpms};
use crate::attest::files::{Found, PackageFiles};
use crate::attest::purl;
use crate::error::Error;

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::attest) struct Package {
    /// What installs it.
    pub(in crate::attest) kind: PackageKind,
    pub(in crate::attest) name: String,
    /// With the release, where a package manager keeps them apart.
    pub(in crate::attest) version: String,
    /// What counts before the version, where it is not written as a part of it.
    pub(in crate::attest) epoch: String,
    /// The processor that it is for, where it says so.
    pub(in crate::attest) architecture: String,
    /// The source that it was built of, where it has another name.
    pub(in crate::attest) source: String,
    /// Who keeps it.
    pub(in crate::attest) supplier: String,
    /// Its licence, as it is written there.
    pub(in crate::attest) license: String,
    pub(in crate::attest) homepage: String,
    /// The file that says that it is there.
    pub(in crate::attest) found_in: String,
    /// Its package URL.
    pub(in crate::attest) purl: Option<String>,
}

/// What installs a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::attest) enum PackageKind {
    #[default]
    Apk,
    Cargo,
    Dpkg,
    Npm,
    Python,
    Rpm,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::attest) struct Scan {
    /// What distribution it is.
    pub(in crate::attest) os: Option<OsRelease>,
    /// Sorted, each once.
    pub(in crate::attest) packages: Vec<Package>,
    /// What is there and was not understood, for people.
    pub(in crate::attest) gaps: Vec<String>,
}

/// Looks for packages.
pub(in crate::attest) fn scan(files: &dyn PackageFiles) -> Result<Scan, Error> {
    let listed = files.list()?;
    let mut scan = Scan {
        os: os_release::read(files, &listed)?,
        ..Scan::default()
    };
    let mut packages = BTreeSet::new();
    for file in &listed {
        let path = file.path.as_str();
        let found = match parser_of(file) {
            Some(Parser::Text(parse)) => match files.text(path)? {
                Some(text) => parse(&text, path),
                None => {
                    scan.gaps.push(format!("{path} is too large to be read"));
                    Vec::new()
                }
            },
            Some(Parser::RpmDatabase(format)) => {
                let (packages, gap) = rpms::parse(files, &listed, file, format)?;
                scan.gaps.extend(gap);
                packages
            }
            Some(Parser::Executable) => cargo::of_executable(files.open(path)?, path),
            None => Vec::new(),
        };
        packages.extend(found);
    }
    scan.packages = packages.into_iter().collect();
    for package in &mut scan.packages {
        package.purl = package_url(package, scan.os.as_ref());
    }
    Ok(scan)
}

enum Parser {
    /// The file is a text that lists packages.
    Text(fn(&str, &str) -> Vec<Package>),
    /// The file is a database that lists packages.
    RpmDatabase(Format),
    /// It may be a program that says what is in it.
    Executable,
}

/// Returns what reads a file, if it may tell of packages.
fn parser_of(file: &Found) -> Option<Parser> {
    let path = file.path.as_str();
    let name = path.rsplit('/').next().unwrap_or_default();
    if let Some(format) = rpms::format_of(path) {
        return Some(Parser::RpmDatabase(format));
    }
    let text: fn(&str, &str) -> Vec<Package> = match name {
        "status" if path == "var/lib/dpkg/status" => dpkg::parse,
        // Images without a package manager keep a file a package.
        _ if path.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums") => {
            dpkg::parse_present
        }
        "installed" if matches!(path, "lib/apk/db/installed" | "usr/lib/apk/db/installed") => {
            apk::parse
        }
        "package.json" if npm::is_installed(path) => npm::parse,
        "METADATA" if path.ends_with(".dist-info/METADATA") => python::parse,
        "PKG-INFO" if path.ends_with(".egg-info/PKG-INFO") => python::parse,
        _ if name.ends_with(".egg-info") => python::parse,
        "Cargo.lock" => cargo::parse_lock,
        _ if file.executable && file.bytes > 0 => return Some(Parser::Executable),
        _ => return None,
    };
    Some(Parser::Text(text))
}

/// Names a package; those of a distribution with the distribution.
fn package_url(package: &Package, os: Option<&OsRelease>) -> Option<String> {
    let distribution = os.map(OsRelease::distribution).unwrap_or_default();
    let vendor = |default: &'static str| os.map_or(default, |os| os.id.as_str());
    let (kind, namespace, name): (&str, &str, &str) = match package.kind {
        PackageKind::Apk => ("apk", vendor("alpine"), &package.name),
        PackageKind::Dpkg => ("deb", vendor("debian"), &package.name),
        PackageKind::Cargo => ("cargo", "", &package.name),
        PackageKind::Npm => match package.name.split_once('/') {
            Some((scope, name)) => ("npm", scope, name),
            None => ("npm", "", &package.name),
        },
        PackageKind::Python => ("pypi", "", &package.name),
        PackageKind::Rpm => ("rpm", rpm_vendor(vendor("")), &package.name),
    };
    let of_distribution = matches!(
        package.kind,
        PackageKind::Apk | PackageKind::Dpkg | PackageKind::Rpm
    );
    let parts = purl::Parts {
        kind,
        namespace,
        name,
        version: &package.version,
        qualifiers: &[
            ("arch", &package.architecture),
            ("epoch", &package.epoch),
            ("distro", if of_distribution { &distribution } else { "" }),
            ("upstream", &package.source),
        ],
    };
    parts.purl()
}

/// Names who makes a distribution of packages of rpm, where that is not what it calls itself: as scanners do that look
/// for what is known of such packages.
fn rpm_vendor(distribution: &str) -> &str {
    match distribution {
        "rhel" => "redhat",
        leap if leap.starts_with("opensuse") => "opensuse",
        other => other,
    }
}

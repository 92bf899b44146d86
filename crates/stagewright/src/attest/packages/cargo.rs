//! Crates: those that `Cargo.lock` names, and those that programs built by `cargo auditable` say that
//! they are made of.

use std::io::BufRead;

use auditable_info::{Limits, json_from_reader};
use serde::Deserialize;

use super::scan::{Package, PackageKind};

/// A larger program is not looked into.
const LIMITS: Limits = Limits {
    input_file_size: 512 << 20,
    decompressed_json_size: 8 << 20,
};
/// How programs begin.
const ELF: &[u8] = b"\x7fELF";

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// What `cargo auditable` writes.
#[derive(Deserialize)]
struct Audited {
    packages: Vec<AuditedCrate>,
}

#[derive(Deserialize)]
struct AuditedCrate {
    name: String,
    version: String,
    /// `build`, or `runtime` where it is absent.
    kind: Option<String>,
}

/// Reads a `Cargo.lock`. One that makes no sense names nothing.
pub(super) fn parse_lock(text: &str, path: &str) -> Vec<Package> {
    let lock: Option<Lock> = toml::from_str(text).ok();
    let crates = lock.map(|lock| lock.package).unwrap_or_default();
    crates
        .into_iter()
        .map(|locked| package(locked.name, locked.version, path))
        .collect()
}

/// Reads what a program says that it is made of. Most say nothing.
pub(super) fn of_executable(mut reader: impl BufRead, path: &str) -> Vec<Package> {
    if !reader.fill_buf().is_ok_and(|start| start.starts_with(ELF)) {
        return Vec::new();
    }
    let json = json_from_reader(&mut reader, LIMITS).ok();
    let audited: Option<Audited> = json.and_then(|json| serde_json::from_str(&json).ok());
    let crates = audited.map(|audited| audited.packages).unwrap_or_default();
    crates
        .into_iter()
        // What was needed to build it is not in it.
        .filter(|found| found.kind.as_deref() != Some("build"))
        .map(|found| package(found.name, found.version, path))
        .collect()
}

fn package(name: String, version: String, path: &str) -> Package {
    Package {
        kind: PackageKind::Cargo,
        name,
        version,
        found_in: path.to_owned(),
        ..Package::default()
    }
}

//! Packages of rpm: what its databases list, as packages among others.

use super::rpm::{Format, Header, read};
use super::scan::{Package, PackageKind};
use crate::attest::files::{Found, PackageFiles};
use crate::error::Error;

/// Where rpm keeps its database: of old; so that it is part of what is read-only; where images are whole systems.
const FOLDERS: [&str; 3] = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];
/// What is behind the name of a database of SQLite while it is written.
const LOG_ENDING: &str = "-wal";

/// Returns the format of a file, if it is a database of rpm.
pub(super) fn format_of(path: &str) -> Option<Format> {
    let name = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder));
    name.and_then(Format::of_name)
}

/// Reads the packages of a database, and says what of it is not understood.
pub(super) fn parse(
    files: &dyn PackageFiles,
    listed: &[Found],
    file: &Found,
    format: Format,
) -> Result<(Vec<Package>, Option<String>), Error> {
    let too_large = |path: &str| {
        let gap = format!("{path} is too large to be read: packages of rpm are not listed");
        Ok((Vec::new(), Some(gap)))
    };
    let path = file.path.as_str();
    let Some(database) = files.random_access(file)? else {
        return too_large(path);
    };
    let log_path = format!("{path}{LOG_ENDING}");
    let log = listed.iter().find(|file| file.path == log_path);
    let log = match log {
        Some(log) => match files.random_access(log)? {
            Some(log) => Some(log),
            None => return too_large(&log_path),
        },
        None => None,
    };
    let contents = read(format, database, log);
    let packages = contents.packages.into_iter();
    let packages = packages.map(|header| package(header, path)).collect();
    let gap = contents.damage.map(|damage| {
        let more = match contents.damaged {
            1 => String::new(),
            damaged => format!(", and {} more of it", damaged - 1),
        };
        format!("{path}: packages of rpm may be missing: {damage}{more}")
    });
    Ok((packages, gap))
}

fn package(header: Header, path: &str) -> Package {
    let version = match header.release.as_str() {
        "" => header.version,
        release => format!("{}-{release}", header.version),
    };
    Package {
        kind: PackageKind::Rpm,
        name: header.name,
        version,
        epoch: header
            .epoch
            .map(|epoch| epoch.to_string())
            .unwrap_or_default(),
        architecture: header.architecture,
        source: header.source,
        supplier: match header.vendor.is_empty() {
            true => header.packager,
            false => header.vendor,
        },
        license: header.license,
        homepage: header.url,
        found_in: path.to_owned(),
        purl: None,
    }
}

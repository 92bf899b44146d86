//! What distribution a tree of files is of (os-release(5)).

use crate::attest::files::{Found, PackageFiles};
use crate::error::Error;

/// A distribution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::attest) struct OsRelease {
    /// `debian`, `alpine`.
    pub(in crate::attest) id: String,
    /// `12`, `3.20.1`; empty for rolling ones.
    pub(in crate::attest) version: String,
    /// As people read it.
    pub(in crate::attest) pretty: String,
}

impl OsRelease {
    /// Returns name and version as package URLs have them: `debian-12`.
    pub(super) fn distribution(&self) -> String {
        match self.version.as_str() {
            "" => self.id.clone(),
            version => format!("{}-{version}", self.id),
        }
    }
}

/// Reads the file, wherever it is.
pub(super) fn read(files: &dyn PackageFiles, listed: &[Found]) -> Result<Option<OsRelease>, Error> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        if listed.iter().any(|file| file.path == path)
            && let Some(text) = files.text(path)?
        {
            return Ok(parse(&text));
        }
    }
    Ok(None)
}

pub(super) fn parse(text: &str) -> Option<OsRelease> {
    let value = |name: &str| {
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        let quotes: &[char] = &['"', '\''];
        found.unwrap_or_default().trim_matches(quotes).to_owned()
    };
    let os = OsRelease {
        id: value("ID"),
        version: value("VERSION_ID"),
        pretty: value("PRETTY_NAME"),
    };
    (!os.id.is_empty()).then_some(os)
}

//! A database as a whole: which format it has, and the packages that it lists.

use std::io::{Read, Seek};

use super::error::DatabaseError;
use super::header::Header;
use super::source::Source;
use super::{bdb, ndb, sqlite};

/// No distribution has as many packages, and no image as many words about them.
const PACKAGES_MAX: usize = 100_000;
const TEXT_BYTES_MAX: usize = 32 << 20;
/// Keys with which packages are signed are kept as packages that have no files.
const KEY: &str = "gpg-pubkey";

/// What rpm keeps its packages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Format {
    /// `rpmdb.sqlite`: Fedora, RHEL from 9 on, Amazon Linux 2023.
    Sqlite,
    /// `Packages.db`: openSUSE and SUSE Linux Enterprise.
    Ndb,
    /// `Packages`: RHEL up to 8, Amazon Linux 2.
    BerkeleyDb,
}

impl Format {
    /// Returns the format of a file of rpm's folder.
    pub(in super::super) fn of_name(name: &str) -> Option<Self> {
        match name {
            "rpmdb.sqlite" => Some(Self::Sqlite),
            "Packages.db" => Some(Self::Ndb),
            "Packages" => Some(Self::BerkeleyDb),
            _ => None,
        }
    }
}

/// What was found in a database.
#[derive(Debug, Default)]
pub(in super::super) struct Contents {
    /// In the order of the file; not the keys of signatures.
    pub(in super::super) packages: Vec<Header>,
    /// How many of its parts say nothing, and why the first of them does.
    pub(in super::super) damaged: usize,
    pub(in super::super) damage: Option<DatabaseError>,
    text_bytes: usize,
}

impl Contents {
    fn add(&mut self, blob: Result<Vec<u8>, DatabaseError>) {
        match blob.and_then(|blob| Header::parse(&blob)) {
            Ok(header) if header.name == KEY => {}
            Ok(header) => {
                self.text_bytes += header.text_bytes();
                if self.packages.len() >= PACKAGES_MAX {
                    self.note(DatabaseError::TooMuch {
                        most: "100,000 names",
                    });
                } else if self.text_bytes > TEXT_BYTES_MAX {
                    self.note(DatabaseError::TooMuch { most: "32 MiB" });
                } else {
                    self.packages.push(header);
                }
            }
            Err(error) => self.note(error),
        }
    }

    fn note(&mut self, error: DatabaseError) {
        self.damaged += 1;
        self.damage.get_or_insert(error);
    }
}

/// Reads a database; `log` is what lies beside one of SQLite as `rpmdb.sqlite-wal`. What is damaged is counted.
pub(in super::super) fn read<R: Read + Seek>(format: Format, file: R, log: Option<R>) -> Contents {
    let mut contents = Contents::default();
    let each = &mut |blob| contents.add(blob);
    let whole = Source::new(file).and_then(|file| match format {
        Format::Sqlite => sqlite::read(file, log, each),
        Format::Ndb => ndb::read(file, each),
        Format::BerkeleyDb => bdb::read(file, each),
    });
    if let Err(error) = whole {
        contents.note(error);
    }
    contents
}

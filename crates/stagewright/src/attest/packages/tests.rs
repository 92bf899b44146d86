//! What package managers write, and what is read of it.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::scan::{Package, scan};
use crate::attest::files::{Found, PackageFiles};
use crate::error::{Error, ErrorKind};

/// Files in memory.
struct Files(BTreeMap<&'static str, &'static [u8]>);

impl PackageFiles for Files {
    fn list(&self) -> Result<Vec<Found>, Error> {
        let files = self.0.iter();
        Ok(files
            .map(|(path, text)| Found {
                path: (*path).to_owned(),
                executable: false,
                bytes: text.len() as u64,
            })
            .collect())
    }

    fn open(&self, path: &str) -> Result<Box<dyn BufRead + '_>, Error> {
        Ok(Box::new(self.0[path]))
    }
}

/// Checks the package URLs of what is found in files.
fn check(files: &[(&'static str, &'static str)], expected: &[&str]) -> Vec<Package> {
    let files = files.iter().map(|(path, text)| (*path, text.as_bytes()));
    let found = scan(&Files(files.collect())).unwrap();
    let purls: Vec<&str> = found
        .packages
        .iter()
        .map(|package| package.purl.as_deref().unwrap())
        .collect();
    assert_eq!(purls, expected);
    found.packages
}

const DEBIAN: (&str, &str) = (
    "etc/os-release",
    "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n",
);

#[test]
fn packages_of_dpkg_are_those_that_are_installed() {
    let status = "\
Package: libc6
Status: install ok installed
Maintainer: GNU Libc <glibc@example.org>
Architecture: amd64
Source: glibc (2.41-1)
Version: 2.41-1+b1
Description: C library
 with lines
 .
 that go on

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: base-files
Status: install ok installed
Architecture: all
Version: 1:13.8
Homepage: https://example.org/
";
    let packages = check(
        &[DEBIAN, ("var/lib/dpkg/status", status)],
        &[
            "pkg:deb/debian/base-files@1:13.8?arch=all&distro=debian-13",
            "pkg:deb/debian/libc6@2.41-1%2Bb1?arch=amd64&distro=debian-13&upstream=glibc%402.41-1",
        ],
    );
    assert_eq!(packages[0].homepage, "https://example.org/");
    assert_eq!(packages[1].supplier, "GNU Libc <glibc@example.org>");
    // Without dpkg there is no status, and a file a package.
    check(
        &[
            DEBIAN,
            (
                "var/lib/dpkg/status.d/tzdata",
                "Package: tzdata\nVersion: 2025b\n",
            ),
            ("var/lib/dpkg/status.d/tzdata.md5sums", "Package: x\n"),
        ],
        &["pkg:deb/debian/tzdata@2025b?distro=debian-13"],
    );
}

#[test]
fn packages_of_apk_have_one_letter_a_field() {
    let installed = "\
C:Q1abc=
P:busybox
V:1.36.1-r29
A:x86_64
L:GPL-2.0-only
o:busybox
m:Someone <a@example.org>
F:bin
R:busybox
a:0:0:755

P:ssl_client
V:1.36.1-r29
A:x86_64
o:busybox
";
    let os = ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.1\n");
    let packages = check(
        &[os, ("lib/apk/db/installed", installed)],
        &[
            "pkg:apk/alpine/busybox@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1",
            "pkg:apk/alpine/ssl_client@1.36.1-r29?arch=x86_64&distro=alpine-3.20.1&upstream=busybox",
        ],
    );
    assert_eq!(packages[0].license, "GPL-2.0-only");
}

#[test]
fn packages_of_languages_are_found_where_they_are_installed() {
    let package = "{\"name\":\"@a/b\",\"version\":\"1.0.0\",\"license\":{\"type\":\"MIT\"}}";
    check(
        &[
            ("app/node_modules/@a/b/package.json", package),
            (
                "app/node_modules/c/package.json",
                "{\"name\":\"c\",\"version\":\"2.0.0-rc.1\"}",
            ),
            // None of these is an installed package.
            (
                "app/node_modules/c/test/package.json",
                "{\"name\":\"d\",\"version\":\"1.0.0\"}",
            ),
            ("app/node_modules/e/package.json", "{\"type\":\"module\"}"),
            ("app/node_modules/f/package.json", "{"),
            (
                "app/package.json",
                "{\"name\":\"app\",\"version\":\"1.0.0\"}",
            ),
        ],
        &["pkg:npm/%40a/b@1.0.0", "pkg:npm/c@2.0.0-rc.1"],
    );
    let metadata = "Metadata-Version: 2.4\nName: Flask_Thing\nVersion: 3.0\nLicense-Expression: MIT\n\nName: no\n";
    check(
        &[
            (
                "usr/lib/python3/dist-packages/flask-3.0.dist-info/METADATA",
                metadata,
            ),
            (
                "usr/lib/python3/dist-packages/six.egg-info",
                "Name: six\nVersion: 1.16.0\n",
            ),
            ("usr/lib/python3/dist-packages/x/METADATA", metadata),
        ],
        &["pkg:pypi/flask-thing@3.0", "pkg:pypi/six@1.16.0"],
    );
    let lock = "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n";
    check(
        &[("src/Cargo.lock", lock), ("x/Cargo.lock", "no [ toml")],
        &["pkg:cargo/serde@1.0.1"],
    );
}

const SQLITE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/rpm/rpmdb.sqlite"
));
const SQLITE_LOG: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/rpm/changes-of-rpmdb"
));

#[test]
fn packages_of_rpm_are_named_with_their_vendor_epoch_and_source() {
    for (release, vendor, distribution) in [
        ("ID=\"fedora\"\nVERSION_ID=41\n", "fedora", "fedora-41"),
        ("ID=\"rhel\"\nVERSION_ID=\"9.4\"\n", "redhat", "rhel-9.4"),
        (
            "ID=\"opensuse-tumbleweed\"\nVERSION_ID=\"20250101\"\n",
            "opensuse",
            "opensuse-tumbleweed-20250101",
        ),
    ] {
        let files = Files(BTreeMap::from([
            ("usr/lib/os-release", release.as_bytes()),
            ("usr/lib/sysimage/rpm/rpmdb.sqlite", SQLITE),
            // Nothing in it, as rpm leaves it.
            ("usr/lib/sysimage/rpm/rpmdb.sqlite-wal", b""),
            ("srv/rpm/rpmdb.sqlite", b"not where rpm looks"),
        ]));
        let found = scan(&files).unwrap();
        assert_eq!(found.gaps, [""; 0]);
        let purls: Vec<&str> = found.packages[..3]
            .iter()
            .map(|package| package.purl.as_deref().unwrap())
            .collect();
        assert_eq!(
            purls,
            [
                format!(
                    "pkg:rpm/{vendor}/c%2B%2B-tool@1.2~rc1-3.el9_2.1?arch=x86_64&distro={distribution}&epoch=2&upstream=c%2B%2B-tool-1.2~rc1-3.el9_2.1.src.rpm"
                ),
                format!(
                    "pkg:rpm/{vendor}/hello@1.0-1.fc41?arch=noarch&distro={distribution}&upstream=hello-1.0-1.fc41.src.rpm"
                ),
                format!(
                    "pkg:rpm/{vendor}/nobody@0-0?arch=x86_64&distro={distribution}&epoch=0&upstream=nobody-0-0.src.rpm"
                ),
            ]
        );
        let suppliers = found.packages[..3].iter();
        let suppliers: Vec<&str> = suppliers.map(|package| &*package.supplier).collect();
        assert_eq!(
            suppliers,
            ["Red Hat, Inc.", "Fedora Project", "Someone <a@example.org>"]
        );
    }
}

#[test]
fn a_log_beside_a_database_of_rpm_counts() {
    let files = Files(BTreeMap::from([
        ("var/lib/rpm/rpmdb.sqlite", SQLITE),
        ("var/lib/rpm/rpmdb.sqlite-wal", SQLITE_LOG),
    ]));
    let found = scan(&files).unwrap();
    assert_eq!(found.gaps, [""; 0]);
    let has = |name: &str| found.packages.iter().any(|package| package.name == name);
    assert!(has("c++-tool") && !has("hello") && !has("wide"));
}

#[test]
fn what_is_not_read_is_said() {
    for (path, content, gap) in [
        (
            "var/lib/rpm/rpmdb.sqlite",
            &b""[..],
            "var/lib/rpm/rpmdb.sqlite: packages of rpm may be missing: it is no database of SQLite",
        ),
        (
            "usr/lib/sysimage/rpm/Packages.db",
            b"RpmP",
            "usr/lib/sysimage/rpm/Packages.db: packages of rpm may be missing: it is no database of rpm's own format",
        ),
        (
            "var/lib/rpm/Packages",
            SQLITE,
            "var/lib/rpm/Packages: packages of rpm may be missing: it is no database of Berkeley DB",
        ),
    ] {
        let files = Files(BTreeMap::from([
            (path, content),
            (
                "app/node_modules/c/package.json",
                b"{\"name\":\"c\",\"version\":\"1.0.0\"}",
            ),
        ]));
        let found = scan(&files).unwrap();
        assert_eq!(found.gaps, [gap]);
        // The rest is listed.
        assert_eq!(found.packages.len(), 1);
    }
}

/// A database that is as large as it is said to be, and cannot be opened.
struct Large(u64);

impl PackageFiles for Large {
    fn list(&self) -> Result<Vec<Found>, Error> {
        Ok(vec![Found {
            path: "usr/share/rpm/rpmdb.sqlite".to_owned(),
            executable: false,
            bytes: self.0,
        }])
    }

    fn open(&self, path: &str) -> Result<Box<dyn BufRead + '_>, Error> {
        Err(Error::new(ErrorKind::Store, format!("{path} is opened")))
    }
}

#[test]
fn a_database_that_is_too_large_is_not_opened() {
    let found = scan(&Large((512 << 20) + 1)).unwrap();
    assert_eq!(
        found.gaps,
        ["usr/share/rpm/rpmdb.sqlite is too large to be read: packages of rpm are not listed"]
    );
    let error = scan(&Large(512 << 20)).unwrap_err();
    assert!(error.to_string().contains("is opened"), "{error}");
}

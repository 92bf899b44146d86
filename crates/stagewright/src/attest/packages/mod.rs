//! Finding the packages that are installed in a tree of files.

mod apk;
mod cargo;
mod dpkg;
mod fields;
mod npm;
mod os_release;
mod python;
mod rpm;
mod rpms;
mod scan;

#[cfg(test)]
mod tests;

pub(super) use scan::{Package, PackageKind, Scan, scan};

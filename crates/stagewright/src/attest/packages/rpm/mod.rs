//! Databases of rpm, in each of the three formats that rpm has had: what is written of the packages in them.
//!
//! They come with images of others. Nothing in them is believed: what does not fit is an error about one package or
//! one page, and the rest is read. Each page and each byte counts once, so that a small file cannot ask for much work.
//! This module knows nothing of the rest of the crate, so that the fuzz targets can take it as it is.

mod bdb;
mod database;
mod error;
mod header;
mod ndb;
mod numbers;
mod source;
mod sqlite;
mod wal;

#[cfg(test)]
mod tests;

pub(super) use database::{Format, read};
pub(super) use header::Header;

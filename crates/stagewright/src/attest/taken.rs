//! Attestations that came with an image from elsewhere.

use std::io::{BufReader, Read};

use serde_json::Value;
use stagewright_digest::Digest;
use stagewright_store::Store;

use super::attestation::Attestation;
use super::manifest::PREDICATE_TYPE_KEY;
use super::{provenance, spdx};
use crate::error::{Error, ErrorKind};

/// A longer statement is not read.
pub(crate) const STATEMENT_BYTES_MAX: u64 = 80 << 20;

/// Attestations on their way into the store.
pub(crate) struct Taken<'s> {
    store: &'s Store,
    attestations: Vec<Attestation>,
}

impl<'s> Taken<'s> {
    /// Begins with none.
    pub(crate) fn new(store: &'s Store) -> Self {
        Self {
            store,
            attestations: Vec::new(),
        }
    }

    /// Takes in a statement: its predicate is kept, what it is about is said anew when the image leaves.
    ///
    /// # Errors
    /// [`ErrorKind::Image`] when it is no statement.
    pub(crate) fn add(&mut self, digest: &Digest, statement: impl Read) -> Result<(), Error> {
        let fail = |reason: String| {
            let message = format!("the attestation {digest} cannot be taken in: {reason}");
            Error::new(ErrorKind::Image, message)
        };
        let limited = BufReader::new(statement).take(STATEMENT_BYTES_MAX);
        let mut statement: Value = serde_json::from_reader(limited)
            .map_err(|error| fail(format!("it is no statement of in-toto: {error}")))?;
        let Some(predicate_type) = statement["predicateType"].as_str().map(str::to_owned) else {
            return Err(fail("its statement has no predicateType".to_owned()));
        };
        let Some(predicate) = statement.get_mut("predicate").map(Value::take) else {
            return Err(fail(format!(
                "its statement of {PREDICATE_TYPE_KEY} {predicate_type:?} has no predicate"
            )));
        };
        let blob = self.store.put_blob(predicate.to_string().as_bytes())?;
        self.attestations.push(Attestation {
            filename: self.filename(&predicate_type),
            predicate_type,
            blob,
            inline_only: false,
        });
        Ok(())
    }

    /// Returns all, in their order.
    pub(crate) fn into_attestations(self) -> Vec<Attestation> {
        self.attestations
    }

    /// Names the file of a predicate in outputs of files; no two have one name.
    fn filename(&self, predicate_type: &str) -> String {
        let (stem, extension) = match predicate_type {
            spdx::PREDICATE_TYPE => ("sbom", "spdx.json"),
            provenance::PREDICATE_TYPE => ("provenance", "json"),
            _ => ("attestation", "json"),
        };
        let mut attestations = self.attestations.iter();
        let same = attestations.by_ref().filter(|one| {
            let name = one.filename.split(['.', '-']).next();
            name == Some(stem)
        });
        match same.count() {
            0 => format!("{stem}.{extension}"),
            count => format!("{stem}-{count}.{extension}"),
        }
    }
}

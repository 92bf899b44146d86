//! In-toto statements: a predicate and what it is about
//! (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>).

use serde_json::{Value, json};
use stagewright_digest::Digest;
use stagewright_oci::{Platform, Reference};

use super::purl;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What an image without a name is called.
const IMAGE_SUBJECT: &str = "_";

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) digest: Digest,
}

/// Returns what statements about the image of a platform are about: its manifest, once for each of the image's names.
pub(crate) fn image_subjects(
    names: &[Reference],
    platform: &Platform,
    manifest: Digest,
) -> Vec<Subject> {
    let subject = |name| Subject {
        name,
        digest: manifest,
    };
    if names.is_empty() {
        return vec![subject(IMAGE_SUBJECT.to_owned())];
    }
    names
        .iter()
        .map(|name| subject(purl::image(&name.familiar(), platform)))
        .collect()
}

/// Makes the statement of a predicate.
pub(crate) fn statement(predicate_type: &str, predicate: Value, subjects: &[Subject]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            json!({
                "name": subject.name,
                "digest": { Digest::ALGORITHM: subject.digest.to_hex() },
            })
        })
        .collect();
    json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

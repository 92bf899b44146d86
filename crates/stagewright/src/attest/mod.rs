//! Attestations: how an image was made (SLSA provenance) and what it holds (an SBOM in SPDX), attached
//! as BuildKit attaches them.
//!
//! A build makes predicates, which are kept with the image. What they are about, the manifest, is
//! known when the image leaves the store: then each becomes an in-toto statement, and those of a
//! platform a manifest beside the platform's in an index. Those of an image from elsewhere are taken apart
//! into predicates when it comes in, and are about its manifest here when it leaves again.

mod attestation;
mod files;
mod make;
mod manifest;
mod options;
mod packages;
mod provenance;
mod purl;
mod spdx;
mod statement;
mod taken;

pub(crate) use attestation::Attestation;
pub(crate) use make::{Attested, Facts, make, stages_needed};
pub(crate) use manifest::{IN_TOTO, PREDICATE_TYPE_KEY, attestation_platform, is_about, predicate};
pub use options::{AttestArgument, ProvenanceMode, ProvenanceOptions};
pub(crate) use statement::{Subject, statement};
pub(crate) use taken::{STATEMENT_BYTES_MAX, Taken};

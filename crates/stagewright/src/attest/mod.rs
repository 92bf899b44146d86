//! Attestations: how an image was made (SLSA provenance) and what it holds (an SBOM in SPDX), attached
//! as BuildKit attaches them.
//!
//! A build makes predicates, which are kept with the image. What they are about, the manifest, is
//! known when the image leaves the store: then each becomes an in-toto statement, and those of a
//! platform a manifest beside the platform's in an index.

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

pub(crate) use attestation::Attestation;
pub(crate) use make::{Attested, Facts, make, stages_needed};
pub(crate) use manifest::{attestation_platform, predicate};
pub use options::{AttestArgument, ProvenanceMode, ProvenanceOptions};
pub(crate) use statement::{Subject, statement};

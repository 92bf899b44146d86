//! `stagewright inspect`.

use serde_json::Value;
use stagewright::{Builder, Error, ErrorKind, InspectedImage, json};

use crate::arguments::InspectArguments;
use crate::failure::Failure;

/// What kinds of predicates SBOMs and provenance are.
const SPDX: &str = "https://spdx.dev/Document";
const SLSA: &str = "https://slsa.dev/provenance/";

/// Prints what is known of an image as JSON, or what is attested of it.
pub(crate) fn run(builder: &Builder, arguments: &InspectArguments) -> Result<(), Failure> {
    let wanted = match (arguments.sbom, arguments.provenance) {
        (true, _) => Some(("SBOM", SPDX)),
        (_, true) => Some(("provenance", SLSA)),
        _ => None,
    };
    let options = arguments.transfer.options();
    let inspected = builder.inspect_image(&arguments.image, &options, wanted.is_some())?;
    let Some((what, kind)) = wanted else {
        println!("{:#}", json::inspected(&inspected));
        return Ok(());
    };
    let mut predicates = predicates(&inspected, kind);
    match predicates.len() {
        0 => {
            let message = format!("{} has no {what}", arguments.image);
            Err(Error::new(ErrorKind::NotFound, message).into())
        }
        // One is told as it is; several are a list.
        1 => {
            println!("{:#}", predicates.remove(0));
            Ok(())
        }
        _ => {
            println!("{:#}", Value::from(predicates));
            Ok(())
        }
    }
}

/// Returns the predicates of a kind, of the host's platform.
fn predicates(inspected: &InspectedImage, kind: &str) -> Vec<Value> {
    let chosen = inspected.chosen().into_iter();
    chosen
        .flat_map(|platform| &platform.attestations)
        .filter(|attestation| attestation.predicate_type.starts_with(kind))
        .filter_map(|attestation| attestation.predicate.clone())
        .collect()
}

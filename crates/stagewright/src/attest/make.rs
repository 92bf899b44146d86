//! From a build to what it attests.

use std::collections::{BTreeMap, BTreeSet};

use stagewright_digest::{Digest, LayerId};
use stagewright_plan::{Plan, SourceOp, StageInfo};
use stagewright_snapshot::Snapshots;
use stagewright_solver::{ContextFiles, RemoteMaterial, Snapshot};

use super::attestation::Attestation;
use super::files::PackageFiles;
use super::packages::scan;
use super::{provenance, spdx};
use crate::error::{Error, ErrorKind};
use crate::failure;
use crate::input::Source;
use crate::request::BuildRequest;

/// The arguments that say what is looked at beside the image.
const SCAN_CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";
const SCAN_STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";
const PROVENANCE_FILE: &str = "provenance.json";

/// What is known of a build that has ended.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a BuildRequest,
    /// The build arguments, and the time that is given otherwise.
    pub(crate) build_args: BTreeMap<String, String>,
    /// The names of the secrets that steps could mount.
    pub(crate) secrets: Vec<&'a str>,
    pub(crate) source: &'a Source,
    pub(crate) plan: &'a Plan,
    /// The plan's source that is the build context, if it lies on the network.
    pub(crate) remote_context: Option<SourceOp>,
    /// What came from the network, images apart.
    pub(crate) materials: &'a [RemoteMaterial],
    /// The build context, if it is of this machine.
    pub(crate) context: Option<&'a ContextFiles>,
    /// The image's layers.
    pub(crate) layers: &'a [LayerId],
    /// What the plan's stages made.
    pub(crate) stages: &'a [Snapshot],
    pub(crate) snapshots: &'a Snapshots,
    /// When the build began and ended, as RFC 3339 has it.
    pub(crate) started: String,
    pub(crate) finished: String,
    /// Names this run of the build.
    pub(crate) invocation: String,
}

/// What was made, and what has to be told of it.
#[derive(Debug, Default)]
pub(crate) struct Attested {
    pub(crate) attestations: Vec<Attestation>,
    pub(crate) warnings: Vec<String>,
}

/// Makes what was asked for, and stores it. SBOMs come first, as BuildKit has them. Reads files of all
/// layers: they have to be stored.
pub(crate) fn make(facts: &Facts<'_>) -> Result<Attested, Error> {
    let mut made = Attested::default();
    if facts.request.sbom {
        let tree = |layers: &[LayerId]| {
            let tree = facts.snapshots.tree(layers);
            tree.map_err(|error| Error::new(ErrorKind::Store, failure::chain(&error)))
        };
        add_sbom(facts, "sbom", &tree(facts.layers)?, &mut made)?;
        let target = facts.plan.image.as_ref().map(|image| image.root);
        for (stage, snapshot) in facts.plan.stages.iter().zip(facts.stages) {
            // The image itself was looked at.
            if target != Some(stage.root) && is_asked_for(stage, SCAN_STAGE) {
                let name = format!("sbom-build-{}", shown(stage));
                add_sbom(facts, &name, &tree(&snapshot.layers)?, &mut made)?;
            }
        }
        let asked = |stage: &StageInfo| is_asked_for(stage, SCAN_CONTEXT);
        if facts.plan.stages.iter().any(asked) {
            match facts.context {
                Some(context) => add_sbom(facts, "sbom-context", context, &mut made)?,
                None => made.warnings.push(format!(
                    "{SCAN_CONTEXT}: the build context is not on this machine: it is not looked at"
                )),
            }
        }
    }
    if let Some(options) = &facts.request.provenance {
        let predicate = provenance::predicate(facts, options);
        made.attestations.push(Attestation {
            predicate_type: provenance::PREDICATE_TYPE.to_owned(),
            blob: store(facts, &predicate)?,
            filename: options
                .filename
                .clone()
                .unwrap_or_else(|| PROVENANCE_FILE.to_owned()),
            inline_only: options.inline_only,
        });
    }
    Ok(made)
}

/// Returns the stages whose layers have to be stored, by their places among the plan's.
pub(crate) fn stages_needed(plan: &Plan) -> BTreeSet<usize> {
    let stages = plan.stages.iter().enumerate();
    stages
        .filter(|(_, stage)| is_asked_for(stage, SCAN_STAGE))
        .map(|(place, _)| place)
        .collect()
}

fn add_sbom(
    facts: &Facts<'_>,
    name: &str,
    files: &dyn PackageFiles,
    made: &mut Attested,
) -> Result<(), Error> {
    let found = scan(files)?;
    for gap in &found.gaps {
        made.warnings.push(format!("{name}: {gap}"));
    }
    let content: Vec<String> = facts.layers.iter().map(ToString::to_string).collect();
    let subject = spdx::Subject {
        name,
        content: &content.join(" "),
        created: &facts.finished,
    };
    let document = spdx::document(&subject, &found);
    made.attestations.push(Attestation {
        predicate_type: spdx::PREDICATE_TYPE.to_owned(),
        blob: store(facts, &document)?,
        filename: format!("{name}.spdx.json"),
        inline_only: false,
    });
    Ok(())
}

fn store(facts: &Facts<'_>, predicate: &serde_json::Value) -> Result<Digest, Error> {
    let bytes = predicate.to_string().into_bytes();
    Ok(facts.snapshots.store().put_blob(&bytes)?)
}

/// Says whether a stage has an argument that is true, or that names it.
fn is_asked_for(stage: &StageInfo, switch: &str) -> bool {
    match stage.switches.get(switch).map(String::as_str) {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(names) => names
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case(&shown(stage))),
    }
}

fn shown(stage: &StageInfo) -> String {
    match &stage.name {
        Some(name) => name.clone(),
        None => format!("stage-{}", stage.index),
    }
}

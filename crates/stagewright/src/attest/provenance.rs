//! Provenance: how an image was made (<https://slsa.dev/spec/v1.1/provenance>).
//!
//! Names of fields that SLSA leaves to the builder are BuildKit's ("SLSA definitions"), so that who
//! reads its provenance can read this one; `buildType` says that it is not BuildKit's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use stagewright_digest::Digest;
use stagewright_oci::{Platform, Reference};
use stagewright_plan::{NetworkMode, Op, SourceOp, Squash};
use stagewright_solver::RemoteMaterial;

use super::make::Facts;
use super::options::{ProvenanceMode, ProvenanceOptions};
use super::purl;
use crate::request::{BuildRequest, ContextSource, DockerfileSource};

/// What kind of predicate it is.
pub(super) const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What the fields mean that SLSA leaves to the builder.
const BUILD_TYPE: &str = "urn:stagewright:build:dockerfile:v1";
const BUILDER_ID: &str = "urn:stagewright:builder";
/// As BuildKit calls the builder of Dockerfiles.
const FRONTEND: &str = "dockerfile.v0";

/// Writes the predicate.
pub(super) fn predicate(facts: &Facts<'_>, options: &ProvenanceOptions) -> Value {
    let max = options.mode == ProvenanceMode::Max;
    let dependencies = dependencies(facts);
    let mut internal = json!({ "builderPlatform": Platform::host().to_string() });
    if max {
        internal["buildConfig"] = json!({ "steps": steps(facts) });
    }
    let complete = dependencies.complete;
    let mut metadata = json!({
        "invocationId": facts.invocation,
        "startedOn": facts.started,
        "finishedOn": facts.finished,
        "buildkit_hermetic": complete && !reaches_network(facts),
        "buildkit_completeness": {
            // What steps saw of the host is not in it.
            "request": max && facts.request.volumes.is_empty(),
            "resolvedDependencies": complete,
        },
        "buildkit_reproducible": options.reproducible,
    });
    if max {
        metadata["buildkit_metadata"] = json!({ "source": source(facts) });
    }
    let id = options.builder_id.as_deref().unwrap_or(BUILDER_ID);
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": config_source(facts),
                "request": request(facts, max),
            },
            "internalParameters": internal,
            "resolvedDependencies": dependencies.list,
        },
        "runDetails": {
            "builder": {
                "id": id,
                "version": { "stagewright": env!("CARGO_PKG_VERSION") },
            },
            "metadata": metadata,
        },
    })
}

/// Says where the Dockerfile comes from. Paths of this machine are nobody's business.
fn config_source(facts: &Facts<'_>) -> Value {
    let mut object = Map::new();
    if let Some(material) = facts.materials.iter().find(|one| is_context(facts, one)) {
        object.insert("uri".to_owned(), material.address.as_str().into());
        object.insert("digest".to_owned(), digest(material));
    }
    let path = match &facts.request.dockerfile {
        DockerfileSource::Usual | DockerfileSource::InContext(_) => {
            Some(facts.source.name.as_str())
        }
        DockerfileSource::File(path) => path.file_name().and_then(|name| name.to_str()),
        DockerfileSource::Text(_) | DockerfileSource::Nothing => None,
    };
    if let Some(path) = path {
        object.insert("path".to_owned(), path.into());
    }
    Value::Object(object)
}

fn is_context(facts: &Facts<'_>, material: &RemoteMaterial) -> bool {
    facts.remote_context.as_ref() == Some(&material.source)
}

/// Says what was asked for. Build arguments and labels may say more than is meant for others, and
/// are told with `mode=max` alone; secrets by their names at most.
fn request(facts: &Facts<'_>, max: bool) -> Value {
    let request = facts.request;
    let mut args: BTreeMap<String, String> = BTreeMap::new();
    if let Some(target) = &request.target {
        args.insert("target".to_owned(), target.clone());
    }
    for (name, unset) in [
        ("unset-env", &request.unset_env),
        ("unset-label", &request.unset_labels),
    ] {
        if !unset.is_empty() {
            args.insert(name.to_owned(), unset.join(","));
        }
    }
    if !request.inherit_labels {
        args.insert("inherit-labels".to_owned(), "false".to_owned());
    }
    match request.squash {
        Squash::No => {}
        Squash::New => drop(args.insert("squash".to_owned(), "new".to_owned())),
        Squash::All => drop(args.insert("squash".to_owned(), "all".to_owned())),
    }
    if request.no_cache {
        args.insert("no-cache".to_owned(), String::new());
    } else if !request.no_cache_filter.is_empty() {
        args.insert("no-cache".to_owned(), request.no_cache_filter.join(","));
    }
    if max {
        let build_args = facts.build_args.iter();
        args.extend(build_args.map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
        let labels = request.labels.iter();
        args.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
    }
    let mut object = json!({ "frontend": FRONTEND, "args": args });
    if max {
        let ids = |ids: Vec<&str>| -> Vec<Value> {
            ids.into_iter().map(|id| json!({ "id": id })).collect()
        };
        let ssh = request.ssh.iter().map(|agent| agent.id.as_str());
        object["secrets"] = ids(facts.secrets.clone()).into();
        object["ssh"] = ids(ssh.collect()).into();
    }
    object["locals"] = locals(facts)
        .into_iter()
        .map(|name| json!({ "name": name }))
        .collect();
    object
}

/// Returns what was read of this machine.
fn locals(facts: &Facts<'_>) -> Vec<String> {
    let mut locals: Vec<String> = sources(facts)
        .filter_map(|source| match source {
            SourceOp::Context { name } => Some(name.clone()),
            _ => None,
        })
        .collect();
    if is_local(facts.request) {
        locals.push("dockerfile".to_owned());
    }
    locals.sort();
    locals.dedup();
    locals
}

fn is_local(request: &BuildRequest) -> bool {
    !matches!(
        (&request.dockerfile, &request.context),
        (
            DockerfileSource::Usual | DockerfileSource::InContext(_),
            ContextSource::Remote(_)
        )
    )
}

fn sources<'f>(facts: &'f Facts<'_>) -> impl Iterator<Item = &'f SourceOp> {
    facts
        .plan
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Source(source) => Some(source),
            _ => None,
        })
}

struct Dependencies {
    list: Vec<Value>,
    /// All that went into the image is among them, with a digest.
    complete: bool,
}

/// Lists what came from elsewhere.
fn dependencies(facts: &Facts<'_>) -> Dependencies {
    let mut by_uri: BTreeMap<String, Value> = BTreeMap::new();
    let mut complete = locals(facts).is_empty() && facts.request.volumes.is_empty();
    for source in sources(facts) {
        let SourceOp::Image {
            reference,
            platform,
            manifest,
            ..
        } = source
        else {
            continue;
        };
        let uri = image_uri(reference, platform);
        let mut dependency = json!({ "uri": uri });
        match manifest {
            Some(manifest) => {
                dependency["digest"] = json!({ Digest::ALGORITHM: manifest.to_hex() });
            }
            // An image that was built here has no manifest yet.
            None => complete = false,
        }
        by_uri.insert(uri, dependency);
    }
    for material in facts.materials {
        let dependency = json!({ "uri": material.address, "digest": digest(material) });
        by_uri.insert(material.address.clone(), dependency);
    }
    Dependencies {
        list: by_uri.into_values().collect(),
        complete,
    }
}

/// Names an image; one on this machine's disk without the place where it lies.
fn image_uri(reference: &str, platform: &Platform) -> String {
    if reference.parse::<Reference>().is_ok() {
        return purl::image(reference, platform);
    }
    let name = reference.split(' ').next().unwrap_or_default();
    let parts = purl::Parts {
        kind: "oci",
        namespace: "",
        name,
        version: "",
        qualifiers: &[("platform", &platform.to_string())],
    };
    parts.purl().unwrap_or_else(|| format!("pkg:oci/{name}"))
}

fn digest(material: &RemoteMaterial) -> Value {
    json!({ material.algorithm: material.digest })
}

/// Says whether a step could reach the network.
fn reaches_network(facts: &Facts<'_>) -> bool {
    facts
        .plan
        .vertices
        .iter()
        .any(|vertex| matches!(&vertex.op, Op::Exec(exec) if exec.network != NetworkMode::None))
}

/// Lists the steps, each with those that it needs.
fn steps(facts: &Facts<'_>) -> Vec<Value> {
    let name = |index: usize| format!("step{index}");
    let vertices = facts.plan.vertices.iter().enumerate();
    vertices
        .map(|(index, vertex)| {
            let mut step = json!({ "id": name(index), "name": vertex.name });
            if !vertex.stage.is_empty() {
                step["stage"] = vertex.stage.as_str().into();
            }
            let inputs: Vec<String> = vertex
                .inputs
                .iter()
                .map(|input| name(input.vertex.0))
                .collect();
            if !inputs.is_empty() {
                step["inputs"] = inputs.into();
            }
            step
        })
        .collect()
}

/// Gives the Dockerfile, and where in it each step stands.
fn source(facts: &Facts<'_>) -> Value {
    let mut locations = Map::new();
    for (index, vertex) in facts.plan.vertices.iter().enumerate() {
        let Some(span) = &vertex.span else { continue };
        let range = json!({
            "start": { "line": span.start.line },
            "end": { "line": span.end.line },
        });
        locations.insert(
            format!("step{index}"),
            json!({ "locations": [{ "ranges": [range] }] }),
        );
    }
    json!({
        "locations": locations,
        "infos": [{
            "filename": facts.source.name,
            "language": "Dockerfile",
            "data": STANDARD.encode(&facts.source.text),
        }],
    })
}

//! What comes out of the library, in JSON.

use serde::Serialize;
use serde_json::{Value, json};
use stagewright_exec::{HostReport, Stacking};
use stagewright_solver::{Event, EventKind, Explained, LogStream, MissReason, Outcome, Verdict};

use crate::cache::{CacheUsage, CacheVerification, LayerUse};
use crate::error::Error;
use crate::image::{Image, ImageSizes};
use crate::stored::NamedEntry;
use crate::transfer::{InspectedImage, InspectedPlatform};

/// Writes an event: an object with `kind`, `at_ms` and what belongs to the kind. What a step wrote
/// is `text`, where bytes that are no UTF-8 are replaced.
pub fn event(event: &Event) -> Value {
    let mut object = match &event.kind {
        EventKind::Planned { vertices } => {
            let vertices: Vec<Value> = vertices
                .iter()
                .map(|info| {
                    json!({
                        "id": info.id,
                        "name": info.name,
                        "stage": info.stage,
                        "inputs": info.inputs,
                        "line": info.line,
                        "step": info.step,
                    })
                })
                .collect();
            json!({ "kind": "planned", "vertices": vertices })
        }
        EventKind::Started { vertex } => json!({ "kind": "started", "vertex": vertex }),
        EventKind::Log {
            vertex,
            stream,
            bytes,
        } => {
            let stream = match stream {
                LogStream::Stdout => "stdout",
                LogStream::Stderr => "stderr",
            };
            let text = String::from_utf8_lossy(bytes);
            json!({ "kind": "log", "vertex": vertex, "stream": stream, "text": text })
        }
        EventKind::Progress {
            vertex,
            label,
            current_bytes,
            total_bytes,
        } => json!({
            "kind": "progress",
            "vertex": vertex,
            "label": label,
            "current_bytes": current_bytes,
            "total_bytes": total_bytes,
        }),
        EventKind::Finished { vertex, outcome } => finished(*vertex, outcome),
        EventKind::Warning {
            message,
            line,
            finding,
        } => json!({ "kind": "warning", "message": message, "line": line, "finding": finding }),
        _ => json!({ "kind": "other" }),
    };
    object["at_ms"] = event.at_ms.into();
    object
}

fn finished(vertex: u64, outcome: &Outcome) -> Value {
    let (status, miss, message) = match outcome {
        Outcome::Hit => ("hit", None, None),
        Outcome::Executed { miss } => ("executed", miss.as_ref(), None),
        Outcome::Shared => ("shared", None, None),
        Outcome::Failed { message } => ("failed", None, Some(message)),
        Outcome::Cancelled => ("cancelled", None, None),
        _ => ("other", None, None),
    };
    json!({
        "kind": "finished",
        "vertex": vertex,
        "outcome": status,
        "miss": miss.map(miss_reason),
        "message": message,
    })
}

/// Writes what a build would do: an object for each vertex.
pub fn explanation(explained: &[Explained]) -> Value {
    explained
        .iter()
        .map(|one| {
            let (verdict, miss, depends_on, why) = match &one.verdict {
                Verdict::Hit => ("hit", None, None, None),
                Verdict::Miss(reason) => ("miss", Some(miss_reason(reason)), None, None),
                Verdict::DependsOn(vertices) => ("depends_on", None, Some(vertices), None),
                Verdict::Unknown(why) => ("unknown", None, None, Some(why)),
                Verdict::Source => ("source", None, None, None),
                _ => ("other", None, None, None),
            };
            json!({
                "vertex": one.vertex.id,
                "name": one.vertex.name,
                "stage": one.vertex.stage,
                "line": one.vertex.line,
                "inputs": one.vertex.inputs,
                "verdict": verdict,
                "miss": miss,
                "depends_on": depends_on,
                "why": why,
            })
        })
        .collect()
}

fn miss_reason(reason: &MissReason) -> Value {
    let (code, changes) = match reason {
        MissReason::FirstRun => ("first_run", &[][..]),
        MissReason::NoCache => ("no_cache", &[][..]),
        MissReason::Changed(changes) => ("changed", &changes[..]),
        MissReason::Evicted => ("evicted", &[][..]),
        MissReason::TooOld { .. } => ("too_old", &[][..]),
        _ => ("other", &[][..]),
    };
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| {
            json!({
                "input": change.input,
                "name": change.name,
                "before": change.before,
                "after": change.after,
            })
        })
        .collect();
    json!({ "reason": code, "text": reason.to_string(), "changes": changes })
}

/// Writes an error: `code`, `message` and what else is known.
pub fn error(error: &Error) -> Value {
    json!({
        "code": error.kind.code(),
        "message": error.to_string(),
        "drawing": error.drawing,
        "help": error.help,
        "vertex": error.vertex,
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "exit_code": error.exit_code,
        "log_tail": error.log_tail,
    })
}

/// Writes an image's id, names and config.
pub fn image(image: &Image) -> Value {
    let config: Value = serde_json::from_slice(&image.config().encode()).unwrap_or_default();
    json!({ "id": image.id().to_string(), "names": image.names(), "config": config })
}

/// Writes what is known of an image in some place: of the chosen platform first, then of each.
pub fn inspected(inspected: &InspectedImage) -> Value {
    let platforms: Vec<Value> = inspected.platforms.iter().map(platform).collect();
    let mut object = json!({});
    if let Some(chosen) = inspected.chosen() {
        let config: Value = serde_json::from_slice(&chosen.config.encode()).unwrap_or_default();
        object = json!({
            "id": chosen.id.to_string(),
            "names": inspected.names,
            "platform": chosen.platform,
            "config": config,
            "attestations": attestations(chosen),
        });
    }
    if let Some(digest) = &inspected.digest {
        object["digest"] = digest.to_string().into();
        object["mediaType"] = inspected.media_type.as_deref().into();
    }
    object["platforms"] = platforms.into();
    object
}

fn platform(platform: &InspectedPlatform) -> Value {
    let mut object = json!({
        "platform": platform.platform,
        "id": platform.id.to_string(),
    });
    if let Some(digest) = &platform.digest {
        object["digest"] = digest.to_string().into();
        object["layers"] = serde_json::to_value(&platform.layers).unwrap_or_default();
    }
    object["attestations"] = attestations(platform);
    object
}

fn attestations(platform: &InspectedPlatform) -> Value {
    let attestations = platform.attestations.iter().map(|attestation| {
        let mut object = json!({ "predicateType": attestation.predicate_type });
        if let Some(digest) = &attestation.digest {
            object["digest"] = digest.to_string().into();
        }
        if let Some(predicate) = &attestation.predicate {
            object["predicate"] = predicate.clone();
        }
        object
    });
    attestations.collect()
}

/// Writes how large an image is.
pub fn image_sizes(sizes: &ImageSizes) -> Value {
    let layers: Vec<Value> = sizes
        .layers
        .iter()
        .map(|layer| {
            json!({
                "created_by": layer.created_by,
                "diff_id": layer.diff_id,
                "bytes": layer.bytes,
            })
        })
        .collect();
    let stages: Vec<Value> = sizes
        .stages
        .iter()
        .map(|(name, bytes)| json!({ "name": name, "bytes": bytes }))
        .collect();
    json!({
        "layers": layers,
        "total_bytes": sizes.total_bytes,
        "stages": stages,
        "saved_bytes": sizes.saved_bytes,
    })
}

/// Writes the names in the store.
pub fn named_entries(entries: &[NamedEntry]) -> Value {
    entries
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "id": entry.id,
                "tagged_unix_ms": entry.tagged_unix_ms,
                "bytes": entry.bytes,
            })
        })
        .collect()
}

/// Writes what the store takes on disk: in all, and by kind.
pub fn cache_usage(usage: &CacheUsage) -> Value {
    let mut object = json!({ "total_bytes": usage.bytes() });
    for (name, room) in usage.rooms() {
        object[name] = json!({
            "count": room.count,
            "bytes": room.bytes,
            "shared_bytes": room.shared_bytes,
            "reclaimable_bytes": room.reclaimable_bytes,
        });
    }
    object
}

/// Writes what a check of the store found.
pub fn cache_verification(verification: &CacheVerification) -> Value {
    let damaged: Vec<Value> = verification
        .damaged
        .iter()
        .map(|damage| json!({ "path": damage.path, "reason": damage.reason }))
        .collect();
    json!({ "checked": verification.checked, "damaged": damaged })
}

/// Writes what this host can do.
pub fn host_report(report: &HostReport) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| json!({ "name": finding.name, "works": finding.works }))
        .collect();
    json!({
        "mode": report.mode.to_string(),
        "copies": report.stacking == Stacking::Copies,
        "stacking": report.stacking.to_string(),
        "reason": report.reason,
        "findings": findings,
    })
}

/// Writes when and how often layers were used.
pub fn layer_uses(uses: &[LayerUse]) -> Value {
    uses.iter()
        .map(|layer| {
            json!({
                "id": layer.id.to_string(),
                "bytes": layer.bytes,
                "last_used_unix_ms": layer.last_used_unix_ms,
                "uses": layer.uses,
            })
        })
        .collect()
}

/// Writes plain data with the names of its fields: findings of build checks, targets, outlines.
pub fn plain(data: &impl Serialize) -> Value {
    // Plain data has no keys but texts, which is all that could fail.
    serde_json::to_value(data).unwrap_or_default()
}

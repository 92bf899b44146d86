//! `stagewright cache`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use stagewright::{Builder, CacheUsage, LayerUse, PruneOptions, json as documents};

use super::table::{bytes, table};
use crate::arguments::{CacheVerb, Format, PruneArguments, PruneFilter};
use crate::failure::Failure;

/// Measures or checks the store.
pub(crate) fn run(builder: &Builder, verb: &CacheVerb) -> Result<ExitCode, Failure> {
    match verb {
        CacheVerb::Du(arguments) => {
            let usage = builder.cache_usage()?;
            let layers = if arguments.verbose {
                builder.layer_uses()?
            } else {
                Vec::new()
            };
            match arguments.format {
                Format::Table => print!("{}{}", layers_text(&layers), usage_text(&usage)),
                Format::Json => {
                    let mut document = documents::cache_usage(&usage);
                    if arguments.verbose {
                        document["layer_uses"] = layers.iter().map(layer_document).collect();
                    }
                    println!("{document:#}");
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        CacheVerb::Prune(arguments) => {
            prune(builder, arguments)?;
            Ok(ExitCode::SUCCESS)
        }
        CacheVerb::Verify(arguments) => verify(builder, arguments.repair),
    }
}

/// As many characters of an id as are shown: the name of the hash function and twelve digits.
const ID_CHARS: usize = 19;

fn short(id: &str) -> String {
    id.chars().take(ID_CHARS).collect()
}

/// Returns the time since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn layer_document(layer: &LayerUse) -> serde_json::Value {
    json!({
        "id": layer.id.to_string(),
        "bytes": layer.bytes,
        "last_used_unix_ms": layer.last_used_unix_ms,
        "uses": layer.uses,
    })
}

fn layers_text(layers: &[LayerUse]) -> String {
    if layers.is_empty() {
        return String::new();
    }
    let now = now();
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            let id = short(&layer.id.to_string());
            let age = now.saturating_sub(Duration::from_millis(layer.last_used_unix_ms));
            let hours = age.as_secs() / 3600;
            let age = match hours {
                0 => format!("{} min ago", age.as_secs() / 60),
                1..48 => format!("{hours} h ago"),
                _ => format!("{} days ago", hours / 24),
            };
            vec![id, age, layer.uses.to_string(), bytes(layer.bytes)]
        })
        .collect();
    let text = table(
        &["LAYER", "LAST USED", "BUILDS", "BYTES"],
        &[false, false, true, true],
        &rows,
    );
    format!("{text}\n\n")
}

fn usage_text(usage: &CacheUsage) -> String {
    let rows: Vec<Vec<String>> = usage
        .rooms()
        .iter()
        .map(|(name, room)| {
            vec![
                name.replace('_', " "),
                room.count.to_string(),
                bytes(room.bytes),
                bytes(room.shared_bytes),
                bytes(room.reclaimable_bytes),
            ]
        })
        .collect();
    let text = table(
        &["WHAT", "COUNT", "ON DISK", "SHARED", "RECLAIMABLE"],
        &[false, true, true, true, true],
        &rows,
    );
    format!(
        "{text}\ntotal: {}, of which {} can be removed now\n",
        bytes(usage.bytes()),
        bytes(usage.reclaimable_bytes())
    )
}

/// Removes what was asked for, and prints what went.
fn prune(builder: &Builder, arguments: &PruneArguments) -> Result<(), Failure> {
    let mut options = PruneOptions {
        all: arguments.all,
        max_used: arguments.max_used_space,
        min_free: arguments.min_free_space,
        reserved: arguments.reserved_space,
        ..PruneOptions::default()
    };
    let mut unused_for = arguments.max_age;
    for filter in &arguments.filter {
        match filter {
            PruneFilter::Type(kinds) => options.kinds.extend(kinds),
            PruneFilter::Id(id) => options.ids.push(id.clone()),
            PruneFilter::UnusedFor(time) => unused_for = unused_for.max(Some(*time)),
        }
    }
    options.used_before_unix_ms = unused_for
        .map(|time| u64::try_from(now().saturating_sub(time).as_millis()).unwrap_or(u64::MAX));
    let pruned = builder.prune_cache(&options)?;
    match arguments.format {
        Format::Json => {
            let items: Vec<_> = pruned
                .items
                .iter()
                .map(|item| json!({ "id": item.id, "type": item.kind.type_name(), "bytes": item.bytes }))
                .collect();
            let document = json!({
                "items": items,
                "bytes": pruned.bytes,
                "left_bytes": pruned.left_bytes,
            });
            println!("{document:#}");
        }
        Format::Table => {
            if !pruned.items.is_empty() {
                let rows: Vec<Vec<String>> = pruned
                    .items
                    .iter()
                    .map(|item| {
                        vec![
                            short(&item.id),
                            item.kind.type_name().to_owned(),
                            bytes(item.bytes),
                        ]
                    })
                    .collect();
                println!(
                    "{}",
                    table(&["REMOVED", "TYPE", "BYTES"], &[false, false, true], &rows)
                );
            }
            println!(
                "{} removed, {} left",
                bytes(pruned.bytes),
                bytes(pruned.left_bytes)
            );
        }
    }
    Ok(())
}

/// Prints what is damaged; that something is, and was not repaired, is the exit code.
fn verify(builder: &Builder, repair: bool) -> Result<ExitCode, Failure> {
    let found = builder.verify_cache(repair)?;
    // They say what is printed here.
    builder.take_warnings();
    for damage in &found.damaged {
        println!("{}: {}", damage.path.display(), damage.reason);
    }
    let damaged = found.damaged.len();
    if damaged == 0 {
        println!(
            "{} blobs, layers and records checked, all whole",
            found.checked
        );
    } else if repair {
        println!(
            "{} blobs, layers and records checked, {damaged} damaged and moved to the store's folder quarantine",
            found.checked
        );
    } else {
        println!(
            "{} blobs, layers and records checked, {damaged} damaged; --repair moves them out of the way",
            found.checked
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

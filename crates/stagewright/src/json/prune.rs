//! Pruning in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::parse;
use crate::cache::{CacheItemKind, PruneOptions, Pruned};
use crate::error::Error;

/// [`PruneOptions`].
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PruneJson {
    all: bool,
    max_used_bytes: Option<u64>,
    min_free_bytes: Option<u64>,
    reserved_bytes: Option<u64>,
    used_before_unix_ms: Option<u64>,
    kinds: Vec<KindJson>,
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindJson {
    Layer,
    BaseLayer,
    Blob,
    CacheMount,
    Context,
}

impl From<KindJson> for CacheItemKind {
    fn from(kind: KindJson) -> Self {
        match kind {
            KindJson::Layer => Self::Layer,
            KindJson::BaseLayer => Self::BaseLayer,
            KindJson::Blob => Self::Blob,
            KindJson::CacheMount => Self::CacheMount,
            KindJson::Context => Self::Context,
        }
    }
}

/// Reads what is to be pruned.
///
/// # Errors
/// [`crate::ErrorKind::Request`] when something is not known or has a wrong type.
pub fn parse_prune(text: &str) -> Result<PruneOptions, Error> {
    let json: PruneJson = parse(text)?;
    Ok(PruneOptions {
        all: json.all,
        max_used: json.max_used_bytes.map(Into::into),
        min_free: json.min_free_bytes.map(Into::into),
        reserved: json.reserved_bytes.map(Into::into),
        used_before_unix_ms: json.used_before_unix_ms,
        kinds: json.kinds.into_iter().map(Into::into).collect(),
        ids: json.ids,
        ..PruneOptions::default()
    })
}

/// Writes what was pruned.
pub fn pruned(pruned: &Pruned) -> Value {
    let items: Vec<Value> = pruned
        .items
        .iter()
        .map(|item| {
            json!({
                "kind": kind_name(item.kind),
                "id": item.id,
                "bytes": item.bytes,
                "last_used_unix_ms": item.last_used_unix_ms,
            })
        })
        .collect();
    json!({ "items": items, "bytes": pruned.bytes, "left_bytes": pruned.left_bytes })
}

fn kind_name(kind: CacheItemKind) -> &'static str {
    match kind {
        CacheItemKind::Layer => "layer",
        CacheItemKind::BaseLayer => "base_layer",
        CacheItemKind::Blob => "blob",
        CacheItemKind::CacheMount => "cache_mount",
        CacheItemKind::Context => "context",
        _ => "other",
    }
}

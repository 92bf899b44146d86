//! What build checks and descriptions of a Dockerfile say, in BuildKit's JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::checks::{self, CheckReport};
use crate::describe::{Outline, OutlineMount, Targets};

/// Writes what the build checks found, as `docker build --call=check,format=json` does.
pub fn check_report(report: &CheckReport) -> Value {
    let warnings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "ruleName": finding.rule,
                "description": finding.description,
                "url": finding.url,
                "detail": finding.message,
                "location": location((finding.line, finding.end_line)),
            })
        })
        .collect();
    let mut object = json!({
        "warnings": warnings,
        "sources": [{
            "fileName": report.file,
            "language": "Dockerfile",
            "data": STANDARD.encode(&report.text),
        }],
    });
    if let (true, Some(first)) = (report.failed, report.findings.first()) {
        object["buildError"] = json!({
            "message": checks::violated(report),
            "location": location((first.line, first.end_line)),
        });
    }
    object
}

/// Writes the targets, as `docker build --call=targets,format=json` does.
pub fn targets(targets: &Targets) -> Value {
    let all: Vec<Value> = targets
        .targets
        .iter()
        .map(|target| {
            let mut object = Map::new();
            put(&mut object, "name", target.name.as_ref());
            if target.is_default {
                object.insert("default".to_owned(), true.into());
            }
            put(&mut object, "description", target.description.as_ref());
            put(&mut object, "base", Some(&target.base));
            put(&mut object, "platform", target.platform.as_ref());
            object.insert("location".to_owned(), location(target.lines));
            Value::Object(object)
        })
        .collect();
    json!({ "targets": all, "sources": [STANDARD.encode(&targets.text)] })
}

/// Writes what a target takes, as `docker build --call=outline,format=json` does.
pub fn outline(outline: &Outline) -> Value {
    let mut object = Map::new();
    put(&mut object, "name", outline.name.as_ref());
    put(&mut object, "description", outline.description.as_ref());
    let args = outline.args.iter().map(|arg| {
        let mut object = Map::new();
        put(&mut object, "name", Some(&arg.name));
        put(&mut object, "description", arg.description.as_ref());
        put(&mut object, "value", arg.value.as_ref());
        object.insert("location".to_owned(), location(arg.lines));
        Value::Object(object)
    });
    list(&mut object, "args", args.collect());
    list(&mut object, "secrets", mounts(&outline.secrets, "name"));
    list(&mut object, "ssh", mounts(&outline.ssh, "name"));
    list(&mut object, "cache", mounts(&outline.caches, "ID"));
    let sources = vec![STANDARD.encode(&outline.text).into()];
    list(&mut object, "sources", sources);
    Value::Object(object)
}

fn mounts(mounts: &[OutlineMount], name: &str) -> Vec<Value> {
    let all = mounts.iter().map(|mount| {
        let mut object = Map::new();
        put(&mut object, name, Some(&mount.name));
        if mount.required {
            object.insert("required".to_owned(), true.into());
        }
        object.insert("location".to_owned(), location(mount.lines));
        Value::Object(object)
    });
    all.collect()
}

/// Adds a text that says something.
fn put(object: &mut Map<String, Value>, key: &str, value: Option<&String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        object.insert(key.to_owned(), value.as_str().into());
    }
}

/// Adds a list that has something in it.
fn list(object: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if !values.is_empty() {
        object.insert(key.to_owned(), values.into());
    }
}

fn location((start, end): (u32, u32)) -> Value {
    json!({ "ranges": [{ "start": { "line": start }, "end": { "line": end } }] })
}

//! What other languages write, and what they read.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::request::{ContextSource, DockerfileSource, NamedContext};

#[test]
fn a_request_with_nothing_builds_a_dockerfile_without_a_context() {
    let request = parse_request("{}").unwrap();
    assert_eq!(request.context, ContextSource::Empty);
    assert_eq!(request.dockerfile, DockerfileSource::Usual);
}

#[test]
fn options_that_are_not_known_or_of_a_wrong_type_are_refused() {
    for (text, expected) in [
        (r#"{"no_cach": true}"#, "unknown field 'no_cach'"),
        (r#"{"no_cache": "yes"}"#, "expected a boolean"),
        (r#"{"network": "bridge"}"#, "unknown variant 'bridge'"),
        (r#"{"squash": "none"}"#, "squash is a boolean"),
        (r#"{"stage": 0}"#, "before it is described"),
        (r#"{"context": "a", "context_archive": "b"}"#, "twice"),
        (r#"{"build_contexts": {"a": "ftp://x"}}"#, "no ftp context"),
    ] {
        let error = parse_request(text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Request);
        assert!(error.message.contains(expected), "{text}: {error}");
        assert!(!error.message.contains("line"), "{error}");
    }
}

#[test]
fn stages_name_those_before_them() {
    let request = json!({
        "context": ".",
        "stages": [
            { "base": "node:20", "name": "build", "steps": [
                { "workdir": "/build" },
                { "copy": { "sources": ["package*.json"], "dest": "." } },
                { "run": { "command": "npm ci", "mounts": [{ "cache": { "target": "/root/.npm" } }] } },
            ] },
            { "base": "alpine", "steps": [
                { "copy": { "sources": ["/build"], "dest": ".", "from": { "stage": 0 }, "chown": "node" } },
                { "env": ["A", "1"] },
                { "cmd": ["node", "index.js"] },
            ] },
        ],
        "stage": 1,
        "build_contexts": { "assets": { "stage": 0 }, "files": "../files" },
    });
    let request = parse_request(&request.to_string()).unwrap();
    let expected = "\
FROM node:20 AS build
WORKDIR /build
COPY package*.json .
RUN --mount=type=cache,target=/root/.npm npm ci

FROM alpine
COPY --from=build --chown=node /build .
ENV A=1
CMD [\"node\", \"index.js\"]
";
    let stage = request.stage.unwrap();
    assert_eq!(stage.to_dockerfile().unwrap(), expected);
    assert_eq!(request.dockerfile, DockerfileSource::Nothing);
    assert!(matches!(
        &request.named_contexts[0].1,
        NamedContext::Stage(_)
    ));
    assert_eq!(
        request.named_contexts[1].1,
        NamedContext::Directory("../files".into())
    );
}

#[test]
fn an_error_has_its_code_and_its_place() {
    let json = super::error(&Error {
        file: Some("Dockerfile".to_owned()),
        line: Some(3),
        exit_code: Some(7),
        ..Error::new(ErrorKind::StepFailed, "it failed")
    });
    assert_eq!(json["code"], "step_failed");
    assert_eq!(json["message"], "Dockerfile:3: it failed");
    assert_eq!(json["exit_code"], 7);
}

#[test]
fn what_is_pruned_is_named_as_what_was_pruned() {
    use crate::cache::{CacheItem, CacheItemKind, PruneOptions, Pruned};
    for kind in CacheItemKind::ALL {
        let item = CacheItem {
            kind,
            id: "x".to_owned(),
            bytes: 1,
            last_used_unix_ms: 2,
            uses: 3,
            tagged: false,
            in_use: false,
        };
        let written = super::pruned(&Pruned {
            items: vec![item],
            bytes: 1,
            ..Pruned::default()
        });
        let asked = json!({ "kinds": [written["items"][0]["kind"]] });
        let options = parse_prune(&asked.to_string()).unwrap();
        assert_eq!(options.kinds, [kind]);
    }
    assert_eq!(parse_prune("{}").unwrap(), PruneOptions::default());
    let asked =
        parse_prune(r#"{"max_used_bytes": 1, "min_free_bytes": 2, "reserved_bytes": 3}"#).unwrap();
    let bounds = [asked.max_used, asked.min_free, asked.reserved];
    assert_eq!(bounds, [1, 2, 3].map(|bytes| Some(bytes.into())));
    let refused = parse_prune(r#"{"keep_storage": 1}"#).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Request);
}

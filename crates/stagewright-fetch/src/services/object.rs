//! The objects of a cache, and the requests for them.

use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use stagewright_digest::Digest;

/// An object of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    /// A blob, which is what its digest says for ever.
    Blob(Digest),
    /// What a cache consists of, by the name of the cache.
    Manifest(String),
}

impl Object {
    /// What it is called in messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Blob(digest) => format!("the blob {digest}"),
            Self::Manifest(name) => format!("the cache {name:?}"),
        }
    }
}

/// A request that says itself who asks.
#[derive(Debug, Clone)]
pub(super) struct ObjectRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, String)>,
}

/// Says whether an object can be named so: a URL has no way of writing `..`.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.split('/').any(|part| part == "." || part == "..")
}

/// Takes what is given, or what a variable says.
pub(super) fn given(option: Option<&String>, variable: Option<&str>) -> Option<String> {
    let option = option.map(String::as_str).filter(|text| !text.is_empty());
    option.or(variable).map(str::to_owned)
}

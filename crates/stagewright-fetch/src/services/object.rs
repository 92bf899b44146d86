//! The objects of a cache, and the requests for them.

use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use stagewright_digest::Digest;

use super::place::DEFAULT_NAME;

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

impl ObjectRequest {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
        }
    }
}

/// What the objects of a cache are called in a service that has names for them.
#[derive(Debug)]
pub(super) struct Names {
    /// What the names of blobs begin with.
    pub(super) blobs: String,
    /// What the names of manifests begin with.
    pub(super) manifests: String,
    /// The names of the cache.
    pub(super) caches: Vec<String>,
}

impl Names {
    /// Takes the usual name for a cache that is given none.
    ///
    /// # Errors
    /// The name that no object can have: a URL has no way of writing `..`.
    pub(super) fn new(blobs: String, manifests: String, given: &[String]) -> Result<Self, String> {
        let caches = match given {
            [] => vec![DEFAULT_NAME.to_owned()],
            given => given.to_vec(),
        };
        let is_name = |name: &String| !name.split('/').any(|part| part == "." || part == "..");
        let manifest = |name: &String| format!("{manifests}{name}");
        let mut names = caches.iter().map(manifest).chain([format!("{blobs}x")]);
        match names.find(|name| !is_name(name)) {
            Some(wrong) => Err(format!("no object can be called {wrong:?}")),
            None => Ok(Self {
                blobs,
                manifests,
                caches,
            }),
        }
    }

    pub(super) fn of(&self, object: &Object) -> String {
        match object {
            Object::Blob(digest) => format!("{}{digest}", self.blobs),
            Object::Manifest(name) => format!("{}{name}", self.manifests),
        }
    }
}

/// Takes what is given, or what a variable says.
pub(super) fn given(option: Option<&String>, variable: Option<&str>) -> Option<String> {
    let option = option.map(String::as_str).filter(|text| !text.is_empty());
    option.or(variable).map(str::to_owned)
}

//! A registry in this process that can be told to fail.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::http_server::{HttpServer, Request, Response};

/// A registry on a port of the loopback network, over plain HTTP, until it is dropped.
///
/// It keeps everything in memory and knows the distribution specification's requests of pull and
/// push. It shares no code with the client that it tests.
///
/// ```
/// use stagewright_testkit::Registry;
///
/// let registry = Registry::start();
/// let digest = registry.add_blob("library/a", b"bytes");
/// assert!(registry.has_blob("library/a", &digest));
/// assert!(registry.address().starts_with("127.0.0.1:"));
/// ```
pub struct Registry {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// How a registry misbehaves.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with this status and an error of this text.
    Status(u16, &'static str),
    /// Answers 429, with the value of `Retry-After` if there is one.
    TooManyRequests(Option<&'static str>),
    /// Breaks the connection after so many bytes of the answer's body.
    CutAfter(usize),
    /// Sends so many bytes of the body as if they were all.
    Truncate(usize),
    /// Changes a byte of the body.
    Corrupt,
    /// Waits so long before each 16 bytes.
    Slow(Duration),
    /// Sends everything, though only a part was asked for.
    IgnoreRange,
    /// Sends the client to another address, such as `http://127.0.0.1:1234`, with the same path.
    RedirectTo(String),
    /// Does what it is asked for and ends the connection instead of an answer.
    HangUp,
    /// Takes only so many bytes of an upload and then breaks the connection.
    TakeOnly(usize),
}

/// Who may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RegistryLogin {
    /// Everybody.
    #[default]
    None,
    /// Who sends this name and password.
    Basic(String, String),
    /// Who has a token. Without a name and password tokens are given to everybody, for pulling.
    Token(Option<(String, String)>),
}

/// Media type and bytes.
type StoredManifest = (String, Arc<Vec<u8>>);

#[derive(Default)]
struct State {
    blobs: HashMap<String, Arc<Vec<u8>>>,
    /// Which blobs are in which repository.
    linked: HashSet<(String, String)>,
    /// By repository and tag or digest.
    manifests: HashMap<(String, String), StoredManifest>,
    uploads: HashMap<String, Vec<u8>>,
    uploads_begun: usize,
    login: RegistryLogin,
    faults: Vec<PlannedFault>,
    requests: Vec<Request>,
    address: String,
}

struct PlannedFault {
    /// A part of `METHOD path`.
    matches: String,
    times: usize,
    fault: Fault,
}

impl Registry {
    /// Starts an empty registry that everybody may use.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(Arc::new(move |request| handle(&shared, request)));
        lock(&state).address = server.address().to_string();
        Self { server, state }
    }

    /// Returns `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Asks for a login from now on.
    pub fn require(&self, login: RegistryLogin) {
        lock(&self.state).login = login;
    }

    /// Plans a fault for the next `times` requests whose `METHOD path` contains `matches`.
    pub fn inject(&self, matches: &str, times: usize, fault: Fault) {
        lock(&self.state).faults.push(PlannedFault {
            matches: matches.to_owned(),
            times,
            fault,
        });
    }

    /// Forgets the faults that are still planned.
    pub fn heal(&self) {
        lock(&self.state).faults.clear();
    }

    /// Puts a blob into a repository and returns its digest.
    pub fn add_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let mut state = lock(&self.state);
        let digest = digest(bytes);
        state.blobs.insert(digest.clone(), Arc::new(bytes.to_vec()));
        state.linked.insert((repository.to_owned(), digest.clone()));
        digest
    }

    /// Puts a manifest or index under a tag and returns its digest.
    pub fn add_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        lock(&self.state).put_manifest(repository, tag, media_type, bytes.to_vec())
    }

    /// Puts an OCI image of uncompressed layers under a tag and returns the manifest's digest.
    /// `config` gets the layers' diffIDs.
    pub fn add_image(
        &self,
        repository: &str,
        tag: &str,
        mut config: serde_json::Value,
        layers: &[&[u8]],
    ) -> String {
        let digests: Vec<_> = layers
            .iter()
            .map(|bytes| self.add_blob(repository, bytes))
            .collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": digests});
        let config = config.to_string();
        let config_digest = self.add_blob(repository, config.as_bytes());
        let layers: Vec<_> = layers
            .iter()
            .zip(&digests)
            .map(|(bytes, digest)| {
                json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest,
                    "size": bytes.len(),
                })
            })
            .collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest,
                "size": config.len(),
            },
            "layers": layers,
        });
        self.add_manifest(repository, tag, media_type, manifest.to_string().as_bytes())
    }

    /// Puts the image of an OCI layout, a folder with one manifest, under a tag.
    ///
    /// # Panics
    ///
    /// When the folder is no such layout.
    pub fn add_layout(&self, repository: &str, tag: &str, layout: &Path) {
        let read = |digest: &str| {
            let path = layout.join("blobs").join(digest.replace(':', "/"));
            fs_err::read(path).unwrap()
        };
        let index = fs_err::read(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let described = &index["manifests"][0];
        let bytes = read(described["digest"].as_str().unwrap());
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for descriptor in layers.chain([&manifest["config"]]) {
            let _ = self.add_blob(repository, &read(descriptor["digest"].as_str().unwrap()));
        }
        let media_type = described["mediaType"].as_str().unwrap();
        let _ = self.add_manifest(repository, tag, media_type, &bytes);
    }

    /// Returns whether a repository has a blob.
    pub fn has_blob(&self, repository: &str, digest: &str) -> bool {
        lock(&self.state)
            .linked
            .contains(&(repository.to_owned(), digest.to_owned()))
    }

    /// Returns the bytes of a blob.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        Some(lock(&self.state).blobs.get(digest)?.to_vec())
    }

    /// Returns the media type and bytes of a manifest by tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        let key = (repository.to_owned(), name.to_owned());
        let (media_type, bytes) = lock(&self.state).manifests.get(&key)?.clone();
        Some((media_type, bytes.to_vec()))
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// Counts the requests so far whose `METHOD path` contains `matches`.
    pub fn count(&self, matches: &str) -> usize {
        let requests = self.requests();
        let lines = requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.path));
        lines.filter(|line| line.contains(matches)).count()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked while it held the state has its own message.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Response::new(status)
        .header("Content-Type", "application/json")
        .body(body.to_string())
}

fn handle(state: &Mutex<State>, mut request: Request) -> Response {
    let mut state = lock(state);
    state.requests.push(request.clone());
    let line = format!("{} {}", request.method, request.path);
    let planned = state
        .faults
        .iter_mut()
        .find(|planned| planned.times > 0 && line.contains(&planned.matches));
    let fault = planned.map(|planned| {
        planned.times -= 1;
        planned.fault.clone()
    });
    match &fault {
        Some(Fault::Status(status, message)) => return error(*status, "FAULT", message),
        Some(Fault::TooManyRequests(retry_after)) => {
            let response = error(
                429,
                "TOOMANYREQUESTS",
                "you have reached your pull rate limit",
            );
            return match retry_after {
                Some(value) => response.header("Retry-After", *value),
                None => response,
            };
        }
        Some(Fault::RedirectTo(base)) => {
            return Response::new(307).header("Location", format!("{base}{}", request.path));
        }
        Some(Fault::IgnoreRange) => {
            request.headers.remove("range");
        }
        Some(Fault::TakeOnly(bytes)) => {
            request.body.truncate(*bytes);
            drop(state.route(&request));
            let mut response = Response::new(500);
            response.cut_after = Some(0);
            return response;
        }
        _ => {}
    }
    let mut response = state.route(&request);
    match fault {
        Some(Fault::CutAfter(bytes)) => response.cut_after = Some(bytes),
        Some(Fault::Truncate(bytes)) => {
            let (start, end) = response.range.unwrap_or((0, response.body.len()));
            response.range = Some((start, end.min(start + bytes)));
        }
        Some(Fault::Corrupt) => {
            let mut body = response.body.to_vec();
            if let Some(byte) = body.last_mut() {
                *byte ^= 1;
            }
            response.body = Arc::new(body);
        }
        Some(Fault::Slow(delay)) => response.delay = Some(delay),
        Some(Fault::HangUp) => response.hang_up = true,
        _ => {}
    }
    response
}

impl State {
    fn route(&mut self, request: &Request) -> Response {
        if request.path == "/token" {
            return self.token(request);
        }
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return error(404, "NOT_FOUND", "no such path");
        };
        if let Some(refusal) = self.refuse(request, path) {
            return refusal;
        }
        if path.is_empty() {
            return Response::new(200);
        }
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(request, repository, id);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return self.blob(request, repository, digest);
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(request, repository, name);
        }
        error(404, "NOT_FOUND", "no such path")
    }

    /// Answers 401 to who may not ask.
    fn refuse(&self, request: &Request, path: &str) -> Option<Response> {
        let sent = request.header("authorization").unwrap_or_default();
        let unauthorized = |challenge: String| {
            error(401, "UNAUTHORIZED", "authentication required")
                .header("WWW-Authenticate", challenge)
        };
        match &self.login {
            RegistryLogin::None => None,
            RegistryLogin::Basic(name, password) => (sent != basic(name, password))
                .then(|| unauthorized("Basic realm=\"test\"".to_owned())),
            RegistryLogin::Token(_) => {
                let repository = ["/blobs/", "/manifests/"]
                    .iter()
                    .find_map(|part| path.split_once(part))
                    .map(|(repository, _)| repository);
                let writes = !matches!(request.method.as_str(), "GET" | "HEAD");
                let actions = if writes { "pull,push" } else { "pull" };
                let good = match repository {
                    None => sent.starts_with("Bearer "),
                    Some(repository) => {
                        let wanted = format!("Bearer token:{repository}:{actions}");
                        sent == wanted || sent == format!("Bearer token:{repository}:pull,push")
                    }
                };
                let address = &self.address;
                let scope = repository
                    .map(|repository| format!(",scope=\"repository:{repository}:{actions}\""));
                (!good).then(|| {
                    unauthorized(format!(
                        "Bearer realm=\"http://{address}/token\",service=\"test\"{}",
                        scope.unwrap_or_default()
                    ))
                })
            }
        }
    }

    fn token(&self, request: &Request) -> Response {
        let scope = request.query("scope").unwrap_or_default();
        let mut parts = scope.split(':').skip(1);
        let repository = parts.next().unwrap_or_default();
        let actions = parts.next().unwrap_or_default();
        let sent = request.header("authorization");
        if let RegistryLogin::Token(Some((name, password))) = &self.login
            && sent != Some(&basic(name, password))
        {
            return error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let body = json!({"token": format!("token:{repository}:{actions}"), "expires_in": 300});
        Response::new(200).body(body.to_string())
    }

    fn blob(&self, request: &Request, repository: &str, digest: &str) -> Response {
        let linked = self
            .linked
            .contains(&(repository.to_owned(), digest.to_owned()));
        let Some(bytes) = self.blobs.get(digest).filter(|_| linked) else {
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let mut response = Response::new(200)
            .header("Content-Type", "application/octet-stream")
            .header("Docker-Content-Digest", digest);
        response.body = Arc::clone(bytes);
        let start = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes="))
            .and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
        match start {
            Some(start) if start >= bytes.len() => error(416, "RANGE", "out of range"),
            Some(start) => {
                response.status = 206;
                response.range = Some((start, bytes.len()));
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                response.header("Content-Range", range)
            }
            None => response,
        }
    }

    fn manifest(&mut self, request: &Request, repository: &str, name: &str) -> Response {
        if request.method == "PUT" {
            let media_type = request
                .header("content-type")
                .unwrap_or_default()
                .to_owned();
            if let Some(missing) = self.missing(repository, &request.body) {
                return error(
                    400,
                    "MANIFEST_BLOB_UNKNOWN",
                    &format!("{missing} is unknown"),
                );
            }
            let digest = self.put_manifest(repository, name, &media_type, request.body.clone());
            return Response::new(201)
                .header("Location", format!("/v2/{repository}/manifests/{digest}"))
                .header("Docker-Content-Digest", digest);
        }
        let key = (repository.to_owned(), name.to_owned());
        match self.manifests.get(&key) {
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            Some((media_type, bytes)) => {
                let mut response = Response::new(200)
                    .header("Content-Type", media_type)
                    .header("Docker-Content-Digest", digest(bytes));
                response.body = Arc::clone(bytes);
                response
            }
        }
    }

    fn put_manifest(
        &mut self,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = digest(&bytes);
        let entry = (media_type.to_owned(), Arc::new(bytes));
        for name in [name, &digest] {
            let key = (repository.to_owned(), name.to_owned());
            self.manifests.insert(key, entry.clone());
        }
        digest
    }

    /// Returns a blob or manifest that a manifest names and that is not there.
    fn missing(&self, repository: &str, manifest: &[u8]) -> Option<String> {
        let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
        let known = |digest: &str| {
            let key = (repository.to_owned(), digest.to_owned());
            self.linked.contains(&key) || self.manifests.contains_key(&key)
        };
        let lists = ["layers", "manifests"]
            .iter()
            .filter_map(|key| manifest[key].as_array());
        let named = lists.flatten().chain([&manifest["config"]]);
        named
            .filter_map(|descriptor| descriptor["digest"].as_str())
            .find(|digest| !known(digest))
            .map(str::to_owned)
    }

    fn upload(&mut self, request: &Request, repository: &str, id: &str) -> Response {
        if request.method == "POST" {
            return self.begin_upload(request, repository);
        }
        let Some(mut upload) = self.uploads.remove(id) else {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        };
        let range = request
            .header("content-range")
            .and_then(|range| range.split('-').next());
        let starts = range.and_then(|start| start.parse::<usize>().ok());
        let out_of_order = starts.is_some_and(|start| start != upload.len());
        if !out_of_order {
            upload.extend_from_slice(&request.body);
        }
        if request.method == "PUT" && !out_of_order {
            let found = digest(&upload);
            if request.query("digest") != Some(&found) {
                return error(400, "DIGEST_INVALID", "digest does not match the bytes");
            }
            self.linked.insert((repository.to_owned(), found.clone()));
            self.blobs.insert(found.clone(), Arc::new(upload));
            return Response::new(201)
                .header("Location", format!("/v2/{repository}/blobs/{found}"))
                .header("Docker-Content-Digest", found);
        }
        let status = match (out_of_order, request.method.as_str()) {
            (true, _) => 416,
            (false, "GET") => 204,
            (false, _) => 202,
        };
        let last = upload.len().saturating_sub(1);
        self.uploads.insert(id.to_owned(), upload);
        Response::new(status)
            .header("Location", format!("/v2/{repository}/blobs/uploads/{id}"))
            .header("Range", format!("0-{last}"))
    }

    fn begin_upload(&mut self, request: &Request, repository: &str) -> Response {
        if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
            && self.linked.contains(&(from.to_owned(), digest.to_owned()))
        {
            self.linked
                .insert((repository.to_owned(), digest.to_owned()));
            return Response::new(201)
                .header("Location", format!("/v2/{repository}/blobs/{digest}"))
                .header("Docker-Content-Digest", digest);
        }
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        self.uploads.insert(id.clone(), Vec::new());
        Response::new(202)
            .header("Location", format!("/v2/{repository}/blobs/uploads/{id}"))
            .header("Range", "0-0")
    }
}

fn basic(name: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = format!("{name}:{password}");
    let mut encoded = "Basic ".to_owned();
    for chunk in text.as_bytes().chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            encoded.push(if at > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    encoded
}

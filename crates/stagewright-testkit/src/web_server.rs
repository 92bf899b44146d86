//! A web server in this process, for files over HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::http_server::{HttpServer, Request, Response};

/// A web server on a port of the loopback network, until it is dropped.
///
/// ```
/// use stagewright_testkit::WebServer;
///
/// let server = WebServer::start();
/// server.put("/a.txt", "text");
/// assert!(server.url("/a.txt").starts_with("http://127.0.0.1:"));
/// ```
pub struct WebServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, WebFile>,
    requests: Vec<Request>,
}

/// A file and how it is served.
#[derive(Debug, Clone, Default)]
pub struct WebFile {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its `ETag`, with quotes.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
    /// The value that `Authorization` must have.
    pub authorization: Option<String>,
    /// Where the client is sent instead.
    pub redirect: Option<String>,
    /// The next requests, as many as there are entries, break after so many bytes.
    pub cuts: Vec<usize>,
    /// The next requests, as many as there are entries, get these statuses.
    pub statuses: Vec<u16>,
}

impl WebServer {
    /// Starts a server without files.
    pub fn start() -> Self {
        let (server, state) = HttpServer::of(State::answer);
        Self { server, state }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// Serves bytes at a path.
    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.put_file(
            path,
            WebFile {
                body: body.into(),
                ..WebFile::default()
            },
        );
    }

    /// Serves a file at a path.
    pub fn put_file(&self, path: &str, file: WebFile) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.files.insert(path.to_owned(), file);
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Request> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.clone()
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Response {
        let response = match self.files.get_mut(&request.path) {
            Some(file) => serve(file, &request),
            None => Response::new(404),
        };
        self.requests.push(request);
        response
    }
}

fn serve(file: &mut WebFile, request: &Request) -> Response {
    if let Some(status) = file.statuses.pop() {
        return Response::new(status);
    }
    if let Some(target) = &file.redirect {
        return Response::new(302).header("Location", target);
    }
    if file.authorization.is_some()
        && file.authorization.as_deref() != request.header("authorization")
    {
        return Response::new(401);
    }
    let known = |header: &str, value: &Option<String>| {
        value.is_some() && request.header(header) == value.as_deref()
    };
    if known("if-none-match", &file.etag) || known("if-modified-since", &file.last_modified) {
        return Response::new(304);
    }
    let mut response = Response::new(200).body(file.body.clone());
    if known("if-range", &file.etag) {
        let start = request.header("range").and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        });
        if let Some(start) = start {
            let length = file.body.len();
            response.status = 206;
            response.range = Some((start, length));
            response = response.header(
                "Content-Range",
                format!("bytes {start}-{}/{length}", length - 1),
            );
        }
    }
    for (name, value) in [("ETag", &file.etag), ("Last-Modified", &file.last_modified)] {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    response.cut_after = file.cuts.pop();
    response
}

//! Services that keep blobs, in this process: what S3, Azure and GitHub Actions have in common with a cache.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::http_server::{HttpServer, Request, Response, decode};

/// The path of the second version of the protocol of GitHub's cache.
const TWIRP: &str = "/twirp/github.actions.results.api.v1.CacheService/";
/// The path of the first.
const ARTIFACTS: &str = "/_apis/artifactcache/";
/// When objects were written that are new.
const NEW: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
/// When objects were written that are old.
const OLD: &str = "Thu, 01 Jan 2015 00:00:00 GMT";

/// A server on a port of the loopback network that speaks three protocols, until it is dropped.
///
/// Objects are put, got and looked at by URLs that must be signed; whether the signature is right is not
/// looked at. Entries of GitHub's cache take the token `token`.
pub struct ObjectServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    address: String,
    /// What was put, and whether long ago.
    objects: BTreeMap<String, (Vec<u8>, bool)>,
    entries: Vec<Entry>,
    faults: Vec<(String, u16)>,
    /// The next copy begins with success and fails then.
    copy_fails: bool,
    /// What is answered to who opens an entry, if none is to be opened.
    refusal: Option<(u16, Value)>,
    requests: Vec<String>,
}

/// An entry of GitHub's cache: its bytes are the object of its number.
struct Entry {
    key: String,
    version: String,
    is_committed: bool,
}

impl ObjectServer {
    /// Starts a server that keeps nothing yet.
    pub fn start() -> Self {
        let (server, state) = HttpServer::of(State::answer);
        let address = server.address().to_string();
        let this = Self { server, state };
        this.state().address = address;
        this
    }

    /// Returns the URL of the service, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Puts an object.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state()
            .objects
            .insert(path.to_owned(), (bytes.into(), false));
    }

    /// Returns an object.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.state()
            .objects
            .get(path)
            .map(|(bytes, _)| bytes.clone())
    }

    /// Returns how many objects were written long ago.
    pub fn old_count(&self) -> usize {
        self.state()
            .objects
            .values()
            .filter(|(_, is_old)| *is_old)
            .count()
    }

    /// Makes every object one that was written long ago.
    pub fn make_old(&self) {
        self.state()
            .objects
            .values_mut()
            .for_each(|(_, is_old)| *is_old = true);
    }

    /// Answers the next request that begins so, as `PUT /b/blobs`, with a status, and says in which region the bucket is.
    pub fn fail_next(&self, request: &str, status: u16) {
        self.state().faults.push((request.to_owned(), status));
    }

    /// Says of the next copy of an object, after it has said success, that it failed.
    pub fn fail_next_copy(&self) {
        self.state().copy_fails = true;
    }

    /// Answers so from now on to who wants to open an entry of GitHub's cache.
    pub fn refuse_entries(&self, status: u16, answer: Value) {
        self.state().refusal = Some((status, answer));
    }

    /// Returns how many requests began so.
    pub fn count(&self, request: &str) -> usize {
        let state = self.state();
        state
            .requests
            .iter()
            .filter(|line| line.starts_with(request))
            .count()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Response {
        let request = &request;
        let line = format!("{} {}", request.method, request.path);
        let fault = self.faults.iter().position(|(of, _)| line.starts_with(of));
        self.requests.push(line);
        if let Some(place) = fault {
            let status = self.faults.remove(place).1;
            return Response::new(status).header("x-amz-bucket-region", "eu-west-1");
        }
        let is_entry = request.path.starts_with(TWIRP) || request.path.starts_with(ARTIFACTS);
        if !is_entry {
            return self.object(request);
        }
        if request.header("authorization") != Some("Bearer token") {
            return answered(401, &json!({ "msg": "the token is wrong" }));
        }
        let asked = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let opens = ["CreateCacheEntry", "/caches"];
        if let Some((status, answer)) = &self.refusal
            && opens.iter().any(|end| request.path.ends_with(end))
        {
            return answered(*status, answer);
        }
        match request.path.strip_prefix(TWIRP) {
            Some(method) => self.second_version(method, &asked),
            None => self.first_version(request, &asked),
        }
    }

    fn object(&mut self, request: &Request) -> Response {
        let is_signed = ["X-Amz-Signature", "sig"]
            .iter()
            .any(|name| request.query(name).is_some_and(|value| !value.is_empty()));
        if !is_signed {
            return Response::new(403).body("<Error><Message>it is not signed</Message></Error>");
        }
        if request.query("restype") == Some("container") {
            return Response::new(201);
        }
        let path = request.path.clone();
        let found = self.objects.get_mut(&path);
        match (request.method.as_str(), found) {
            ("PUT", found) if request.header("x-amz-copy-source").is_some() => {
                let source = request.header("x-amz-copy-source").map(decode);
                let itself = source.as_ref() == Some(&path);
                let changes = request.header("x-amz-metadata-directive") == Some("REPLACE");
                if std::mem::take(&mut self.copy_fails) {
                    return Response::new(200).body("<Error><Code>InternalError</Code></Error>");
                }
                match found {
                    Some((_, is_old)) if itself && changes => {
                        *is_old = false;
                        Response::new(200)
                    }
                    _ => Response::new(400),
                }
            }
            ("PUT", _) => {
                let announced = request
                    .header("content-length")
                    .and_then(|text| text.parse().ok());
                if announced != Some(request.body.len()) {
                    return Response::new(411);
                }
                self.objects.insert(path, (request.body.clone(), false));
                Response::new(201)
            }
            ("GET" | "HEAD", Some((bytes, is_old))) => Response::new(200)
                .header("Last-Modified", if *is_old { OLD } else { NEW })
                .body(bytes.clone()),
            ("GET" | "HEAD", None) => {
                Response::new(404).body("<Error><Code>NoSuchKey</Code></Error>")
            }
            _ => Response::new(405),
        }
    }

    /// Finds the entry of a key, or the newest whose key begins as one of the others.
    fn find(&self, key: &str, beginnings: &[&str], version: &str) -> Option<usize> {
        let found = |matches: &dyn Fn(&str) -> bool| {
            self.entries.iter().rposition(|entry| {
                entry.is_committed && entry.version == version && matches(&entry.key)
            })
        };
        let beginning = |start: &&str| found(&|known| known.starts_with(*start));
        found(&|known| known == key).or_else(|| beginnings.iter().find_map(beginning))
    }

    fn reserve(&mut self, asked: &Value) -> Option<usize> {
        let (key, version) = (text(asked, "key"), text(asked, "version"));
        let mut same = self.entries.iter();
        if same.any(|entry| entry.key == key && entry.version == version) {
            return None;
        }
        self.entries.push(Entry {
            key,
            version,
            is_committed: false,
        });
        Some(self.entries.len() - 1)
    }

    /// Says that an entry is whole, if its bytes are as many as are said.
    fn commit(&mut self, number: usize, size: Option<u64>) -> bool {
        let sent = self
            .objects
            .get(&entry_path(number))
            .map(|(bytes, _)| bytes.len() as u64);
        let is_whole = sent.is_some() && sent == size;
        if let Some(entry) = self.entries.get_mut(number) {
            entry.is_committed |= is_whole;
        }
        is_whole
    }

    fn entry_url(&self, number: usize) -> String {
        format!("http://{}{}?sig=entry", self.address, entry_path(number))
    }

    fn second_version(&mut self, method: &str, asked: &Value) -> Response {
        let (key, version) = (text(asked, "key"), text(asked, "version"));
        match method {
            "CreateCacheEntry" => match self.reserve(asked) {
                Some(number) => answered(
                    200,
                    &json!({ "ok": true, "signed_upload_url": self.entry_url(number) }),
                ),
                None => answered(
                    409,
                    &json!({ "code": "already_exists", "msg": "the key exists" }),
                ),
            },
            "FinalizeCacheEntryUpload" => {
                let number = self
                    .entries
                    .iter()
                    .position(|entry| entry.key == key && entry.version == version);
                let size = &asked["size_bytes"];
                let size = size.as_u64().or_else(|| size.as_str()?.parse().ok());
                let is_whole = number.is_some_and(|number| self.commit(number, size));
                answered(200, &json!({ "ok": is_whole, "entry_id": "1" }))
            }
            "GetCacheEntryDownloadURL" => {
                match self.find(&key, &texts(asked, "restore_keys"), &version) {
                    Some(number) => answered(
                        200,
                        &json!({
                            "ok": true,
                            "signed_download_url": self.entry_url(number),
                            "matched_key": self.entries[number].key,
                        }),
                    ),
                    None => answered(200, &json!({ "ok": false })),
                }
            }
            _ => answered(
                404,
                &json!({ "code": "bad_route", "msg": "there is no such method" }),
            ),
        }
    }

    fn first_version(&mut self, request: &Request, asked: &Value) -> Response {
        let path = request.path.strip_prefix(ARTIFACTS).unwrap_or_default();
        let number = || path.strip_prefix("caches/")?.parse::<usize>().ok();
        match (request.method.as_str(), path, number()) {
            ("GET", "cache", _) => {
                let key = small(request.query("keys").unwrap_or_default());
                let keys: Vec<&str> = key.split(',').collect();
                match self.find(keys[0], &keys, request.query("version").unwrap_or_default()) {
                    Some(number) => {
                        let location = self.entry_url(number);
                        let key = &self.entries[number].key;
                        answered(
                            200,
                            &json!({ "cacheKey": key, "archiveLocation": location, "scope": "s" }),
                        )
                    }
                    None => Response::new(204),
                }
            }
            ("POST", "caches", _) => match self.reserve(&with_small_key(asked)) {
                Some(number) => answered(201, &json!({ "cacheId": number })),
                None => answered(409, &json!({ "message": "the key exists" })),
            },
            ("PATCH", _, Some(number)) => {
                let range = request.header("content-range").unwrap_or_default();
                let start = range
                    .strip_prefix("bytes ")
                    .and_then(|range| range.split_once('-'));
                let start = start.and_then(|(start, _)| start.parse::<usize>().ok());
                let (bytes, _) = self.objects.entry(entry_path(number)).or_default();
                if start != Some(bytes.len()) {
                    return Response::new(416);
                }
                bytes.extend_from_slice(&request.body);
                Response::new(204)
            }
            ("POST", _, Some(number)) => match self.commit(number, asked["size"].as_u64()) {
                true => Response::new(204),
                false => answered(400, &json!({ "message": "it is not whole" })),
            },
            _ => answered(404, &json!({ "message": "there is no such path" })),
        }
    }
}

fn entry_path(number: usize) -> String {
    format!("/entries/{number}")
}

/// Writes a key as the servers of Gitea and Forgejo do.
fn small(key: &str) -> String {
    key.to_lowercase()
}

fn with_small_key(asked: &Value) -> Value {
    let mut asked = asked.clone();
    asked["key"] = small(&text(&asked, "key")).into();
    asked
}

fn text(document: &Value, name: &str) -> String {
    document[name].as_str().unwrap_or_default().to_owned()
}

fn texts<'a>(document: &'a Value, name: &str) -> Vec<&'a str> {
    let values = document[name].as_array().into_iter().flatten();
    values.filter_map(Value::as_str).collect()
}

fn answered(status: u16, document: &Value) -> Response {
    Response::new(status)
        .header("Content-Type", "application/json")
        .body(document.to_string())
}

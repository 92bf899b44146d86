//! The cache of GitHub Actions: entries that never change, by keys, of which the newest with a prefix can be asked for.
//!
//! The second version of the protocol is GitHub's of today. The first is what GitHub Enterprise Server, Gitea and
//! Forgejo have.

use std::io::Read;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, HeaderName};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use stagewright_oci::OutgoingBlob;

use super::azure::put_to;
use super::call::{Call, Caller};
use super::environment::ServiceEnvironment;
use super::error::ServiceError;
use super::object::{Object, ObjectRequest, given};
use super::place::{ActionsPlace, DEFAULT_NAME, Hidden};
use crate::answer::one_line;
use crate::blob_upload::{PushEvent, PushProgress};
use crate::reader_body::blocking;

/// What entries of ours are called: the service keeps those of other programs beside them.
const PREFIX: &str = "stagewright";
/// What makes entries comparable: the SHA-256 of `stagewright-cache-1`.
const VERSION: &str = "7795440e131ecd9b2ca3c624166f6f213b312d55b2c827547e8d77a651b8e5fd";
/// How much the first version of the protocol is sent at once.
const CHUNK_BYTES: usize = 32 * 1024 * 1024;
/// How many keys are tried for what several builds export at the same moment.
const NUMBERS_MAX: u128 = 32;
/// How long an export, or finding a cache, may take.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A cache of Actions, and who asks it.
#[derive(Debug)]
pub(super) struct Actions {
    api: Api,
    token: Hidden,
    scope: String,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
enum Api {
    V1(Url),
    V2(Url),
}

/// An entry that was opened for writing.
enum Reserved<'a> {
    /// The service, and the path of the entry there.
    V1(&'a Url, String),
    /// The service, and where the entry's bytes go.
    V2(&'a Url, Url),
}

impl Actions {
    /// What the service is called.
    pub(super) const SERVICE: &str = "the cache of GitHub Actions";

    pub(super) fn new(
        place: &ActionsPlace,
        environment: &ServiceEnvironment,
    ) -> Result<Self, ServiceError> {
        let token = place.token.as_ref().map(|Hidden(token)| token);
        let token = given(token, environment.get("ACTIONS_RUNTIME_TOKEN")).ok_or_else(|| {
            fail("there is no token: ACTIONS_RUNTIME_TOKEN is set in actions only, not in steps of `run:`; hand it on, or give token=")
        })?;
        let second = matches!(
            environment.get("ACTIONS_CACHE_SERVICE_V2"),
            Some("1" | "true" | "True" | "TRUE")
        );
        let version = match (place.version, &place.url_v2, &place.url) {
            (Some(version), ..) => version,
            (None, Some(_), _) => 2,
            (None, None, Some(_)) => 1,
            (None, None, None) if second => 2,
            (None, None, None) => 1,
        };
        let scope = place
            .scope
            .clone()
            .unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if scope.is_empty()
            || scope.len() > 256
            || scope.contains(['#', ','])
            || scope.chars().any(char::is_control)
        {
            return Err(fail("a scope is a short text without # and commas"));
        }
        let api = match version {
            2 => Api::V2(address(
                place.url_v2.as_ref(),
                environment,
                &["ACTIONS_RESULTS_URL"],
                "url_v2",
            )?),
            1 => Api::V1(address(
                place.url.as_ref(),
                environment,
                &["ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"],
                "url",
            )?),
            _ => return Err(fail("its version is 1 or 2")),
        };
        Ok(Self {
            api,
            token: Hidden(token),
            scope,
            timeout: place.timeout.unwrap_or(TIMEOUT),
        })
    }

    /// The names under which the manifests of this cache are.
    pub(super) fn names(&self) -> &[String] {
        std::slice::from_ref(&self.scope)
    }

    /// The beginning of the keys of an object. That of a blob is its key.
    fn key(object: &Object) -> String {
        match object {
            Object::Blob(digest) => format!("{PREFIX}-blob-1-{digest}"),
            Object::Manifest(name) => format!("{PREFIX}-index-1-{name}#"),
        }
    }

    /// Finds an object, the newest of a manifest, and returns where it can be read.
    pub(super) async fn find(
        &self,
        caller: &Caller,
        object: &Object,
    ) -> Result<Option<Url>, ServiceError> {
        let (key, what) = (Self::key(object), object.shown());
        let found = match &self.api {
            Api::V1(base) => self.find_v1(caller, base, &key, &what).await?,
            Api::V2(base) => self.find_v2(caller, base, &key, &what).await?,
        };
        let Some((found, url)) = found else {
            return Ok(None);
        };
        // A key is taken as the beginning of one in any case, and some services write all in small letters.
        let is_meant = match object {
            Object::Blob(_) => found == key,
            Object::Manifest(_) => found.to_lowercase().starts_with(&key.to_lowercase()),
        };
        if !is_meant {
            return Ok(None);
        }
        let url = Url::parse(&url)
            .map_err(|error| self.protocol(&what, format!("the address of an entry: {error}")))?;
        Ok(Some(url))
    }

    async fn find_v1(
        &self,
        caller: &Caller,
        base: &Url,
        key: &str,
        what: &str,
    ) -> Result<Option<(String, String)>, ServiceError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Found {
            cache_key: String,
            archive_location: String,
        }
        let mut call = self.call_v1(Method::GET, base, "cache", what)?;
        call.request
            .url
            .query_pairs_mut()
            .append_pair("keys", key)
            .append_pair("version", VERSION);
        let response = caller.call(&call).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let found: Found = caller.document(response, what).await?;
        Ok(Some((found.cache_key, found.archive_location)))
    }

    async fn find_v2(
        &self,
        caller: &Caller,
        base: &Url,
        key: &str,
        what: &str,
    ) -> Result<Option<(String, String)>, ServiceError> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            ok: bool,
            #[serde(default, alias = "signedDownloadUrl")]
            signed_download_url: String,
            #[serde(default, alias = "matchedKey")]
            matched_key: String,
        }
        let asked = json!({ "key": key, "restore_keys": [key], "version": VERSION });
        let call = self.call_v2(base, "GetCacheEntryDownloadURL", &asked, what)?;
        let found: Found = match caller.call_json(&call).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(found
            .ok
            .then_some((found.matched_key, found.signed_download_url)))
    }

    /// Writes an object that is not there yet. Nothing happens to a blob that somebody else is writing.
    pub(super) async fn write(
        &self,
        caller: &Caller,
        object: &Object,
        blob: &OutgoingBlob,
        progress: &PushProgress,
    ) -> Result<(), ServiceError> {
        let what = object.shown();
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let (first, start) = (since.as_millis(), Self::key(object));
        // Another build may export at the same moment.
        let keys: Vec<String> = match object {
            Object::Blob(_) => vec![start],
            Object::Manifest(_) => (first..first + NUMBERS_MAX)
                .map(|number| format!("{start}{number}"))
                .collect(),
        };
        let mut keys = keys.iter();
        let size = blob.descriptor.size;
        let (key, reserved) = loop {
            let Some(key) = keys.next() else {
                return match object {
                    Object::Blob(_) => Ok(()),
                    Object::Manifest(_) => {
                        Err(self.refused(&what, "the keys of this moment are taken".to_owned()))
                    }
                };
            };
            if let Some(reserved) = self.reserve(caller, key, size, &what).await? {
                break (key, reserved);
            }
        };
        match reserved {
            Reserved::V1(base, path) => {
                self.send_v1(caller, base, &path, blob, &what, progress)
                    .await
            }
            Reserved::V2(base, url) => {
                caller.put(&put_to(url), blob, &what, progress).await?;
                self.commit_v2(caller, base, key, size, &what).await
            }
        }
    }

    /// Opens an entry, if there is none of this key.
    async fn reserve(
        &self,
        caller: &Caller,
        key: &str,
        size: u64,
        what: &str,
    ) -> Result<Option<Reserved<'_>>, ServiceError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            ok: bool,
            #[serde(default)]
            message: String,
            #[serde(default, alias = "signedUploadUrl")]
            signed_upload_url: String,
            #[serde(default, alias = "cacheId")]
            cache_id: Option<u64>,
        }
        let call = match &self.api {
            Api::V1(base) => {
                let asked = json!({ "key": key, "version": VERSION, "cacheSize": size });
                self.call_v1(Method::POST, base, "caches", what)?
                    .json(&asked)
            }
            Api::V2(base) => {
                let asked = json!({ "key": key, "version": VERSION });
                self.call_v2(base, "CreateCacheEntry", &asked, what)?
            }
        };
        let answer: Answer = match caller.call_json(&call).await {
            Ok(answer) => answer,
            Err(ServiceError::Status { status: 409, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(match &self.api {
            Api::V1(base) => {
                let id = answer.cache_id.ok_or_else(|| {
                    self.protocol(what, "it opened an entry and gave it no id".to_owned())
                })?;
                Some(Reserved::V1(base, format!("caches/{id}")))
            }
            // One that is there is 409.
            Api::V2(_) if !answer.ok => return Err(self.refused(what, answer.message)),
            Api::V2(base) => {
                let url = Url::parse(&answer.signed_upload_url).map_err(|error| {
                    self.protocol(what, format!("the address to send to: {error}"))
                })?;
                Some(Reserved::V2(base, url))
            }
        })
    }

    async fn commit_v2(
        &self,
        caller: &Caller,
        base: &Url,
        key: &str,
        size: u64,
        what: &str,
    ) -> Result<(), ServiceError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            ok: bool,
            #[serde(default)]
            message: String,
        }
        let asked = json!({ "key": key, "size_bytes": size, "version": VERSION });
        let call = self.call_v2(base, "FinalizeCacheEntryUpload", &asked, what)?;
        let answer: Answer = caller.call_json(&call).await?;
        match answer.ok {
            true => Ok(()),
            false => Err(self.refused(what, answer.message)),
        }
    }

    /// Sends an entry in chunks, and says that this was all.
    async fn send_v1(
        &self,
        caller: &Caller,
        base: &Url,
        path: &str,
        blob: &OutgoingBlob,
        what: &str,
        progress: &PushProgress,
    ) -> Result<(), ServiceError> {
        let local = |source| ServiceError::Local {
            what: what.to_owned(),
            source,
        };
        let opened = blob.clone();
        let mut reader = blocking(move || opened.open()).await.map_err(local)?;
        let mut offset = 0;
        loop {
            let left = usize::try_from(blob.descriptor.size.saturating_sub(offset));
            // A byte more, so that the end is seen without growing.
            let room = left.map_or(CHUNK_BYTES, |left| CHUNK_BYTES.min(left + 1));
            let read = blocking(move || {
                let mut chunk = Vec::with_capacity(room);
                reader
                    .by_ref()
                    .take(CHUNK_BYTES as u64)
                    .read_to_end(&mut chunk)?;
                Ok((reader, chunk))
            });
            let (next, chunk) = read.await.map_err(local)?;
            reader = next;
            if chunk.is_empty() {
                break;
            }
            let end = offset + chunk.len() as u64;
            let mut call = self
                .call_v1(Method::PATCH, base, path, what)?
                .body("application/octet-stream", chunk.into());
            let range = format!("bytes {offset}-{}/*", end - 1);
            call.request.headers.push((CONTENT_RANGE, range));
            caller.call(&call).await?;
            offset = end;
            progress(PushEvent::Sent {
                descriptor: blob.descriptor.clone(),
                bytes: offset,
            });
        }
        let call = self
            .call_v1(Method::POST, base, path, what)?
            .json(&json!({ "size": offset }));
        caller.call(&call).await.map(drop)
    }

    fn call_v1<'a>(
        &self,
        method: Method,
        base: &Url,
        path: &str,
        what: &'a str,
    ) -> Result<Call<'a>, ServiceError> {
        let url = self.joined(base, &format!("_apis/artifactcache/{path}"), what)?;
        let headers = vec![
            self.authorization(),
            (
                ACCEPT,
                "application/json;api-version=6.0-preview.1".to_owned(),
            ),
        ];
        let request = ObjectRequest {
            method,
            url,
            headers,
        };
        Ok(Call::new(request, what))
    }

    fn call_v2<'a>(
        &self,
        base: &Url,
        method: &str,
        document: &serde_json::Value,
        what: &'a str,
    ) -> Result<Call<'a>, ServiceError> {
        let path = format!("twirp/github.actions.results.api.v1.CacheService/{method}");
        let url = self.joined(base, &path, what)?;
        let request = ObjectRequest {
            headers: vec![self.authorization()],
            ..ObjectRequest::new(Method::POST, url)
        };
        Ok(Call::new(request, what).json(document))
    }

    fn authorization(&self) -> (HeaderName, String) {
        (AUTHORIZATION, format!("Bearer {}", self.token.0))
    }

    fn joined(&self, base: &Url, path: &str, what: &str) -> Result<Url, ServiceError> {
        base.join(path)
            .map_err(|error| self.protocol(what, error.to_string()))
    }

    fn refused(&self, what: &str, message: String) -> ServiceError {
        ServiceError::Refused {
            service: Self::SERVICE,
            what: what.to_owned(),
            message: one_line(&message),
        }
    }

    fn protocol(&self, what: &str, reason: String) -> ServiceError {
        ServiceError::Protocol {
            service: Self::SERVICE,
            what: what.to_owned(),
            reason,
        }
    }
}

/// Reads the address of the service, whose path ends with a slash.
fn address(
    option: Option<&String>,
    environment: &ServiceEnvironment,
    variables: &[&str],
    name: &str,
) -> Result<Url, ServiceError> {
    let variable = variables.iter().find_map(|name| environment.get(name));
    let text = given(option, variable).ok_or_else(|| {
        fail(&format!(
            "it needs {name}=, or the variable {}",
            variables[0]
        ))
    })?;
    let wrong = |reason: String| fail(&format!("its address {text:?}: {reason}"));
    let mut url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(
            "it begins neither with http:// nor with https://".to_owned(),
        ));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn fail(reason: &str) -> ServiceError {
    ServiceError::Settings {
        service: Actions::SERVICE,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_chosen_as_buildx_chooses_it() {
        let open = |place: &ActionsPlace, variables: &[(&str, &str)]| {
            Actions::new(place, &ServiceEnvironment::with(variables))
                .map(|actions| match actions.api {
                    Api::V1(url) => format!("1 {url}"),
                    Api::V2(url) => format!("2 {url}"),
                })
                .map_err(|error| error.to_string())
        };
        let (token, one, two) = (
            ("ACTIONS_RUNTIME_TOKEN", "t"),
            ("ACTIONS_CACHE_URL", "http://h/one"),
            ("ACTIONS_RESULTS_URL", "http://h/two/"),
        );
        let none = ActionsPlace::default();
        assert_eq!(open(&none, &[token, one, two]).unwrap(), "1 http://h/one/");
        let second = ("ACTIONS_CACHE_SERVICE_V2", "true");
        assert_eq!(
            open(&none, &[token, one, two, second]).unwrap(),
            "2 http://h/two/"
        );
        let place = ActionsPlace {
            url_v2: Some("http://x".to_owned()),
            token: Some(Hidden("t".to_owned())),
            ..none.clone()
        };
        assert_eq!(open(&place, &[one]).unwrap(), "2 http://x/");
        for (place, variables, expected) in [
            (none.clone(), vec![], "there is no token"),
            (none.clone(), vec![token], "the variable ACTIONS_CACHE_URL"),
            (
                none.clone(),
                vec![token, second],
                "the variable ACTIONS_RESULTS_URL",
            ),
            (
                ActionsPlace {
                    version: Some(3),
                    ..none.clone()
                },
                vec![token],
                "its version is 1 or 2",
            ),
            (
                ActionsPlace {
                    scope: Some("a#b".to_owned()),
                    ..none.clone()
                },
                vec![token],
                "a scope is",
            ),
            (
                ActionsPlace {
                    url: Some("x".to_owned()),
                    ..none
                },
                vec![token],
                "its address \"x\"",
            ),
        ] {
            let error = open(&place, &variables).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

//! Uploading a blob: not if it is there, mounted if it is next door, resumed where it broke.

use std::sync::Arc;

use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode, Url};
use stagewright_oci::{Descriptor, OutgoingBlob, Reference};

use crate::answer::header;
use crate::endpoint::Endpoint;
use crate::error::FetchError;
use crate::reader_body::{ReaderBody, prepare};
use crate::registry_auth::{Access, host_of};
use crate::registry_call::{Call, CallBody, Failure, Target, checked};
use crate::registry_client::RegistryClient;
use crate::retry::{Backoff, Retry};
use crate::transport::{UPLOAD_SILENCE, standstill};

/// What happens to a blob that is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// The registry has it already.
    Exists(Descriptor),
    /// The registry has it in another repository and took it over from there.
    Mounted(Descriptor),
    /// So many of its bytes have been sent.
    Sent {
        /// The blob.
        descriptor: Descriptor,
        /// The bytes that have been sent, of the descriptor's size.
        bytes: u64,
    },
}

/// Is told what happens to each blob.
pub type PushProgress = Arc<dyn Fn(PushEvent) + Send + Sync>;

/// One blob to one repository.
pub(crate) struct Upload {
    pub(crate) client: RegistryClient,
    pub(crate) endpoint: Endpoint,
    pub(crate) blob: OutgoingBlob,
    /// Repositories of the same registry that may have it.
    pub(crate) mount_from: Vec<Reference>,
    pub(crate) progress: PushProgress,
}

impl Upload {
    /// Uploads the blob.
    pub(crate) async fn run(&self) -> Result<(), FetchError> {
        let semaphore = self.client.transfers(&self.endpoint.host).await;
        let _turn = semaphore
            .acquire()
            .await
            .expect("because the semaphore is never closed");
        let descriptor = &self.blob.descriptor;
        if self.exists().await? {
            (self.progress)(PushEvent::Exists(descriptor.clone()));
            return Ok(());
        }
        let Some(mut location) = self.begin_or_mount().await? else {
            (self.progress)(PushEvent::Mounted(descriptor.clone()));
            return Ok(());
        };
        prepare(&self.blob)
            .await
            .map_err(|source| FetchError::Local {
                what: self.what(),
                source,
            })?;
        let mut offset = 0;
        let mut backoff = Backoff::new(self.client.transport().retries());
        loop {
            // All of it may have arrived though the answer did not.
            let sent = match offset == descriptor.size && offset > 0 {
                true => Ok(Some(location.clone())),
                false => self.send_from(&location, offset).await,
            };
            let failure = match sent {
                Ok(Some(next)) => match self.finish(&next).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                },
                // It took less than it was sent, and said so.
                Ok(None) => Failure {
                    error: self.protocol("it took only a part of the blob".to_owned()),
                    retry: Retry::After(None),
                },
                Err(failure) => failure,
            };
            backoff.pause(failure).await?;
            let before = offset;
            (location, offset) = self.where_it_broke(location).await?;
            if offset > before {
                backoff.reset();
            }
        }
    }

    fn what(&self) -> String {
        let name = self.endpoint.reference.familiar();
        format!("the blob {} of {name}", self.blob.descriptor.digest)
    }

    fn protocol(&self, reason: String) -> FetchError {
        FetchError::Protocol {
            registry: self.endpoint.registry.clone(),
            reference: self.what(),
            reason,
        }
    }

    async fn call(&self, method: Method, target: Target<'_>) -> Result<Response, FetchError> {
        let call = Call {
            method,
            target,
            headers: vec![(CONTENT_LENGTH, "0".to_owned())],
            body: CallBody::Empty,
            scope: &push_scope(&self.endpoint),
            what: &self.what(),
        };
        self.client.call(&self.endpoint, &call).await
    }

    async fn exists(&self) -> Result<bool, FetchError> {
        let path = format!(
            "{}/blobs/{}",
            self.endpoint.repository(),
            self.blob.descriptor.digest
        );
        let call = Call {
            method: Method::HEAD,
            target: Target::Path(&path),
            headers: Vec::new(),
            body: CallBody::Empty,
            scope: &push_scope(&self.endpoint),
            what: &self.what(),
        };
        match self.client.call(&self.endpoint, &call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Mounts the blob, or opens an upload and returns where it goes.
    async fn begin_or_mount(&self) -> Result<Option<Url>, FetchError> {
        let digest = self.blob.descriptor.digest;
        for from in &self.mount_from {
            let path = format!(
                "{}/blobs/uploads/?mount={digest}&from={}",
                self.endpoint.repository(),
                from.repository()
            );
            let scope = format!(
                "{} repository:{}:pull",
                push_scope(&self.endpoint),
                from.repository()
            );
            let call = Call {
                method: Method::POST,
                target: Target::Path(&path),
                headers: vec![(CONTENT_LENGTH, "0".to_owned())],
                body: CallBody::Empty,
                scope: &scope,
                what: &self.what(),
            };
            match self.client.call(&self.endpoint, &call).await {
                Ok(response) if response.status() == StatusCode::CREATED => return Ok(None),
                // It does not have it there, and opened an upload right away.
                Ok(response) => return self.location(&response).await.map(Some),
                // Who may not read the other repository may still upload.
                Err(error) => tracing::debug!("cannot mount {digest} from {from}: {error}"),
            }
        }
        self.begin().await.map(Some)
    }

    async fn begin(&self) -> Result<Url, FetchError> {
        let path = format!("{}/blobs/uploads/", self.endpoint.repository());
        let response = self.call(Method::POST, Target::Path(&path)).await?;
        self.location(&response).await
    }

    /// Returns where an upload goes on: every answer may move it.
    async fn location(&self, response: &Response) -> Result<Url, FetchError> {
        let text = header(response, LOCATION.as_str()).ok_or_else(|| {
            self.protocol(format!(
                "{} for an upload without a location",
                response.status()
            ))
        })?;
        let wrong = |reason: String| self.protocol(format!("the location {text:?}: {reason}"));
        let url = response
            .url()
            .join(text)
            .map_err(|error| wrong(error.to_string()))?;
        // Registries behind a proxy name themselves http by mistake; the connection stays as it was.
        let own = host_of(&url).is_some_and(|host| host == self.endpoint.host);
        if response.url().scheme() == "https" && url.scheme() != "https" && !own {
            return Err(wrong("it leads from https to http".to_owned()));
        }
        let mut url = url;
        if own && url.set_scheme(response.url().scheme()).is_err() {
            return Err(wrong("it is no web address".to_owned()));
        }
        Ok(url)
    }

    /// Sends the blob from an offset on, in one request. Returns where the upload goes on, or
    /// nothing if only a part of it arrived.
    async fn send_from(&self, location: &Url, offset: u64) -> Result<Option<Url>, Failure> {
        let size = self.blob.descriptor.size;
        let call = Call {
            method: Method::PATCH,
            target: Target::Url(location.clone()),
            headers: Vec::new(),
            body: CallBody::Empty,
            scope: &push_scope(&self.endpoint),
            what: &self.what(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        if offset > 0 {
            let range = format!("{offset}-{}", size.saturating_sub(1));
            let range = HeaderValue::from_str(&range).expect("because it has only digits");
            headers.insert(CONTENT_RANGE, range);
        }
        self.authorize(&call, location, &mut headers).await?;
        let (body, sending) = ReaderBody::start(&self.blob, offset, &self.progress);
        let again = |failure| Failure {
            retry: Retry::After(None),
            ..failure
        };
        let answer = sending.watch(UPLOAD_SILENCE, async {
            let endpoint = &self.endpoint;
            let sent = self
                .client
                .send_to(endpoint, &call, location, headers, Some(body));
            let response = sent.await.map_err(again)?;
            checked(endpoint, call.what, response).await
        });
        let answer = answer.await;
        if let Some(source) = sending.take_failure() {
            return Err(FetchError::Local {
                what: self.what(),
                source,
            }
            .into());
        }
        let response = answer.unwrap_or_else(|| {
            let error = FetchError::Unreachable {
                registry: self.endpoint.registry.clone(),
                reference: self.what(),
                reason: standstill(),
            };
            Err(again(error.into()))
        })?;
        let next = self.location(&response).await?;
        let taken = received(&response);
        Ok((taken.is_none_or(|taken| taken == size || size == 0)).then_some(next))
    }

    /// Adds the login, which belongs to the registry and not to wherever it takes uploads.
    async fn authorize(
        &self,
        call: &Call<'_>,
        location: &Url,
        headers: &mut HeaderMap,
    ) -> Result<(), FetchError> {
        if host_of(location).is_none_or(|host| host != self.endpoint.host) {
            return Ok(());
        }
        let access = Access {
            endpoint: &self.endpoint,
            scope: call.scope,
            credentials: &self.client.options().credentials,
            transport: self.client.transport(),
        };
        if let Some(value) = self.client.authorizer().header(&access).await? {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| self.protocol("a login with control characters".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// Names what was sent. After this the blob is there.
    async fn finish(&self, location: &Url) -> Result<(), Failure> {
        let mut url = location.clone();
        let digest = self.blob.descriptor.digest.to_string();
        url.query_pairs_mut().append_pair("digest", &digest);
        let call = Call {
            method: Method::PUT,
            target: Target::Url(url),
            headers: vec![(CONTENT_LENGTH, "0".to_owned())],
            body: CallBody::Empty,
            scope: &push_scope(&self.endpoint),
            what: &self.what(),
        };
        self.client.call_once(&self.endpoint, &call).await.map(drop)
    }

    /// Asks how much of an upload has arrived, or begins another where the registry has lost it.
    async fn where_it_broke(&self, location: Url) -> Result<(Url, u64), FetchError> {
        match self.call(Method::GET, Target::Url(location)).await {
            Ok(response) => {
                let received = received(&response).unwrap_or(0);
                if received <= self.blob.descriptor.size {
                    return Ok((self.location(&response).await?, received));
                }
            }
            Err(error) => tracing::debug!("the upload cannot be resumed: {error}"),
        }
        Ok((self.begin().await?, 0))
    }
}

/// Reads `Range: 0-N` of an answer to an upload, which says that N + 1 bytes have arrived.
///
/// A registry writes the same for one byte and for none; sending one byte too often is refused,
/// so that it counts as none.
fn received(response: &Response) -> Option<u64> {
    let range = header(response, "range")?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let last: u64 = range.split_once('-')?.1.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

/// Returns what a token must allow for pushing.
pub(crate) fn push_scope(endpoint: &Endpoint) -> String {
    format!("repository:{}:pull,push", endpoint.repository())
}

/// Says what a task that did not end means.
pub(crate) fn task_failure(endpoint: &Endpoint, error: &tokio::task::JoinError) -> FetchError {
    FetchError::Broken {
        registry: endpoint.registry.clone(),
        what: endpoint.reference.familiar(),
        attempts: 1,
        reason: error.to_string(),
    }
}

//! The client of registries (distribution specification), and resolving a reference.

use std::collections::HashMap;
use std::sync::Arc;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};
use stagewright_digest::Digest;
use stagewright_oci::media_type::MANIFEST_ACCEPT;
use stagewright_oci::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageError, ImageSummary, MANIFEST_BYTES_MAX, Manifest,
    Platform, Reference, summarize,
};
use tokio::sync::{Mutex, Semaphore};

use crate::answer::header;
use crate::endpoint::{Endpoint, pull_endpoints};
use crate::error::FetchError;
use crate::options::RegistryOptions;
use crate::registry_auth::Authorizer;
use crate::registry_call::{Call, CallBody, Failure, Target, connection_failure};
use crate::retry::{Backoff, Retry};
use crate::target::Boxed;
use crate::transport::Transport;

/// How many blobs are transferred with a host at once unless the options say otherwise.
const TRANSFERS_DEFAULT: usize = 4;
/// Indexes inside indexes are followed this deep.
const INDEX_DEPTH_MAX: u32 = 4;

/// A client of registries: connections, logins and what it has learnt about hosts.
///
/// Cheap to clone; clones share all of it. Needs a tokio runtime with I/O and time.
///
/// It is written here rather than taken from `oci-client`, because what makes a pull work in
/// practice lies in what that leaves out: mirrors and blocked registries, downloads that resume
/// where the connection broke, retries, credential helpers, the choice between HTTP and HTTPS for
/// each host, and logins that do not follow a redirect.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: RegistryOptions,
    transport: Transport,
    authorizer: Authorizer,
    /// The scheme that each insecure host turned out to speak. Held while a host is probed, so
    /// that it is probed once.
    schemes: Mutex<HashMap<String, &'static str>>,
    /// How many transfers each host may still take.
    transfers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// What a reference stands for: everything but the layers.
#[derive(Debug, Clone)]
pub struct ResolvedImage {
    /// The reference, pinned to the digest that it resolved to.
    pub reference: Reference,
    /// The image of the platform.
    pub summary: ImageSummary,
    /// The manifest of the platform.
    pub manifest: Descriptor,
    /// The bytes of the manifest.
    pub manifest_bytes: Vec<u8>,
    /// The bytes of the config.
    pub config_bytes: Vec<u8>,
    /// The registry or mirror that gave it.
    pub source: String,
}

/// A manifest or index as it came.
#[derive(Debug, Clone)]
pub struct FetchedDocument {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says.
    pub document: Document,
    /// The registry or mirror that gave it.
    pub source: String,
}

/// The manifest of a platform, found by a reference.
#[derive(Debug, Clone)]
pub struct FoundManifest {
    /// What the reference stands for: the index, or the manifest itself.
    pub root: Digest,
    /// What the manifest is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says.
    pub manifest: Manifest,
    /// The registry or mirror that gave it.
    pub source: String,
}

impl RegistryClient {
    /// Makes a client. Connects to nothing and reads no file until it is used.
    pub fn new(options: RegistryOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                transport: Transport::new(options.network.clone()),
                options,
                authorizer: Authorizer::default(),
                schemes: Mutex::default(),
                transfers: Mutex::default(),
            }),
        }
    }

    pub(crate) fn options(&self) -> &RegistryOptions {
        &self.inner.options
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        &self.inner.authorizer
    }

    pub(crate) fn schemes(&self) -> &Mutex<HashMap<String, &'static str>> {
        &self.inner.schemes
    }

    /// Returns what limits the transfers with a host.
    pub(crate) async fn transfers(&self, host: &str) -> Arc<Semaphore> {
        let limit = match self.inner.options.transfers_max {
            0 => TRANSFERS_DEFAULT,
            given => given,
        };
        let mut transfers = self.inner.transfers.lock().await;
        let semaphore = transfers
            .entry(host.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(limit)));
        Arc::clone(semaphore)
    }

    /// Finds out what a reference stands for on a platform: fetches the index, the manifest and
    /// the config, and no layer.
    pub fn resolve<'a>(
        &'a self,
        reference: &'a Reference,
        platform: &'a Platform,
    ) -> Boxed<'a, Result<ResolvedImage, FetchError>> {
        Box::pin(async move {
            let found = self.find_manifest(reference, platform).await?;
            let pinned = reference.with_digest(found.root);
            self.finish(pinned, found).await
        })
    }

    /// Fetches the manifest of a platform and nothing that it names. It may be of an artifact that is
    /// no image.
    pub fn find_manifest<'a>(
        &'a self,
        reference: &'a Reference,
        platform: &'a Platform,
    ) -> Boxed<'a, Result<FoundManifest, FetchError>> {
        Box::pin(self.find(reference, platform))
    }

    async fn find(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<FoundManifest, FetchError> {
        let mut found = self.fetch_document(reference).await?;
        let root = found.descriptor.digest;
        let image_error = |source| FetchError::Image {
            reference: reference.familiar(),
            source: Box::new(source),
        };
        for _ in 0..INDEX_DEPTH_MAX {
            let index = match found.document {
                Document::Manifest(manifest) => {
                    return Ok(FoundManifest {
                        root,
                        manifest: *manifest,
                        descriptor: found.descriptor,
                        bytes: found.bytes,
                        source: found.source,
                    });
                }
                Document::Index(index) => index,
            };
            let entry = index
                .select(platform)
                .map_err(|available| image_error(ImageError::no_platform(platform, &available)))?;
            found = self
                .fetch_document(&reference.with_digest(entry.digest))
                .await?;
        }
        Err(image_error(ImageError::Damaged {
            manifest: root,
            reason: format!("its indexes are nested more than {INDEX_DEPTH_MAX} deep"),
        }))
    }

    async fn finish(
        &self,
        reference: Reference,
        found: FoundManifest,
    ) -> Result<ResolvedImage, FetchError> {
        let config_bytes = self
            .fetch_bytes(&reference, &found.manifest.config, CONFIG_BYTES_MAX)
            .await?;
        let summary = summarize(
            found.root,
            found.descriptor.digest,
            &found.manifest,
            &config_bytes,
        )
        .map_err(|source| FetchError::Image {
            reference: reference.familiar(),
            source: Box::new(source),
        })?;
        Ok(ResolvedImage {
            reference,
            summary,
            manifest: found.descriptor,
            manifest_bytes: found.bytes,
            config_bytes,
            source: found.source,
        })
    }

    /// Fetches the manifest or index that a reference names, by its digest if it has one.
    pub fn fetch_document<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> Boxed<'a, Result<FetchedDocument, FetchError>> {
        Box::pin(self.document(reference))
    }

    async fn document(&self, reference: &Reference) -> Result<FetchedDocument, FetchError> {
        let endpoints = pull_endpoints(reference, self.options())?;
        let mut attempts = Vec::new();
        for endpoint in &endpoints {
            match self.fetch_document_from(endpoint, reference).await {
                Ok(document) => return Ok(document),
                Err(error) => attempts.push(error),
            }
        }
        Err(everywhere(reference.familiar(), attempts))
    }

    async fn fetch_document_from(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
    ) -> Result<FetchedDocument, FetchError> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(stagewright_oci::DEFAULT_TAG).to_owned(),
        };
        let path = format!("{}/manifests/{name}", endpoint.repository());
        let what = reference.familiar();
        let call = Call {
            method: Method::GET,
            target: Target::Path(&path),
            headers: vec![(ACCEPT, MANIFEST_ACCEPT.join(", "))],
            body: CallBody::Empty,
            scope: &pull_scope(endpoint),
            what: &what,
        };
        let (response, bytes) = self
            .call_for_bytes(endpoint, &call, MANIFEST_BYTES_MAX)
            .await?;
        let digest = Digest::of(&bytes);
        let sent = header(&response, "docker-content-digest").and_then(|text| text.parse().ok());
        let expected = reference.digest().copied().or(sent);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(FetchError::DigestMismatch {
                registry: endpoint.registry.clone(),
                expected,
                reason: format!("the manifest of {what} has the digest {digest}"),
            });
        }
        // A parameter such as a character set is no part of the type.
        let media_type = header(&response, CONTENT_TYPE.as_str()).map(|text| {
            text.split(';')
                .next()
                .unwrap_or(text)
                .trim()
                .to_ascii_lowercase()
        });
        let document = Document::parse(&bytes, media_type.as_deref()).map_err(|source| {
            FetchError::Document {
                reference: what.clone(),
                source: Box::new(source),
            }
        })?;
        Ok(FetchedDocument {
            descriptor: Descriptor::new(document.media_type(), digest, bytes.len() as u64),
            bytes,
            document,
            source: endpoint.registry.clone(),
        })
    }

    /// Asks a registry for the digest that a reference has now, without fetching the manifest
    /// where the registry can tell.
    pub fn current_digest<'a>(
        &'a self,
        reference: &'a Reference,
    ) -> Boxed<'a, Result<Digest, FetchError>> {
        Box::pin(self.digest(reference))
    }

    async fn digest(&self, reference: &Reference) -> Result<Digest, FetchError> {
        let endpoints = pull_endpoints(reference, self.options())?;
        let mut attempts = Vec::new();
        for endpoint in &endpoints {
            match self.head_digest(endpoint, reference).await {
                Ok(Some(digest)) => return Ok(digest),
                Ok(None) => match self.fetch_document_from(endpoint, reference).await {
                    Ok(document) => return Ok(document.descriptor.digest),
                    Err(error) => attempts.push(error),
                },
                Err(error) => attempts.push(error),
            }
        }
        Err(everywhere(reference.familiar(), attempts))
    }

    async fn head_digest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
    ) -> Result<Option<Digest>, FetchError> {
        let tag = reference.tag().unwrap_or(stagewright_oci::DEFAULT_TAG);
        let path = format!("{}/manifests/{tag}", endpoint.repository());
        let what = reference.familiar();
        let call = Call {
            method: Method::HEAD,
            target: Target::Path(&path),
            headers: vec![(ACCEPT, MANIFEST_ACCEPT.join(", "))],
            body: CallBody::Empty,
            scope: &pull_scope(endpoint),
            what: &what,
        };
        let response = self.call(endpoint, &call).await?;
        Ok(header(&response, "docker-content-digest").and_then(|text| text.parse().ok()))
    }

    /// Sends a request and reads its answer into memory, again if the connection breaks.
    async fn call_for_bytes(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
        bytes_max: u64,
    ) -> Result<(Response, Vec<u8>), FetchError> {
        let mut backoff = Backoff::new(self.transport().retries());
        loop {
            let result = match self.call_once(endpoint, call).await {
                Ok(response) => read_all(endpoint, call.what, response, bytes_max).await,
                Err(failure) => Err(failure),
            };
            match result {
                Ok(found) => return Ok(found),
                Err(failure) => backoff.pause(failure).await?,
            }
        }
    }
}

async fn read_all(
    endpoint: &Endpoint,
    what: &str,
    mut response: Response,
    bytes_max: u64,
) -> Result<(Response, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| Failure {
            retry: Retry::After(None),
            ..connection_failure(endpoint, what, error)
        })?;
        let Some(chunk) = chunk else {
            return Ok((response, bytes));
        };
        if (bytes.len() + chunk.len()) as u64 > bytes_max {
            return Err(FetchError::Protocol {
                registry: endpoint.registry.clone(),
                reference: what.to_owned(),
                reason: format!("its answer is longer than the {bytes_max} bytes that are read"),
            }
            .into());
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Puts together what all places said; of one place alone, its own error.
pub(crate) fn everywhere(reference: String, mut attempts: Vec<FetchError>) -> FetchError {
    match (attempts.pop(), attempts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            attempts.extend(last);
            FetchError::Everywhere {
                reference,
                attempts,
            }
        }
    }
}

/// Returns what a token must allow for pulling.
pub(crate) fn pull_scope(endpoint: &Endpoint) -> String {
    format!("repository:{}:pull", endpoint.repository())
}

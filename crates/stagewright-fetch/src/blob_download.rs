//! Downloading a blob: streamed, checked, resumed where the connection broke.

use std::io::Write;

use reqwest::header::RANGE;
use reqwest::{Method, Response, StatusCode};
use stagewright_oci::{Descriptor, Reference};

use crate::answer::part_begin;
use crate::endpoint::{Endpoint, pull_endpoints};
use crate::error::FetchError;
use crate::registry_call::{self, Call, CallBody, Failure, connection_failure};
use crate::registry_client::{RegistryClient, everywhere, pull_scope};
use crate::retry::{Backoff, Retry};
use crate::target::{Boxed, Opened, Target, Written};

/// Is told how many bytes of a transfer are through, from 0 to the blob's size.
pub type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

impl RegistryClient {
    /// Downloads a blob and returns the writer that holds all of it.
    ///
    /// `open` gives an empty writer; it is called again when a place turns out to send wrong bytes
    /// and another is asked. What it returns in the end has been checked: its bytes are those of
    /// the descriptor. The writer is written to from the runtime's threads, in pieces of at most
    /// some 100 KiB.
    pub async fn fetch_blob<W: Write + Send>(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        open: impl FnMut() -> std::io::Result<W> + Send,
        progress: Progress<'_>,
    ) -> Result<W, FetchError> {
        let mut opened = Opened::new(open);
        self.fetch_into(reference, descriptor, &mut opened, progress)
            .await?;
        Ok(opened.finish())
    }

    fn fetch_into<'a>(
        &'a self,
        reference: &'a Reference,
        descriptor: &'a Descriptor,
        target: &'a mut dyn Target,
        progress: Progress<'a>,
    ) -> Boxed<'a, Result<(), FetchError>> {
        Box::pin(async move {
            // A blob is asked for by its digest, so that mirrors for digests have it too.
            let pinned = reference.with_digest(descriptor.digest);
            let endpoints = pull_endpoints(&pinned, self.options())?;
            let mut attempts = Vec::new();
            for endpoint in &endpoints {
                let download = Download {
                    client: self,
                    endpoint,
                    descriptor,
                    what: format!("the blob {} of {}", descriptor.digest, reference.familiar()),
                    scope: pull_scope(endpoint),
                    progress,
                };
                match download.run(&mut *target).await {
                    Ok(()) => return Ok(()),
                    // A full disk is as full for the next place.
                    Err(error @ FetchError::Local { .. }) => return Err(error),
                    Err(error) => attempts.push(error),
                }
            }
            Err(everywhere(descriptor.digest.to_string(), attempts))
        })
    }

    /// Downloads a small blob into memory.
    pub async fn fetch_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        bytes_max: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if descriptor.size > bytes_max {
            return Err(FetchError::Protocol {
                registry: reference.registry().to_owned(),
                reference: reference.familiar(),
                reason: format!(
                    "{} is {} bytes long, more than the {bytes_max} that are read",
                    descriptor.digest, descriptor.size
                ),
            });
        }
        self.fetch_blob(reference, descriptor, || Ok(Vec::new()), &|_| {})
            .await
    }
}

/// One blob from one place.
struct Download<'a> {
    client: &'a RegistryClient,
    endpoint: &'a Endpoint,
    descriptor: &'a Descriptor,
    what: String,
    scope: String,
    progress: Progress<'a>,
}

impl Download<'_> {
    async fn run(&self, target: &mut dyn Target) -> Result<(), FetchError> {
        let mut writer = Written::new(target);
        writer.restart().map_err(|source| FetchError::Local {
            what: self.descriptor.digest.to_string(),
            source,
        })?;
        let semaphore = self.client.transfers(&self.endpoint.host).await;
        let _turn = semaphore
            .acquire()
            .await
            .expect("because the semaphore is never closed");
        let mut backoff = Backoff::new(self.client.transport().retries());
        let mut broken = 0;
        loop {
            let before = writer.bytes();
            match self.attempt(&mut writer).await {
                Ok(()) => break,
                Err(failure) => {
                    broken += 1;
                    // A slow line that breaks now and then still gets a large layer through.
                    if writer.bytes() > before {
                        backoff.reset();
                    }
                    let result = backoff.pause(failure).await;
                    result.map_err(|error| self.give_up(error, broken))?;
                }
            }
        }
        let (digest, bytes) = writer.finish();
        if digest == self.descriptor.digest && bytes == self.descriptor.size {
            return Ok(());
        }
        Err(self.mismatch(format!("{bytes} bytes with the digest {digest}")))
    }

    fn give_up(&self, error: FetchError, attempts: u32) -> FetchError {
        match error {
            FetchError::Unreachable {
                registry, reason, ..
            } if attempts > 1 => FetchError::Broken {
                registry,
                what: self.what.clone(),
                attempts,
                reason,
            },
            other => other,
        }
    }

    fn mismatch(&self, reason: String) -> FetchError {
        FetchError::DigestMismatch {
            registry: self.endpoint.registry.clone(),
            expected: self.descriptor.digest,
            reason,
        }
    }

    /// Asks for what is still missing and writes what comes.
    async fn attempt(&self, writer: &mut Written<'_>) -> Result<(), Failure> {
        let have = writer.bytes();
        let size = self.descriptor.size;
        if have == size && have > 0 {
            return Ok(());
        }
        let path = format!(
            "{}/blobs/{}",
            self.endpoint.repository(),
            self.descriptor.digest
        );
        let mut headers = Vec::new();
        if have > 0 {
            headers.push((RANGE, format!("bytes={have}-")));
        }
        let call = Call {
            method: Method::GET,
            target: registry_call::Target::Path(&path),
            headers,
            body: CallBody::Empty,
            scope: &self.scope,
            what: &self.what,
        };
        let mut response = self.client.call_once(self.endpoint, &call).await?;
        let mut skip = self.bytes_to_skip(&response, have)?;
        loop {
            let chunk = response.chunk().await.map_err(|error| Failure {
                retry: Retry::After(None),
                ..connection_failure(self.endpoint, &self.what, error)
            })?;
            let Some(chunk) = chunk else { break };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            let fresh = &chunk[skipped..];
            if writer.bytes() + fresh.len() as u64 > size {
                return Err(self.mismatch(format!("more than its {size} bytes")).into());
            }
            writer
                .write_all(fresh)
                .map_err(|source| FetchError::Local {
                    what: self.what.clone(),
                    source,
                })?;
            (self.progress)(writer.bytes());
        }
        if writer.bytes() == size {
            return Ok(());
        }
        // The answer ended well and is too short: a proxy that cut it, or a damaged store.
        Err(Failure {
            error: self.mismatch(format!("only {} of {size} bytes", writer.bytes())),
            retry: Retry::After(None),
        })
    }

    /// Returns how much of the answer is there already: none if the server resumes, else all that
    /// was had before.
    fn bytes_to_skip(&self, response: &Response, have: u64) -> Result<u64, Failure> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(have);
        }
        match part_begin(response) {
            Some(start) if start <= have => Ok(have - start),
            _ => Err(FetchError::Protocol {
                registry: self.endpoint.registry.clone(),
                reference: self.what.clone(),
                reason: format!("asked for the bytes from {have} on, it sent others"),
            }
            .into()),
        }
    }
}

//! Pushing an image: blobs at once, then manifests, then the tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use stagewright_digest::Digest;
use stagewright_oci::{OutgoingBlob, OutgoingImage, Reference, media_type};
use tokio::task::JoinSet;

use crate::answer::header;
use crate::blob_upload::{PushProgress, Upload, push_scope, task_failure};
use crate::endpoint::{Endpoint, push_endpoint};
use crate::error::FetchError;
use crate::registry_call::{Call, CallBody, Target};
use crate::registry_client::RegistryClient;
use crate::target::Boxed;

/// How an image is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Other images that are known to share blobs with this one, such as its base. What they have
    /// on the same registry is taken over there instead of being sent.
    pub mount_from: Vec<Reference>,
    /// Whether the image is left without a tag, to be had by its digest only.
    pub by_digest: bool,
}

impl RegistryClient {
    /// Pushes an image under all of its names and returns the digest by which it can be pulled.
    ///
    /// A tag moves last, when everything that it stands for is there.
    pub fn push<'a>(
        &'a self,
        image: &'a OutgoingImage,
        options: &'a PushOptions,
        progress: PushProgress,
    ) -> Boxed<'a, Result<Digest, FetchError>> {
        Box::pin(self.push_all(image, options, progress))
    }

    async fn push_all(
        &self,
        image: &OutgoingImage,
        options: &PushOptions,
        progress: PushProgress,
    ) -> Result<Digest, FetchError> {
        // Names of one repository share its blobs.
        let mut repositories: BTreeMap<String, Vec<&Reference>> = BTreeMap::new();
        for name in &image.names {
            repositories.entry(name.name()).or_default().push(name);
        }
        for names in repositories.values() {
            let endpoint = push_endpoint(names[0], self.options())?;
            self.push_blobs(&endpoint, image, options, &progress)
                .await?;
            self.push_manifests(&endpoint, image, names, options)
                .await?;
        }
        Ok(image.root().digest)
    }

    async fn push_blobs(
        &self,
        endpoint: &Endpoint,
        image: &OutgoingImage,
        options: &PushOptions,
        progress: &PushProgress,
    ) -> Result<(), FetchError> {
        let mount_from: Vec<_> = options
            .mount_from
            .iter()
            .filter(|from| from.registry() == endpoint.reference.registry())
            .filter(|from| from.repository() != endpoint.repository())
            .cloned()
            .collect();
        // Ends the other uploads when one fails, or when this future is dropped.
        let mut uploads = JoinSet::new();
        for blob in image.blobs() {
            // "Foreign" layers stay where their publisher keeps them.
            if is_document(blob) || !blob.descriptor.urls.is_empty() {
                continue;
            }
            let upload = Upload {
                client: self.clone(),
                endpoint: endpoint.clone(),
                blob: blob.clone(),
                mount_from: mount_from.clone(),
                progress: Arc::clone(progress),
            };
            uploads.spawn(async move { upload.run().await });
        }
        while let Some(result) = uploads.join_next().await {
            result.map_err(|error| task_failure(endpoint, &error))??;
        }
        Ok(())
    }

    async fn push_manifests(
        &self,
        endpoint: &Endpoint,
        image: &OutgoingImage,
        names: &[&Reference],
        options: &PushOptions,
    ) -> Result<(), FetchError> {
        let root = image.root().digest;
        let documents = image.blobs().iter().filter(|blob| is_document(blob));
        for document in documents {
            let digest = document.descriptor.digest;
            let tags: Vec<_> = names.iter().filter_map(|name| name.tag()).collect();
            if digest != root || options.by_digest || tags.is_empty() {
                self.put_manifest(endpoint, document, &digest.to_string())
                    .await?;
                continue;
            }
            for tag in tags {
                self.put_manifest(endpoint, document, tag).await?;
            }
        }
        Ok(())
    }

    async fn put_manifest(
        &self,
        endpoint: &Endpoint,
        document: &OutgoingBlob,
        name: &str,
    ) -> Result<(), FetchError> {
        let what = format!("the manifest {name} of {}", endpoint.reference.name());
        let mut bytes = Vec::new();
        document
            .open()
            .and_then(|mut reader| std::io::Read::read_to_end(&mut reader, &mut bytes))
            .map_err(|source| FetchError::Local {
                what: what.clone(),
                source,
            })?;
        let path = format!("{}/manifests/{name}", endpoint.repository());
        let call = Call {
            method: Method::PUT,
            target: Target::Path(&path),
            headers: vec![(CONTENT_TYPE, document.descriptor.media_type.clone())],
            body: CallBody::Bytes(Bytes::from(bytes)),
            scope: &push_scope(endpoint),
            what: &what,
        };
        let response = self.call(endpoint, &call).await?;
        let stored = header(&response, "docker-content-digest");
        let expected = document.descriptor.digest.to_string();
        if let Some(stored) = stored.filter(|stored| *stored != expected) {
            return Err(FetchError::Protocol {
                registry: endpoint.registry.clone(),
                reference: what,
                reason: format!("it stored {expected} as {stored}"),
            });
        }
        Ok(())
    }
}

/// Tells whether a blob is a manifest or index, which a registry keeps apart.
fn is_document(blob: &OutgoingBlob) -> bool {
    let name = &blob.descriptor.media_type;
    media_type::is_manifest(name) || media_type::is_index(name)
}

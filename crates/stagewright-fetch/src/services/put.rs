//! Sending a blob in one request, from its beginning again where the connection breaks.

use stagewright_oci::OutgoingBlob;

use super::call::{Caller, Failure};
use super::error::ServiceError;
use super::object::ObjectRequest;
use crate::blob_upload::PushProgress;
use crate::reader_body::{ReaderBody, prepare};
use crate::retry::Backoff;

/// S3 and Azure take no more than this in one request: 5 GiB, and a little less.
const BYTES_MAX: u64 = 5_000 * 1024 * 1024;

impl Caller {
    /// Sends a blob.
    pub(super) async fn put(
        &self,
        request: &ObjectRequest,
        blob: &OutgoingBlob,
        what: &str,
        progress: &PushProgress,
    ) -> Result<(), ServiceError> {
        if blob.descriptor.size > BYTES_MAX {
            let reason = format!(
                "{what} has {} bytes, more than the {BYTES_MAX} that are sent at once: use type=registry for this build",
                blob.descriptor.size
            );
            return Err(ServiceError::Settings {
                service: self.service,
                reason,
            });
        }
        let local = |source| ServiceError::Local {
            what: what.to_owned(),
            source,
        };
        prepare(blob).await.map_err(local)?;
        let mut backoff = Backoff::new(self.transport().retries());
        loop {
            match self.put_once(request, blob, what, progress).await {
                Ok(()) => return Ok(()),
                Err(failure) => backoff.pause(failure).await?,
            }
        }
    }

    async fn put_once(
        &self,
        request: &ObjectRequest,
        blob: &OutgoingBlob,
        what: &str,
        progress: &PushProgress,
    ) -> Result<(), Failure> {
        let (body, failure) = ReaderBody::start(blob, 0, progress);
        let response = self.send(request, Some(body), what).await;
        if let Some(source) = failure.take() {
            return Err(ServiceError::Local {
                what: what.to_owned(),
                source,
            }
            .into());
        }
        response.map(drop)
    }
}

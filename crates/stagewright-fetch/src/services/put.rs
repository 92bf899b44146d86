//! Sending a blob in one request, from its beginning again where the connection breaks.

use stagewright_oci::OutgoingBlob;

use super::call::{Caller, Failure};
use super::error::ServiceError;
use super::object::ObjectRequest;
use crate::blob_upload::PushProgress;
use crate::reader_body::{ReaderBody, prepare};
use crate::retry::Backoff;
use crate::transport::UPLOAD_SILENCE;

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
        let (body, sending) = ReaderBody::start(blob, 0, progress);
        let sent = self.send(request, Some(body), what);
        let response = sending.watch(UPLOAD_SILENCE, sent).await;
        if let Some(source) = sending.take_failure() {
            return Err(ServiceError::Local {
                what: what.to_owned(),
                source,
            }
            .into());
        }
        response.unwrap_or_else(|| Err(self.silent(what))).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use reqwest::{Method, Url};
    use stagewright_testkit::ObjectServer;

    use super::super::azure::put_to;
    use super::super::call::Call;
    use super::*;
    use crate::http_fetch::HttpClient;
    use crate::options::NetworkOptions;

    #[tokio::test]
    async fn what_is_sent_may_take_longer_than_a_connection_may_be_silent() {
        let server = ObjectServer::start();
        let caller = Caller {
            service: "it",
            http: HttpClient::new(NetworkOptions {
                silence_timeout: Duration::ZERO,
                ..NetworkOptions::default()
            }),
        };
        let url = Url::parse(&format!("{}/a?sig=x", server.url())).unwrap();
        let asked = ObjectRequest::new(Method::GET, url.clone());
        assert!(caller.send(&asked, None, "it").await.is_err());
        let blob = OutgoingBlob::bytes("text/plain", vec![b'x'; 1 << 20]);
        let progress: PushProgress = Arc::new(|_| {});
        let request = put_to(url);
        let put = caller.put(&request, &blob, "it", &progress).await;
        put.unwrap();
        assert_eq!(server.get("/a").map(|bytes| bytes.len()), Some(1 << 20));
        let call = Call::new(request, "it").body("text/plain", "y".into());
        caller.call(&call).await.unwrap();
        assert_eq!(server.get("/a").as_deref(), Some(&b"y"[..]));
    }
}

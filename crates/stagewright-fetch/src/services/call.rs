//! One request to a service: tried again where that may help, and what its answer means.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Response, StatusCode};
use serde::Deserialize;

use super::error::ServiceError;
use super::object::ObjectRequest;
use crate::answer::{ERROR_BYTES_MAX, header, one_line, retry_after, up_to};
use crate::error::with_causes;
use crate::http_fetch::HttpClient;
use crate::registry_auth::host_of;
use crate::retry::{Backoff, Retry};
use crate::transport::{Transport, UPLOAD_SILENCE, standstill};

/// Where S3 says in which region a bucket is, to who asks in another.
const BUCKET_REGION: &str = "x-amz-bucket-region";
/// A document is read up to this length.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Connections, and the service that they are to.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) service: &'static str,
    pub(super) http: HttpClient,
}

/// An attempt at a service that failed.
pub(super) type Failure = crate::retry::Failure<ServiceError>;

/// A small request, which can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) request: ObjectRequest,
    pub(super) body: Bytes,
    /// What is asked for, in messages.
    pub(super) what: &'a str,
}

impl<'a> Call<'a> {
    /// A request without a body.
    pub(super) fn new(request: ObjectRequest, what: &'a str) -> Self {
        Self {
            request,
            body: Bytes::new(),
            what,
        }
    }

    /// Gives it a document for a body.
    pub(super) fn json(self, document: &serde_json::Value) -> Self {
        self.body("application/json", document.to_string().into())
    }

    /// Gives it a body.
    pub(super) fn body(mut self, media_type: &str, body: Bytes) -> Self {
        let header = (CONTENT_TYPE, media_type.to_owned());
        self.request.headers.push(header);
        Self { body, ..self }
    }
}

impl Caller {
    pub(super) fn transport(&self) -> &Transport {
        self.http.transport()
    }

    /// Sends a request until it is answered with success, or cannot be.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Response, ServiceError> {
        let mut backoff = Backoff::new(self.transport().retries());
        loop {
            let body = (!call.body.is_empty()).then(|| Body::from(call.body.clone()));
            let sent = self.send(&call.request, body, call.what);
            // For requests of those connections that wait without an end.
            let sent = tokio::time::timeout(UPLOAD_SILENCE, sent).await;
            match sent.unwrap_or_else(|_| Err(self.silent(call.what))) {
                Ok(response) => return Ok(response),
                Err(failure) => backoff.pause(failure).await?,
            }
        }
    }

    /// Sends a request and reads its answer as a document.
    pub(super) async fn call_json<T: for<'d> Deserialize<'d>>(
        &self,
        call: &Call<'_>,
    ) -> Result<T, ServiceError> {
        let response = self.call(call).await?;
        self.document(response, call.what).await
    }

    /// Reads an answer as a document.
    pub(super) async fn document<T: for<'d> Deserialize<'d>>(
        &self,
        response: Response,
        what: &str,
    ) -> Result<T, ServiceError> {
        let bytes = up_to(response, DOCUMENT_BYTES_MAX).await;
        serde_json::from_slice(&bytes).map_err(|error| ServiceError::Protocol {
            service: self.service,
            what: what.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Sends a request once. The length of its body is said, which these services want. What writes may take long: the caller
    /// sees to it that it ends.
    pub(super) async fn send(
        &self,
        request: &ObjectRequest,
        body: Option<Body>,
        what: &str,
    ) -> Result<Response, Failure> {
        let settings = |reason: String| {
            Failure::from(ServiceError::Settings {
                service: self.service,
                reason,
            })
        };
        let host = host_of(&request.url)
            .ok_or_else(|| settings("its address names no host".to_owned()))?;
        let client = match request.method {
            Method::PUT | Method::PATCH => self.transport().upload_client(&host, false),
            _ => self.transport().client(&host, false),
        };
        let client = client.map_err(|error| settings(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| settings("a token or name has control characters".to_owned()))?;
            value.set_sensitive(*name == AUTHORIZATION);
            headers.insert(name.clone(), value);
        }
        if body.is_none() && request.method != Method::GET && request.method != Method::HEAD {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(headers);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let response = builder
            .send()
            .await
            .map_err(|error| self.broken(what, error))?;
        self.checked(what, response).await
    }

    /// Has a copy made. S3 says success before it copies, and then whether it could.
    pub(super) async fn copy(&self, call: &Call<'_>) -> Result<(), ServiceError> {
        let mut backoff = Backoff::new(self.transport().retries());
        loop {
            let response = self.call(call).await?;
            let body = up_to(response, ERROR_BYTES_MAX).await;
            if !String::from_utf8_lossy(&body).contains("<Error>") {
                return Ok(());
            }
            let failure = Failure {
                error: ServiceError::Refused {
                    service: self.service,
                    what: call.what.to_owned(),
                    message: said(&body),
                },
                retry: Retry::After(None),
            };
            backoff.pause(failure).await?;
        }
    }

    /// Says that a request came no further for [`UPLOAD_SILENCE`].
    pub(super) fn silent(&self, what: &str) -> Failure {
        Failure {
            error: ServiceError::Unreachable {
                service: self.service,
                what: what.to_owned(),
                reason: standstill(),
            },
            retry: Retry::After(None),
        }
    }

    fn broken(&self, what: &str, error: reqwest::Error) -> Failure {
        // The address may hold a signature.
        let error = error.without_url();
        let retry = Retry::of_connection(&error);
        Failure {
            error: ServiceError::Unreachable {
                service: self.service,
                what: what.to_owned(),
                reason: with_causes(&error),
            },
            retry,
        }
    }

    async fn checked(&self, what: &str, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = retry_after(response.headers());
        let (service, what) = (self.service, what.to_owned());
        let region = match status.as_u16() {
            301 | 307 | 400 => header(&response, BUCKET_REGION).map(one_line),
            _ => None,
        };
        let mut message = said(&up_to(response, ERROR_BYTES_MAX).await);
        // To `HEAD` nothing else is said.
        if let (true, Some(region)) = (message.is_empty(), region) {
            message = format!("the bucket is in the region {region}");
        }
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ServiceError::Denied {
                service,
                what,
                message,
            },
            StatusCode::NOT_FOUND => ServiceError::NotFound {
                service,
                what,
                message,
            },
            _ => ServiceError::Status {
                service,
                what,
                status: status.as_u16(),
                message,
            },
        };
        let retry = Retry::of_status(status, asked);
        Err(Failure { error, retry })
    }
}

/// Takes the text for a person out of an error answer: S3 and Azure write XML, GitHub and those that speak its protocol JSON.
fn said(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Answer {
        msg: String,
        message: String,
        error: String,
    }
    let text = String::from_utf8_lossy(body);
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => {
            let texts = [answer.msg, answer.message, answer.error];
            texts
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        }
        Err(_) => ["<Message>", "<Code>"]
            .iter()
            .find_map(|tag| Some(text.split_once(tag)?.1.split('<').next()?.to_owned()))
            .unwrap_or_default(),
    };
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_answers_are_read() {
        for (body, expected) in [
            (
                "<Error><Code>AccessDenied</Code><Message>no\nway</Message></Error>",
                "no way",
            ),
            ("<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey"),
            (
                r#"{"code":"already_exists","msg":"it is there"}"#,
                "it is there",
            ),
            (r#"{"message":"no token"}"#, "no token"),
            (r#"{"error":"not reserved"}"#, "not reserved"),
            (r#"{"error":"teapot","message":"it is hot"}"#, "it is hot"),
            ("<html>oops</html>", ""),
            ("<Message>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), expected, "{body}");
        }
    }
}

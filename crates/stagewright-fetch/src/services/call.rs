//! One request to a service: tried again where that may help, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::error::ServiceError;
use super::object::ObjectRequest;
use crate::error::with_causes;
use crate::registry_auth::host_of;
use crate::registry_call::retry_after;
use crate::transport::{Backoff, Transport};

/// A document, or what is said of an error, is read up to this length.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// An error text is shown up to this length.
const MESSAGE_LENGTH_MAX: usize = 300;

/// Connections, and the service that they are to.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) service: &'static str,
    pub(super) transport: Transport,
}

/// An attempt that failed, and whether another may help.
pub(super) struct Failure {
    pub(super) error: ServiceError,
    /// How long the service asks to wait, if another may.
    pub(super) retry: Option<Option<Duration>>,
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self { error, retry: None }
    }
}

/// A small request, which can be sent again.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) request: ObjectRequest,
    pub(super) body: Bytes,
    /// What is asked for, in messages.
    pub(super) what: &'a str,
}

impl<'a> Call<'a> {
    /// Posts a document with a token.
    pub(super) fn post_json(
        url: Url,
        token: &str,
        document: &serde_json::Value,
        what: &'a str,
    ) -> Self {
        let headers = vec![
            (AUTHORIZATION, format!("Bearer {token}")),
            (
                HeaderName::from_static("content-type"),
                "application/json".to_owned(),
            ),
        ];
        Self {
            request: ObjectRequest {
                method: Method::POST,
                url,
                headers,
            },
            body: document.to_string().into(),
            what,
        }
    }
}

impl Caller {
    /// Sends a request until it is answered with success, or cannot be.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Response, ServiceError> {
        let mut backoff = Backoff::new(self.transport.retries());
        loop {
            let body = (!call.body.is_empty()).then(|| Body::from(call.body.clone()));
            match self.send(&call.request, body, call.what).await {
                Ok(response) => return Ok(response),
                Err(failure) => self.wait(&mut backoff, failure).await?,
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
        let bytes = bounded(response, DOCUMENT_BYTES_MAX).await;
        serde_json::from_slice(&bytes).map_err(|error| ServiceError::Protocol {
            service: self.service,
            what: what.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Waits before another attempt, or gives the failure back if there should be none.
    pub(super) async fn wait(
        &self,
        backoff: &mut Backoff<'_>,
        failure: Failure,
    ) -> Result<(), ServiceError> {
        let wait = failure.retry.and_then(|asked| backoff.next(asked));
        let Some(wait) = wait else {
            return Err(failure.error);
        };
        tracing::debug!("trying again in {wait:?}: {}", failure.error);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Sends a request once. The length of its body is said, which these services want.
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
        let client = self
            .transport
            .client(&host, false)
            .map_err(|error| settings(error.to_string()))?;
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

    fn broken(&self, what: &str, error: reqwest::Error) -> Failure {
        // The address may hold a signature.
        let error = error.without_url();
        let refused = error.is_connect() && !error.is_timeout();
        Failure {
            error: ServiceError::Unreachable {
                service: self.service,
                what: what.to_owned(),
                reason: with_causes(&error),
            },
            retry: (!refused).then_some(None),
        }
    }

    async fn checked(&self, what: &str, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = retry_after(response.headers());
        let (service, what) = (self.service, what.to_owned());
        let message = said(&bounded(response, DOCUMENT_BYTES_MAX).await);
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
        let retry = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(asked),
            _ => None,
        };
        Err(Failure { error, retry })
    }
}

/// Reads an answer up to a length. A connection that breaks leaves it short.
async fn bounded(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > bytes_max {
            break;
        }
    }
    bytes
}

/// Takes the text for a person out of an error answer: S3 and Azure write XML, GitHub JSON.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(alias = "message")]
        msg: String,
    }
    let text = String::from_utf8_lossy(body);
    let text = match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => answer.msg,
        Err(_) => ["<Message>", "<Code>"]
            .iter()
            .find_map(|tag| Some(text.split_once(tag)?.1.split('<').next()?.to_owned()))
            .unwrap_or_default(),
    };
    let clean = text.trim().chars().map(|character| match character {
        character if character.is_control() => ' ',
        character => character,
    });
    clean.take(MESSAGE_LENGTH_MAX).collect()
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
            ("<html>oops</html>", ""),
            ("<Message>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), expected, "{body}");
        }
    }
}

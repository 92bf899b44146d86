//! One request to a registry: connection, login, redirects, retries, and what the answer means.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;

use crate::answer::{ERROR_BYTES_MAX, one_line, retry_after, up_to};
use crate::challenge::Challenge;
use crate::endpoint::Endpoint;
use crate::error::{FetchError, with_causes};
use crate::registry_auth::{Access, host_of, transport_error};
use crate::registry_client::RegistryClient;
use crate::retry::{Backoff, Retry};
use crate::transport::UPLOAD_SILENCE;

/// Redirects are followed this often.
const REDIRECTS_MAX: u32 = 10;
/// How long a host may take to show whether it speaks TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a request sends.
#[derive(Debug, Clone)]
pub(crate) enum CallBody {
    /// Nothing.
    Empty,
    /// Bytes, which can be sent again.
    Bytes(Bytes),
}

/// A request that may be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// A path under `/v2/`, or a full URL that the registry gave.
    pub(crate) target: Target<'a>,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: CallBody,
    /// What a token must allow.
    pub(crate) scope: &'a str,
    /// What is asked for, in messages.
    pub(crate) what: &'a str,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) enum Target<'a> {
    /// Under `/v2/` of the endpoint.
    Path(&'a str),
    /// Where the registry said.
    Url(Url),
}

/// An attempt at a registry that failed.
pub(crate) type Failure = crate::retry::Failure<FetchError>;

impl RegistryClient {
    /// Sends a request until it is answered with success, or cannot be.
    pub(crate) async fn call(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
    ) -> Result<Response, FetchError> {
        let mut backoff = Backoff::new(self.transport().retries());
        loop {
            let failure = match self.call_once(endpoint, call).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            backoff.pause(failure).await?;
        }
    }

    /// Sends a request once, logging in and following redirects as needed.
    pub(crate) async fn call_once(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
    ) -> Result<Response, Failure> {
        let url = match &call.target {
            Target::Path(path) => {
                let base = self.base_url(endpoint, call.what).await?;
                base.join(path)
                    .map_err(|error| protocol(endpoint, call.what, error.to_string()))?
            }
            Target::Url(url) => url.clone(),
        };
        let access = Access {
            endpoint,
            scope: call.scope,
            credentials: &self.options().credentials,
            transport: self.transport(),
        };
        // The first answer may be a challenge, the second may refuse a token that has just ended.
        for _ in 0..2 {
            let header = self.authorizer().header(&access).await?;
            let response = self.send(endpoint, call, &url, header.as_deref()).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return checked(endpoint, call.what, response).await;
            }
            let values = response.headers().get_all("www-authenticate");
            let values = values.iter().filter_map(|value| value.to_str().ok());
            let Some(challenge) = Challenge::from_headers(values) else {
                return checked(endpoint, call.what, response).await;
            };
            self.authorizer()
                .refused(&access, challenge, header.as_deref())
                .await;
        }
        let header = self.authorizer().header(&access).await?;
        let response = self.send(endpoint, call, &url, header.as_deref()).await?;
        checked(endpoint, call.what, response).await
    }

    /// Sends a request and follows its redirects. Credentials never follow to another host.
    async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
        url: &Url,
        authorization: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut url = url.clone();
        let own = |url: &Url| host_of(url).is_some_and(|host| host == endpoint.host);
        for _ in 0..REDIRECTS_MAX {
            let mut headers = HeaderMap::new();
            for (name, value) in &call.headers {
                let value = HeaderValue::from_str(value)
                    .map_err(|error| protocol(endpoint, call.what, error.to_string()))?;
                headers.insert(name.clone(), value);
            }
            if let Some(value) = authorization
                && own(&url)
            {
                let mut value = HeaderValue::from_str(value).map_err(|_| {
                    protocol(
                        endpoint,
                        call.what,
                        "a login with control characters".to_owned(),
                    )
                })?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            let body = match &call.body {
                CallBody::Empty => None,
                CallBody::Bytes(bytes) => Some(Body::from(bytes.clone())),
            };
            let response = self.send_to(endpoint, call, &url, headers, body).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok(response);
            }
            url = redirect(endpoint, call.what, &url, &response)?;
        }
        let reason = format!("it redirects more than {REDIRECTS_MAX} times");
        Err(protocol(endpoint, call.what, reason).into())
    }

    /// Sends one request to one URL. Who sends much by `PATCH` sees to it that it ends.
    pub(crate) async fn send_to(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
        url: &Url,
        headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Response, Failure> {
        let host = host_of(url)
            .ok_or_else(|| protocol(endpoint, call.what, format!("{url} has no host")))?;
        let insecure = endpoint.insecure && host == endpoint.host;
        let writes = matches!(call.method, Method::PUT | Method::PATCH);
        let client = match writes {
            true => self.transport().upload_client(&host, insecure),
            false => self.transport().client(&host, insecure),
        };
        let client = client.map_err(|error| transport_error(endpoint, error))?;
        let mut request = client
            .request(call.method.clone(), url.clone())
            .headers(headers);
        // What a registry has got it may have to look at, or to move, before it answers.
        if call.method == Method::PUT {
            request = request.timeout(UPLOAD_SILENCE);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        request
            .send()
            .await
            .map_err(|error| connection_failure(endpoint, call.what, error))
    }

    /// Returns `scheme://host/v2/`, for an insecure host whichever scheme it speaks.
    pub(crate) async fn base_url(&self, endpoint: &Endpoint, what: &str) -> Result<Url, Failure> {
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/v2/", endpoint.host))
                .map_err(|error| Failure::from(protocol(endpoint, what, error.to_string())))
        };
        if endpoint.plain_http {
            return url("http");
        }
        if !endpoint.insecure {
            return url("https");
        }
        let mut schemes = self.schemes().lock().await;
        if let Some(scheme) = schemes.get(&endpoint.host) {
            return url(scheme);
        }
        let call = Call {
            method: Method::GET,
            target: Target::Path(""),
            headers: Vec::new(),
            body: CallBody::Empty,
            scope: "",
            what,
        };
        let mut first = None;
        for scheme in ["https", "http"] {
            let url = url(scheme)?;
            let sent = self.send_to(endpoint, &call, &url, HeaderMap::new(), None);
            let failure = match tokio::time::timeout(PROBE_TIMEOUT, sent).await {
                // What a server of TLS says to somebody who speaks without it.
                Ok(Ok(response)) if scheme == "http" && response.status() == 400 => continue,
                Ok(Ok(_)) => {
                    schemes.insert(endpoint.host.clone(), scheme);
                    return Ok(url);
                }
                Ok(Err(failure)) => failure,
                Err(_) => FetchError::Unreachable {
                    registry: endpoint.registry.clone(),
                    reference: what.to_owned(),
                    reason: format!("no answer within {} s", PROBE_TIMEOUT.as_secs()),
                }
                .into(),
            };
            first.get_or_insert(failure);
        }
        Err(first.expect("because https was tried first and failed"))
    }
}

fn protocol(endpoint: &Endpoint, what: &str, reason: String) -> FetchError {
    FetchError::Protocol {
        registry: endpoint.registry.clone(),
        reference: what.to_owned(),
        reason,
    }
}

fn redirect(
    endpoint: &Endpoint,
    what: &str,
    from: &Url,
    response: &Response,
) -> Result<Url, FetchError> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| {
        protocol(
            endpoint,
            what,
            format!("{} without a location", response.status()),
        )
    })?;
    let url = from.join(location).map_err(|error| {
        protocol(
            endpoint,
            what,
            format!("it redirects to {location:?}: {error}"),
        )
    })?;
    let downgrade = from.scheme() == "https" && url.scheme() != "https";
    if downgrade && !endpoint.insecure || !matches!(url.scheme(), "http" | "https") {
        let reason = format!("it redirects from https to {}", url.scheme());
        return Err(protocol(endpoint, what, reason));
    }
    Ok(url)
}

/// Says what a connection that failed means.
pub(crate) fn connection_failure(
    endpoint: &Endpoint,
    what: &str,
    error: reqwest::Error,
) -> Failure {
    let error = error.without_url();
    let reason = with_causes(&error);
    let registry = endpoint.registry.clone();
    let reference = what.to_owned();
    if reason.contains("invalid peer certificate") {
        return FetchError::Certificate {
            registry,
            reference,
            reason,
        }
        .into();
    }
    let retry = Retry::of_connection(&error);
    Failure {
        error: FetchError::Unreachable {
            registry,
            reference,
            reason,
        },
        retry,
    }
}

/// Lets success pass and says what every other answer means.
pub(crate) async fn checked(
    endpoint: &Endpoint,
    what: &str,
    response: Response,
) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    // The text is only for the message.
    let body = up_to(response, ERROR_BYTES_MAX).await;
    let message = message(&body);
    let (registry, reference) = (endpoint.registry.clone(), what.to_owned());
    let error = match status {
        StatusCode::UNAUTHORIZED => FetchError::Unauthorized {
            registry,
            reference,
            message,
        },
        StatusCode::FORBIDDEN => FetchError::Denied {
            registry,
            reference,
            message,
        },
        StatusCode::NOT_FOUND => FetchError::NotFound {
            registry,
            reference,
            message,
        },
        StatusCode::TOO_MANY_REQUESTS => FetchError::RateLimited {
            registry,
            reference,
            message,
            retry_after,
        },
        _ => FetchError::Status {
            registry,
            reference,
            status: status.as_u16(),
            message,
        },
    };
    let retry = Retry::of_status(status, retry_after);
    Err(Failure { error, retry })
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    #[serde(default)]
    details: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Takes the text for a person out of an error answer (distribution specification, "Error Codes").
pub(crate) fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(answer) => {
            let entries = answer.errors.into_iter().map(|entry| {
                if entry.message.is_empty() {
                    entry.code
                } else {
                    entry.message
                }
            });
            let texts = entries.chain([answer.details, answer.message]);
            texts
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        // A page for a browser says nothing that helps.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => String::new(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use stagewright_oci::Reference;
    use stagewright_testkit::ObjectServer;

    use super::*;
    use crate::answer::MESSAGE_LENGTH_MAX;
    use crate::endpoint::push_endpoint;
    use crate::options::RegistryOptions;

    #[tokio::test]
    async fn what_is_sent_may_take_longer_than_a_connection_may_be_silent() {
        // Whatever it answers: it answers.
        let server = ObjectServer::start();
        let url = Url::parse(&server.url()).unwrap();
        let host = host_of(&url).unwrap();
        let mut options = RegistryOptions::default();
        options.network.silence_timeout = Duration::ZERO;
        let reference: Reference = format!("{host}/a:1").parse().unwrap();
        let endpoint = push_endpoint(&reference, &options).unwrap();
        let client = RegistryClient::new(options);
        for (method, answers) in [
            (Method::GET, false),
            (Method::PATCH, true),
            (Method::PUT, true),
        ] {
            let call = Call {
                method: method.clone(),
                target: Target::Url(url.clone()),
                headers: Vec::new(),
                body: CallBody::Empty,
                scope: "",
                what: "it",
            };
            let body = Some(Body::from(vec![b'x'; 1 << 20]));
            let sent = client.send_to(&endpoint, &call, &url, HeaderMap::new(), body);
            assert_eq!(sent.await.is_ok(), answers, "{method}");
        }
    }

    #[test]
    fn error_answers_are_read() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}"#,
                "no; X",
            ),
            (r#"{"details":"bad name"}"#, "bad name"),
            ("<html>oops</html>", ""),
            ("plain\ntext\n", "plain text"),
            ("", ""),
        ] {
            assert_eq!(message(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(
            message("x".repeat(1000).as_bytes()).len(),
            MESSAGE_LENGTH_MAX
        );
    }
}

//! Files over HTTP, for `ADD https://…` and build contexts.

use std::io::Write;
use std::time::SystemTime;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url};
use stagewright_digest::Digest;
use thiserror::Error;

use crate::answer::{header, part_begin, retry_after};
use crate::blob_download::Progress;
use crate::error::with_causes;
use crate::options::NetworkOptions;
use crate::registry_auth::host_of;
use crate::retry::{Backoff, Retry};
use crate::target::{Boxed, Opened, Target, Written};
use crate::transport::Transport;

/// Redirects are followed this often.
const REDIRECTS_MAX: u32 = 10;

/// A client for files over HTTP.
#[derive(Debug)]
pub struct HttpClient {
    transport: Transport,
}

/// A file that is asked for.
#[derive(Debug, Clone, Default)]
pub struct HttpRequest {
    /// Where it is: `http://` or `https://`; a fragment is ignored.
    pub url: String,
    /// The value of an `Authorization` header. It is sent to the host of the URL and does not
    /// follow a redirect to another.
    pub authorization: Option<String>,
    /// What the last answer said that the file is. If it still is that, it is not sent again.
    pub known: HttpVersion,
    /// The digest that the file must have.
    pub expected: Option<Digest>,
    /// How long it may be.
    pub bytes_max: Option<u64>,
}

/// What a server says by which a file can be told from a later one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpVersion {
    /// The `ETag`, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified` as it was written.
    pub last_modified: Option<String>,
}

/// What a server answered.
#[derive(Debug)]
pub enum HttpAnswer<W> {
    /// The file is still the one that is known.
    NotModified,
    /// The file.
    File(HttpFile<W>),
}

/// A file that has come whole.
#[derive(Debug)]
pub struct HttpFile<W> {
    /// The writer that holds it.
    pub writer: W,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// By what it can be told from a later one.
    pub version: HttpVersion,
    /// When it was last changed, if the server says so.
    pub modified: Option<SystemTime>,
}

/// A file cannot be had.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The URL is none.
    #[error("{url:?} is not a web address: {reason}")]
    Url {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No connection, or one that kept breaking.
    #[error("cannot fetch {url}: {reason}; check the address, the network and the proxy")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// An answer that is no success.
    #[error("{url}: the server answered {status}{}", advice(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
    },
    /// Redirects that lead nowhere.
    #[error("{url}: {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not those that were expected.
    #[error(
        "{url} has the digest {found} and not {expected}: check the address, or correct the checksum"
    )]
    Checksum {
        /// What was asked for.
        url: String,
        /// The digest that it should have.
        expected: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// More comes than there may be.
    #[error("{url}: more comes than {bytes_max} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// How long it may be.
        bytes_max: u64,
    },
    /// What came cannot be written.
    #[error("{url}: {source}")]
    Local {
        /// What was asked for.
        url: String,
        /// The error of the file.
        source: std::io::Error,
    },
}

fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; give credentials as the secret HTTP_AUTH_TOKEN_<host> or HTTP_AUTH_HEADER_<host>"
        }
        404 | 410 => "; check the address",
        429 => "; it limits how often it may be asked: wait, and try again",
        _ => "",
    }
}

type Failure = crate::retry::Failure<HttpError>;

impl HttpClient {
    /// Makes a client. Connects to nothing and reads no file until it is used.
    pub fn new(options: NetworkOptions) -> Self {
        Self {
            transport: Transport::new(options),
        }
    }

    /// Returns the connections, for who has more to ask than files.
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Fetches a file into a writer.
    ///
    /// `open` gives an empty writer; it is called again when the transfer has to begin anew. If
    /// the connection breaks, the rest is asked for, provided that the server can tell that the
    /// file has not changed meanwhile.
    pub async fn fetch<W: Write + Send>(
        &self,
        request: &HttpRequest,
        open: impl FnMut() -> std::io::Result<W> + Send,
        progress: Progress<'_>,
    ) -> Result<HttpAnswer<W>, HttpError> {
        let mut opened = Opened::new(open);
        Ok(
            match self.fetch_into(request, &mut opened, progress).await? {
                HttpAnswer::NotModified => HttpAnswer::NotModified,
                HttpAnswer::File(file) => HttpAnswer::File(HttpFile {
                    writer: opened.finish(),
                    digest: file.digest,
                    size: file.size,
                    version: file.version,
                    modified: file.modified,
                }),
            },
        )
    }

    /// As [`HttpClient::fetch`].
    pub(crate) fn fetch_into<'a>(
        &'a self,
        request: &'a HttpRequest,
        target: &'a mut dyn Target,
        progress: Progress<'a>,
    ) -> Boxed<'a, Result<HttpAnswer<()>, HttpError>> {
        Box::pin(async move {
            let mut url = Url::parse(&request.url).map_err(|error| HttpError::Url {
                url: request.url.clone(),
                reason: error.to_string(),
            })?;
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
                return Err(HttpError::Url {
                    url: shown(&url),
                    reason: "it begins neither with http:// nor with https://".to_owned(),
                });
            }
            url.set_fragment(None);
            let transfer = Transfer {
                client: self,
                request,
                shown: shown(&url),
                url,
                progress,
            };
            transfer.run(target).await
        })
    }
}

/// Leaves out the password of a URL and its query, which may hold a token.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can be set where there is none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

struct Transfer<'a> {
    client: &'a HttpClient,
    request: &'a HttpRequest,
    url: Url,
    shown: String,
    progress: Progress<'a>,
}

/// A transfer, as far as it has come.
struct Begun<'a> {
    written: Written<'a>,
    /// What the file is; nothing before an answer has come.
    version: Option<HttpVersion>,
}

impl Transfer<'_> {
    async fn run(&self, target: &mut dyn Target) -> Result<HttpAnswer<()>, HttpError> {
        let mut backoff = Backoff::new(self.client.transport.retries());
        let mut begun = Begun {
            written: Written::new(target),
            version: None,
        };
        loop {
            let before = begun.written.bytes();
            let failure = match self.attempt(&mut begun).await {
                Ok(false) => return Ok(HttpAnswer::NotModified),
                Ok(true) => break,
                Err(failure) => failure,
            };
            if begun.written.bytes() > before {
                backoff.reset();
            }
            backoff.pause(failure).await?;
        }
        let (digest, size) = begun.written.finish();
        if let Some(expected) = self.request.expected.filter(|expected| *expected != digest) {
            return Err(HttpError::Checksum {
                url: self.shown.clone(),
                expected,
                found: digest,
            });
        }
        let version = begun.version.unwrap_or_default();
        let modified = version.last_modified.as_deref();
        Ok(HttpAnswer::File(HttpFile {
            writer: (),
            digest,
            size,
            modified: modified.and_then(crate::http_date::parse),
            version,
        }))
    }

    /// Asks for the file, or for the rest of it. Returns whether it came: it may be unmodified.
    async fn attempt(&self, begun: &mut Begun<'_>) -> Result<bool, Failure> {
        // A weak tag does not promise equal bytes.
        let resume = begun.version.as_ref().and_then(|version| {
            let etag = version.etag.as_deref()?;
            let bytes = begun.written.bytes();
            (!etag.starts_with("W/") && bytes > 0).then(|| (bytes, etag.to_owned()))
        });
        let mut response = self.send(resume.as_ref()).await?;
        if response.status() == StatusCode::NOT_MODIFIED && begun.version.is_none() {
            return Ok(false);
        }
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT
            && resume
                .as_ref()
                .is_some_and(|(have, _)| part_begin(&response) == Some(*have));
        if !resumed {
            if response.status() != StatusCode::OK {
                return Err(self.status(&response));
            }
            begun
                .written
                .restart()
                .map_err(|source| self.local(source))?;
            begun.version = Some(HttpVersion {
                etag: text(&response, ETAG),
                last_modified: text(&response, LAST_MODIFIED),
            });
        }
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(true),
                Ok(Some(chunk)) => {
                    let bytes = begun.written.bytes() + chunk.len() as u64;
                    if let Some(bytes_max) = self.request.bytes_max.filter(|max| bytes > *max) {
                        let url = self.shown.clone();
                        return Err(HttpError::TooLong { url, bytes_max }.into());
                    }
                    begun
                        .written
                        .write_all(&chunk)
                        .map_err(|source| self.local(source))?;
                    (self.progress)(bytes);
                }
                Err(error) => return Err(self.unreachable(error, true)),
            }
        }
    }

    async fn send(&self, resume: Option<&(u64, String)>) -> Result<Response, Failure> {
        let mut url = self.url.clone();
        let home = host_of(&url);
        for _ in 0..=REDIRECTS_MAX {
            let host = host_of(&url).unwrap_or_default();
            let client = self
                .client
                .transport
                .client(&host, false)
                .map_err(|error| HttpError::Unreachable {
                    url: self.shown.clone(),
                    reason: error.to_string(),
                })?;
            // The digest is that of the file, not of what a server makes of it on the way.
            let mut request = client
                .request(Method::GET, url.clone())
                .header(ACCEPT_ENCODING, "identity");
            if let Some(value) = self.request.authorization.as_deref()
                && home == host_of(&url)
                && url.scheme() == self.url.scheme()
            {
                let mut value = HeaderValue::from_str(value).map_err(|_| HttpError::Url {
                    url: self.shown.clone(),
                    reason: "its credentials have a control character".to_owned(),
                })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let known = &self.request.known;
            request = match (resume, &known.etag, &known.last_modified) {
                (Some((have, etag)), _, _) => request
                    .header(RANGE, format!("bytes={have}-"))
                    .header(IF_RANGE, etag),
                (None, Some(etag), _) => request.header(IF_NONE_MATCH, etag),
                (None, None, Some(date)) => request.header(IF_MODIFIED_SINCE, date),
                (None, None, None) => request,
            };
            let response = request
                .send()
                .await
                .map_err(|error| self.unreachable(error, false))?;
            let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = text(&response, LOCATION).filter(|_| redirects) else {
                return Ok(response);
            };
            url = self.redirect(&url, &location)?;
        }
        Err(self
            .redirect_error(format!("it redirects more than {REDIRECTS_MAX} times"))
            .into())
    }

    fn redirect(&self, from: &Url, location: &str) -> Result<Url, HttpError> {
        let url = from
            .join(location)
            .map_err(|error| self.redirect_error(format!("it redirects nowhere: {error}")))?;
        match url.scheme() {
            "https" | "http" => Ok(url),
            other => Err(self.redirect_error(format!("it redirects to {other}://"))),
        }
    }

    fn redirect_error(&self, reason: String) -> HttpError {
        HttpError::Redirect {
            url: self.shown.clone(),
            reason,
        }
    }

    fn local(&self, source: std::io::Error) -> HttpError {
        HttpError::Local {
            url: self.shown.clone(),
            source,
        }
    }

    fn unreachable(&self, error: reqwest::Error, in_the_middle: bool) -> Failure {
        let error = error.without_url();
        let retry = match in_the_middle {
            true => Retry::After(None),
            false => Retry::of_connection(&error),
        };
        Failure {
            error: HttpError::Unreachable {
                url: self.shown.clone(),
                reason: with_causes(&error),
            },
            retry,
        }
    }

    fn status(&self, response: &Response) -> Failure {
        let wait = retry_after(response.headers());
        Failure {
            error: HttpError::Status {
                url: self.shown.clone(),
                status: response.status().as_u16(),
            },
            retry: Retry::of_status(response.status(), wait),
        }
    }
}

fn text(response: &Response, name: HeaderName) -> Option<String> {
    header(response, name.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        let url = Url::parse("https://user:hidden@a.example/b?token=hidden").unwrap();
        assert_eq!(shown(&url), "https://a.example/b");
    }
}

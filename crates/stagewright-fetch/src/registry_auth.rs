//! Tokens and passwords: what goes into `Authorization`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::challenge::Challenge;
use crate::credentials::{Credential, Credentials};
use crate::endpoint::Endpoint;
use crate::error::{FetchError, with_causes};
use crate::transport::Transport;

/// What a token lasts when its server does not say (token authentication specification).
const TOKEN_SECONDS_DEFAULT: u64 = 60;
/// A token is renewed this long before it ends.
const TOKEN_SECONDS_SPARE: u64 = 10;
/// The longest answer that is read from a token server.
const TOKEN_BYTES_MAX: usize = 1024 * 1024;
/// How this program names itself to token servers.
const CLIENT_ID: &str = "stagewright";

/// What registries have asked for and what they were given so far.
#[derive(Debug, Default)]
pub(crate) struct Authorizer {
    /// Held while a token is asked for, so that blobs that are fetched at once ask for one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last challenge of each host.
    challenges: HashMap<String, Challenge>,
    /// Header values by host and scope.
    headers: HashMap<(String, String), Header>,
}

#[derive(Debug, Clone)]
struct Header {
    value: String,
    ends: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

/// What a request is allowed to do, and where.
pub(crate) struct Access<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// Scopes of the token authentication specification, between spaces.
    pub(crate) scope: &'a str,
    pub(crate) credentials: &'a Credentials,
    pub(crate) transport: &'a Transport,
}

impl Authorizer {
    /// Returns the header for a request to a host whose challenge is known already.
    pub(crate) async fn header(&self, access: &Access<'_>) -> Result<Option<String>, FetchError> {
        let mut state = self.state.lock().await;
        let key = (access.endpoint.host.clone(), access.scope.to_owned());
        if let Some(header) = state.headers.get(&key)
            && header.ends.is_none_or(|ends| ends > Instant::now())
        {
            return Ok(Some(header.value.clone()));
        }
        let Some(challenge) = state.challenges.get(&access.endpoint.host).cloned() else {
            return Ok(None);
        };
        let header = answer(access, &challenge).await?;
        let value = header.value.clone();
        state.headers.insert(key, header);
        Ok(Some(value))
    }

    /// Takes note of a 401. Returns whether asking again may help: not if the very header that
    /// the challenge asks for was refused.
    pub(crate) async fn refused(
        &self,
        access: &Access<'_>,
        challenge: Challenge,
        sent: Option<&str>,
    ) -> bool {
        let mut state = self.state.lock().await;
        let key = (access.endpoint.host.clone(), access.scope.to_owned());
        let current = state.headers.get(&key).map(|header| header.value.clone());
        if current.as_deref() == sent {
            state.headers.remove(&key);
        }
        state
            .challenges
            .insert(access.endpoint.host.clone(), challenge);
        true
    }
}

async fn answer(access: &Access<'_>, challenge: &Challenge) -> Result<Header, FetchError> {
    let endpoint = access.endpoint;
    let credential = access
        .credentials
        .find(&endpoint.registry, endpoint.repository())
        .await?;
    let unauthorized = |message: &str| FetchError::Unauthorized {
        registry: endpoint.registry.clone(),
        reference: endpoint.reference.familiar(),
        message: message.to_owned(),
    };
    match (challenge, credential) {
        (_, Some(Credential::RegistryToken(token))) => Ok(Header {
            value: format!("Bearer {token}"),
            ends: None,
        }),
        (Challenge::Basic, Some(Credential::Password { username, password })) => Ok(Header {
            value: basic(&username, &password),
            ends: None,
        }),
        (Challenge::Basic, Some(Credential::IdentityToken(_))) => Err(unauthorized(
            "it asks for a name and a password, and an identity token is stored",
        )),
        (Challenge::Basic, None) => Err(unauthorized("no login is stored")),
        (Challenge::Bearer { realm, service, .. }, credential) => {
            let wanted = TokenRequest {
                realm,
                service: service.as_deref(),
                credential,
            };
            fetch_token(access, wanted).await
        }
    }
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    credential: Option<Credential>,
}

fn basic(username: &str, password: &str) -> String {
    let encoder = base64::engine::general_purpose::STANDARD;
    format!("Basic {}", encoder.encode(format!("{username}:{password}")))
}

async fn fetch_token(access: &Access<'_>, wanted: TokenRequest<'_>) -> Result<Header, FetchError> {
    let endpoint = access.endpoint;
    let protocol = |reason: String| FetchError::Protocol {
        registry: endpoint.registry.clone(),
        reference: endpoint.reference.familiar(),
        reason,
    };
    let realm = Url::parse(wanted.realm).map_err(|error| {
        protocol(format!(
            "its token server {:?} is not a URL: {error}",
            wanted.realm
        ))
    })?;
    let plain = realm.scheme() != "https";
    if plain && !endpoint.insecure {
        return Err(protocol(format!(
            "its token server {realm} is not https, and passwords are not sent in the open"
        )));
    }
    let host = host_of(&realm).ok_or_else(|| protocol(format!("{realm} has no host")))?;
    // Whoever marks a registry as insecure means its own token server too, and no other.
    let insecure = endpoint.insecure && host == endpoint.host;
    let client = access
        .transport
        .client(&host, insecure)
        .map_err(|error| transport_error(endpoint, error))?;
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(wanted.service.map(|service| ("service", service)));
    let request = match &wanted.credential {
        Some(Credential::IdentityToken(token)) => {
            query.extend([
                ("grant_type", "refresh_token"),
                ("client_id", CLIENT_ID),
                ("refresh_token", token),
                ("scope", access.scope),
            ]);
            client
                .request(Method::POST, realm.clone())
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form(&query))
        }
        other => {
            query.extend(access.scope.split(' ').map(|scope| ("scope", scope)));
            let mut url = realm.clone();
            if let Some(Credential::Password { username, .. }) = other {
                query.push(("account", username));
            }
            query.push(("client_id", CLIENT_ID));
            url.query_pairs_mut().extend_pairs(&query);
            let request = client.request(Method::GET, url);
            match other {
                Some(Credential::Password { username, password }) => {
                    request.header("Authorization", basic(username, password))
                }
                _ => request,
            }
        }
    };
    let unreachable = |error: reqwest::Error| FetchError::Unreachable {
        registry: host.clone(),
        reference: format!("a token for {}", endpoint.reference.familiar()),
        reason: with_causes(&error.without_url()),
    };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > TOKEN_BYTES_MAX {
            return Err(protocol(
                "the answer of its token server is too long".to_owned(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        return Err(token_refused(endpoint, &host, status, &body));
    }
    let answer: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|error| protocol(format!("its token server gives no token: {error}")))?;
    let token = if answer.token.is_empty() {
        answer.access_token
    } else {
        answer.token
    };
    if token.is_empty() || token.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
        return Err(protocol("its token server gives no token".to_owned()));
    }
    let seconds = answer.expires_in.unwrap_or(TOKEN_SECONDS_DEFAULT);
    let lasts = Duration::from_secs(seconds.saturating_sub(TOKEN_SECONDS_SPARE).max(1));
    Ok(Header {
        value: format!("Bearer {token}"),
        ends: Instant::now().checked_add(lasts),
    })
}

fn token_refused(endpoint: &Endpoint, host: &str, status: StatusCode, body: &[u8]) -> FetchError {
    let message = format!(
        "{host} answered {status}: {}",
        crate::registry_call::message(body)
    );
    let (registry, reference) = (endpoint.registry.clone(), endpoint.reference.familiar());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            FetchError::Unauthorized {
                registry,
                reference,
                message,
            }
        }
        _ => FetchError::Status {
            registry,
            reference,
            status: status.as_u16(),
            message,
        },
    }
}

/// Says why no connection pool could be made.
pub(crate) fn transport_error(
    endpoint: &Endpoint,
    error: crate::transport::TransportError,
) -> FetchError {
    match error {
        crate::transport::TransportError::Tls(error) => error.into(),
        crate::transport::TransportError::Proxy(reason) => FetchError::Unreachable {
            registry: endpoint.registry.clone(),
            reference: endpoint.reference.familiar(),
            reason,
        },
    }
}

/// Returns `host[:port]` of a URL, the port only where it is not that of the scheme.
pub(crate) fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form.invalid/").expect("because the text is a URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

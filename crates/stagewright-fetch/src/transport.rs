//! Connections: one pool a host, with the certificates and proxies of that host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use rustls::RootCertStore;

use crate::options::{NetworkOptions, ProxyOptions, RetryOptions};
use crate::tls::{self, TlsError};

/// How long a request that sends much may come no further: what is buffered when the last piece was handed on takes its
/// time, and whoever got it may look at all of it before it answers.
pub(crate) const UPLOAD_SILENCE: Duration = Duration::from_secs(5 * 60);

/// Says that a request came no further for [`UPLOAD_SILENCE`].
pub(crate) fn standstill() -> String {
    format!("it came no further for {} s", UPLOAD_SILENCE.as_secs())
}

/// Connections to hosts. Cheap to share; holds no process-wide state.
#[derive(Debug)]
pub(crate) struct Transport {
    options: NetworkOptions,
    roots: OnceLock<Arc<RootCertStore>>,
    /// Held only to look up or add a client, never across an await.
    clients: Mutex<HashMap<Pool, Client>>,
}

/// Connections that are made in one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pool {
    host: String,
    insecure: bool,
    for_uploads: bool,
}

/// A connection pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Proxy(String),
}

impl Transport {
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Self {
            options,
            roots: OnceLock::new(),
            clients: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn retries(&self) -> &RetryOptions {
        &self.options.retries
    }

    /// Returns the connections to a host, `host[:port]`. Redirects are not followed: whoever asks
    /// decides what another host may see.
    pub(crate) fn client(&self, host: &str, insecure: bool) -> Result<Client, TransportError> {
        self.of_pool(Pool {
            host: host.to_owned(),
            insecure,
            for_uploads: false,
        })
    }

    /// Returns connections to a host for what sends much. While it is sent nothing comes, however well it goes: who uses
    /// them sees to it that they do not stand still, for [`UPLOAD_SILENCE`] at most.
    pub(crate) fn upload_client(
        &self,
        host: &str,
        insecure: bool,
    ) -> Result<Client, TransportError> {
        self.of_pool(Pool {
            host: host.to_owned(),
            insecure,
            for_uploads: true,
        })
    }

    fn of_pool(&self, pool: Pool) -> Result<Client, TransportError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&pool) {
            return Ok(client.clone());
        }
        let client = self.build(&pool)?;
        clients.insert(pool, client.clone());
        Ok(client)
    }

    fn build(&self, pool: &Pool) -> Result<Client, TransportError> {
        let (tls, roots) = (&self.options.tls, self.roots()?);
        let tls = tls::client_config(&pool.host, pool.insecure, tls, &roots)?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(self.options.connect_timeout)
            .user_agent(&self.options.user_agent);
        if !pool.for_uploads {
            builder = builder.read_timeout(self.options.silence_timeout);
        }
        for proxy in proxies(&self.options.proxies)? {
            builder = builder.proxy(proxy);
        }
        builder
            .build()
            .map_err(|error| TransportError::Proxy(crate::error::with_causes(&error)))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        if let Some(roots) = self.roots.get() {
            return Ok(Arc::clone(roots));
        }
        let roots = Arc::new(tls::read_roots(&self.options.tls)?);
        Ok(Arc::clone(self.roots.get_or_init(|| roots)))
    }
}

fn proxies(options: &ProxyOptions) -> Result<Vec<Proxy>, TransportError> {
    type Make = fn(&str) -> reqwest::Result<Proxy>;
    let given: [(&Option<String>, Make); 2] = [
        (&options.http, |url| Proxy::http(url)),
        (&options.https, |url| Proxy::https(url)),
    ];
    let mut proxies = Vec::new();
    for (url, make) in given {
        let Some(url) = url.as_deref().filter(|url| !url.is_empty()) else {
            continue;
        };
        let proxy = make(url).map_err(|error| {
            // The URL may hold a password, so that it is not shown.
            let error = error.without_url();
            TransportError::Proxy(format!(
                "the proxy is not a URL such as http://proxy:3128: {}",
                crate::error::with_causes(&error)
            ))
        })?;
        let direct = options.no_proxy.as_deref().and_then(NoProxy::from_string);
        proxies.push(proxy.no_proxy(direct));
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_proxy_is_refused_without_its_password() {
        let options = ProxyOptions {
            https: Some("http://user:hidden@[".to_owned()),
            ..ProxyOptions::default()
        };
        let error = proxies(&options).unwrap_err().to_string();
        assert!(error.contains("the proxy is not a URL"), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
}

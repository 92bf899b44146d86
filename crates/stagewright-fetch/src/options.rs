//! Everything that network code may depend on. Nothing is read from the environment: the command
//! does that and passes it on.

use std::time::Duration;

use crate::credentials::Credentials;
use crate::registries_conf::RegistriesConf;
use crate::tls::TlsOptions;

/// How hosts are reached, whatever is asked of them.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Proxies.
    pub proxies: ProxyOptions,
    /// Certificates.
    pub tls: TlsOptions,
    /// Retries.
    pub retries: RetryOptions,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection may stay silent, unless something is sent on it that goes on.
    pub silence_timeout: Duration,
    /// What the program calls itself.
    pub user_agent: String,
}

/// Proxies, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` give them to other programs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyOptions {
    /// The proxy for `http://`, such as `http://user:password@proxy:3128` or `socks5://proxy`.
    pub http: Option<String>,
    /// The proxy for `https://`.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, between commas.
    pub no_proxy: Option<String>,
}

/// How often, and how soon, something is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOptions {
    /// How often in all; at least 1.
    pub attempts_max: u32,
    /// The wait before the second attempt, doubled for each further one.
    pub delay_first: Duration,
    /// The longest wait, also for a server that asks for a certain one: beyond, it is an error.
    pub delay_max: Duration,
}

/// What a [`RegistryClient`](crate::RegistryClient) may depend on.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// How hosts are reached.
    pub network: NetworkOptions,
    /// Mirrors, insecure and blocked registries.
    pub registries: RegistriesConf,
    /// Registries, as `host[:port]`, for which plain HTTP and untrusted certificates will do.
    /// Hosts of the loopback network are of this kind without being named, as for Docker.
    pub insecure: Vec<String>,
    /// Logins.
    pub credentials: Credentials,
    /// How many blobs are transferred with a host at once; 0 means 4.
    pub transfers_max: usize,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            proxies: ProxyOptions::default(),
            tls: TlsOptions::default(),
            retries: RetryOptions::default(),
            connect_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(60),
            user_agent: concat!("stagewright/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            delay_first: Duration::from_millis(250),
            delay_max: Duration::from_secs(30),
        }
    }
}

//! Clients for tests: quick to give up.

use std::time::Duration;

use stagewright_fetch::{
    Credential, NetworkOptions, RegistryClient, RegistryOptions, RetryOptions,
};
use stagewright_oci::{Platform, Reference};
use stagewright_testkit::Registry;

/// Options that wait milliseconds where others wait seconds.
pub(crate) fn options() -> RegistryOptions {
    RegistryOptions {
        network: NetworkOptions {
            retries: RetryOptions {
                attempts_max: 3,
                delay_first: Duration::from_millis(1),
                delay_max: Duration::from_secs(2),
            },
            connect_timeout: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(5),
            ..NetworkOptions::default()
        },
        ..RegistryOptions::default()
    }
}

pub(crate) fn client() -> RegistryClient {
    RegistryClient::new(options())
}

/// A client that is logged in at a registry.
pub(crate) fn client_with_login(registry: &Registry, name: &str, password: &str) -> RegistryClient {
    let mut options = options();
    let credential = Credential::Password {
        username: name.to_owned(),
        password: password.to_owned(),
    };
    options
        .credentials
        .logins
        .insert(registry.address(), credential);
    RegistryClient::new(options)
}

pub(crate) fn reference(registry: &Registry, name: &str) -> Reference {
    format!("{}/{name}", registry.address()).parse().unwrap()
}

pub(crate) fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

//! What the machine and its user say: where the store lies, how registries are reached. The
//! library reads none of it; it is told.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stagewright::{
    BuilderOptions, Mirror, NetworkOptions, ProxyOptions, RegistryFiles, RegistryOptions,
    TlsOptions,
};

use crate::arguments::MirrorArgument;
use crate::failure::Failure;

/// Returns the options of the builder: the store's folder and the registries' settings.
pub(crate) fn builder_options(
    store: Option<&Path>,
    mirrors: &[MirrorArgument],
) -> Result<BuilderOptions, Failure> {
    let store = match store {
        Some(folder) => folder.to_path_buf(),
        None => default_store()?,
    };
    Ok(BuilderOptions {
        store,
        registries: registry_options(mirrors)?,
    })
}

fn default_store() -> Result<PathBuf, Failure> {
    if let Some(cache) = variable("XDG_CACHE_HOME").map(PathBuf::from)
        && cache.is_absolute()
    {
        return Ok(cache.join("stagewright"));
    }
    match home() {
        Some(home) => Ok(home.join(".cache/stagewright")),
        None => Err(Failure::Usage(
            "there is no $HOME to keep the store in; name a folder with --store".to_owned(),
        )),
    }
}

fn registry_options(mirrors: &[MirrorArgument]) -> Result<RegistryOptions, Failure> {
    let mut options = RegistryOptions {
        network: network_options(),
        ..RegistryOptions::default()
    };
    registry_files()
        .load(&mut options)
        .context("reading the registries' settings")?;
    for mirror in mirrors {
        let place = Mirror {
            location: mirror.location.clone(),
            insecure: false,
            pull: Default::default(),
        };
        options.registries.add_mirror(&mirror.registry, place);
    }
    Ok(options)
}

/// Finds the files that other tools keep: containers-registries.conf(5) as Podman and Buildah find
/// it (the variable's file alone, else the user's, else the system's, then the folders of
/// additions), logins, certificates.
fn registry_files() -> RegistryFiles {
    let user = config_home().map(|config| config.join("containers"));
    let system = PathBuf::from("/etc/containers");
    let folders = || [Some(&system), user.as_ref()].into_iter().flatten();
    let registries_conf = match variable("CONTAINERS_REGISTRIES_CONF") {
        Some(file) => vec![PathBuf::from(file)],
        None => folders()
            .rev()
            .map(|folder| folder.join("registries.conf"))
            .find(|file| file.is_file())
            .into_iter()
            .chain(folders().map(|folder| folder.join("registries.conf.d")))
            .collect(),
    };
    let mut certs_dirs: Vec<PathBuf> = vec![
        "/etc/containers/certs.d".into(),
        "/etc/docker/certs.d".into(),
    ];
    certs_dirs.extend(user.as_ref().map(|folder| folder.join("certs.d")));
    RegistryFiles {
        registries_conf,
        credentials: credential_files(),
        certs_dirs,
    }
}

/// Finds the files with logins: containers-auth.json(5)'s places, then Docker's.
fn credential_files() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        places.push(PathBuf::from(file));
    }
    if let Some(runtime) = variable("XDG_RUNTIME_DIR") {
        places.push(Path::new(&runtime).join("containers/auth.json"));
    }
    if let Some(config) = config_home() {
        places.push(config.join("containers/auth.json"));
    }
    if let Some(config) = variable("DOCKER_CONFIG") {
        places.push(Path::new(&config).join("config.json"));
    } else if let Some(home) = home() {
        places.push(home.join(".docker/config.json"));
    }
    places
}

fn network_options() -> NetworkOptions {
    // Upper case is for those who set it for every program; lower case wins, as with curl.
    let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    NetworkOptions {
        proxies: ProxyOptions {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            no_proxy: either("NO_PROXY"),
        },
        tls: TlsOptions {
            bundles: variable("SSL_CERT_FILE")
                .map(PathBuf::from)
                .into_iter()
                .collect(),
            ..TlsOptions::default()
        },
        ..NetworkOptions::default()
    }
}

/// Returns a variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}

fn config_home() -> Option<PathBuf> {
    match variable("XDG_CONFIG_HOME") {
        Some(config) => Some(PathBuf::from(config)),
        None => home().map(|home| home.join(".config")),
    }
}

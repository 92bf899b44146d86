//! What the machine and its user say: where the store lies, how registries are reached. The
//! library reads none of it; it is told.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stagewright::{
    BuilderOptions, CredentialFile, Credentials, Mirror, NetworkOptions, ProxyOptions,
    RegistriesConf, RegistryOptions, TlsOptions,
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
    let mut registries = registries_conf()?;
    for mirror in mirrors {
        let place = Mirror {
            location: mirror.location.clone(),
            insecure: false,
            pull: Default::default(),
        };
        registries.add_mirror(&mirror.registry, place);
    }
    Ok(RegistryOptions {
        network: network_options(),
        registries,
        credentials: Credentials {
            files: credential_files()?,
            ..Credentials::default()
        },
        ..RegistryOptions::default()
    })
}

/// Reads containers-registries.conf(5) as Podman and Buildah find it: the variable's file alone,
/// else the user's, else the system's, each with its folder of additions.
fn registries_conf() -> Result<RegistriesConf, Failure> {
    if let Some(file) = variable("CONTAINERS_REGISTRIES_CONF") {
        return read_conf(Path::new(&file));
    }
    let user = config_home().map(|config| config.join("containers"));
    let system = PathBuf::from("/etc/containers");
    let mut conf = RegistriesConf::default();
    let main = [user.as_deref(), Some(&system)]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("registries.conf"))
        .find(|file| file.is_file());
    if let Some(file) = main {
        conf.merge(read_conf(&file)?);
    }
    for folder in [Some(system.as_path()), user.as_deref()]
        .into_iter()
        .flatten()
    {
        for file in additions(&folder.join("registries.conf.d"))? {
            conf.merge(read_conf(&file)?);
        }
    }
    Ok(conf)
}

fn read_conf(file: &Path) -> Result<RegistriesConf, Failure> {
    let text = fs_err::read_to_string(file)?;
    let conf = RegistriesConf::parse(&text, &file.display().to_string());
    Ok(conf.context("reading the registries' settings")?)
}

fn additions(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Finds the files with logins: containers-auth.json(5)'s places, then Docker's.
fn credential_files() -> Result<Vec<CredentialFile>, Failure> {
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
    let mut files = Vec::new();
    for place in places.iter().filter(|place| place.is_file()) {
        let text = fs_err::read_to_string(place)?;
        let file = CredentialFile::parse(&text, &place.display().to_string());
        files.push(file.context("reading logins")?);
    }
    Ok(files)
}

fn network_options() -> NetworkOptions {
    // Upper case is for those who set it for every program; lower case wins, as with curl.
    let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    let mut certs_dirs: Vec<PathBuf> = vec![
        "/etc/containers/certs.d".into(),
        "/etc/docker/certs.d".into(),
    ];
    if let Some(config) = config_home() {
        certs_dirs.push(config.join("containers/certs.d"));
    }
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
            certs_dirs,
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

//! What the machine and its user say: where the store lies, how registries are reached. The
//! library reads no variable itself; it is told what they are.

use std::path::{Path, PathBuf};

use stagewright_fetch::{
    MirrorArgument, NetworkOptions, ProxyOptions, RegistryFiles, RegistryOptions,
    ServiceEnvironment, TlsOptions,
};

use crate::builder::BuilderOptions;
use crate::error::{Error, ErrorKind};
use crate::failure;

/// The environment variables of whoever asks.
struct Variables<'v>(&'v dyn Fn(&str) -> Option<String>);

impl BuilderOptions {
    /// Makes the options that the command has: the store in the user's cache folder if none is
    /// named, and registries as the files and variables say that other tools read too. `variable`
    /// returns environment variables.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when there is no place for the store, or a file cannot be read.
    pub fn of_user(
        store: Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let variables = Variables(variable);
        let store = match store {
            Some(folder) => folder,
            None => variables.default_store()?,
        };
        let mut registries = RegistryOptions {
            network: variables.network_options(),
            ..RegistryOptions::default()
        };
        variables
            .registry_files()
            .load(&mut registries)
            .map_err(|error| {
                let message = format!(
                    "reading the registries' settings: {}",
                    failure::chain(&error)
                );
                Error::new(ErrorKind::Request, message)
            })?;
        Ok(Self {
            store,
            store_limit: None,
            store_min_free: None,
            store_reserved: None,
            registries,
            services: ServiceEnvironment::of(variable),
        })
    }

    /// Asks another registry first, as `REGISTRY=HOST[:PORT][/PREFIX]`, or for Docker's without the first part.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when the text is neither.
    pub fn add_mirror(&mut self, text: &str) -> Result<(), Error> {
        let argument: MirrorArgument = text
            .parse()
            .map_err(|error| Error::new(ErrorKind::Request, format!("{error}")))?;
        let registries = &mut self.registries.registries;
        registries.add_mirror(&argument.registry, argument.mirror);
        Ok(())
    }
}

impl Variables<'_> {
    /// Returns a variable that is set to something.
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    fn config_home(&self) -> Option<PathBuf> {
        match self.get("XDG_CONFIG_HOME") {
            Some(config) => Some(PathBuf::from(config)),
            None => self.home().map(|home| home.join(".config")),
        }
    }

    fn default_store(&self) -> Result<PathBuf, Error> {
        if let Some(cache) = self.get("XDG_CACHE_HOME").map(PathBuf::from)
            && cache.is_absolute()
        {
            return Ok(cache.join("stagewright"));
        }
        match self.home() {
            Some(home) => Ok(home.join(".cache/stagewright")),
            None => Err(Error {
                help: Some("name a folder for the store".to_owned()),
                ..Error::new(ErrorKind::Request, "there is no $HOME to keep the store in")
            }),
        }
    }

    /// Finds the files that other tools keep: containers-registries.conf(5) as Podman and Buildah find
    /// it (the variable's file alone, else the user's, else the system's, then the folders of
    /// additions), logins, certificates.
    fn registry_files(&self) -> RegistryFiles {
        let user = self.config_home().map(|config| config.join("containers"));
        let system = PathBuf::from("/etc/containers");
        let folders = || [Some(&system), user.as_ref()].into_iter().flatten();
        let registries_conf = match self.get("CONTAINERS_REGISTRIES_CONF") {
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
            credentials: self.credential_files(),
            certs_dirs,
        }
    }

    /// Finds the files with logins: containers-auth.json(5)'s places, then Docker's.
    fn credential_files(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        if let Some(file) = self.get("REGISTRY_AUTH_FILE") {
            places.push(PathBuf::from(file));
        }
        if let Some(runtime) = self.get("XDG_RUNTIME_DIR") {
            places.push(Path::new(&runtime).join("containers/auth.json"));
        }
        if let Some(config) = self.config_home() {
            places.push(config.join("containers/auth.json"));
        }
        if let Some(config) = self.get("DOCKER_CONFIG") {
            places.push(Path::new(&config).join("config.json"));
        } else if let Some(home) = self.home() {
            places.push(home.join(".docker/config.json"));
        }
        places
    }

    fn network_options(&self) -> NetworkOptions {
        // Upper case is for those who set it for every program; lower case wins, as with curl.
        let either = |name: &str| self.get(&name.to_lowercase()).or_else(|| self.get(name));
        NetworkOptions {
            proxies: ProxyOptions {
                http: either("HTTP_PROXY"),
                https: either("HTTPS_PROXY"),
                no_proxy: either("NO_PROXY"),
            },
            tls: TlsOptions {
                bundles: self
                    .get("SSL_CERT_FILE")
                    .map(PathBuf::from)
                    .into_iter()
                    .collect(),
                ..TlsOptions::default()
            },
            ..NetworkOptions::default()
        }
    }
}

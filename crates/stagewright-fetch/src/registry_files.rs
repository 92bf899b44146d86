//! Reading the files in which other tools keep what they know of registries.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use thiserror::Error;

use crate::credentials::{CredentialError, CredentialFile};
use crate::options::RegistryOptions;
use crate::registries_conf::{RegistriesConf, RegistriesError};

/// The helper that stands for the credential files themselves.
const AUTH_FILE_HELPER: &str = "containers-auth.json";

/// Where the files are. A caller says so, and knows home folders and environments; a file that is
/// not there is as one that says nothing.
///
/// Docker and Podman on Linux keep them at
///
/// ```text
/// registries_conf   ~/.config/containers/registries.conf, else /etc/containers/registries.conf;
///                   then, always, registries.conf.d beside each, the home folder's last
/// credentials       $REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers/auth.json,
///                   ~/.config/containers/auth.json, $DOCKER_CONFIG or ~/.docker/config.json
/// certs_dirs        ~/.config/containers/certs.d, /etc/containers/certs.d, /etc/docker/certs.d
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryFiles {
    /// containers-registries.conf(5): files, and folders of drop-ins (`*.conf`), in the order in
    /// which later ones win.
    pub registries_conf: Vec<PathBuf>,
    /// Docker's config.json and containers' auth.json, the first that knows a registry wins.
    pub credentials: Vec<PathBuf>,
    /// Folders as `/etc/docker/certs.d`.
    pub certs_dirs: Vec<PathBuf>,
}

/// A file about registries cannot be used.
#[derive(Debug, Error)]
pub enum RegistryFilesError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It says something that cannot be understood.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// It holds no logins.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

impl RegistryFiles {
    /// Reads the files into options, beside what the options have already.
    pub fn load(&self, options: &mut RegistryOptions) -> Result<(), RegistryFilesError> {
        for path in &self.registries_conf {
            load_registries_conf(path, &mut options.registries)?;
        }
        for path in &self.credentials {
            let Some(text) = read_if_there(path)? else {
                continue;
            };
            // `docker logout` may leave an empty file.
            if !text.trim().is_empty() {
                let origin = path.display().to_string();
                options
                    .credentials
                    .files
                    .push(CredentialFile::parse(&text, &origin)?);
            }
        }
        for helper in &options.registries.credential_helpers {
            if helper != AUTH_FILE_HELPER {
                let file = CredentialFile::of_helper(helper, "registries.conf");
                options.credentials.files.push(file);
            }
        }
        options
            .network
            .tls
            .certs_dirs
            .extend(self.certs_dirs.iter().cloned());
        Ok(())
    }
}

fn load_registries_conf(path: &Path, conf: &mut RegistriesConf) -> Result<(), RegistryFilesError> {
    if !path.is_dir() {
        if let Some(text) = read_if_there(path)? {
            conf.merge(RegistriesConf::parse(&text, &path.display().to_string())?);
        }
        return Ok(());
    }
    let mut files = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "conf")
    });
    files.sort();
    files
        .iter()
        .try_for_each(|file| load_registries_conf(file, conf))
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_need_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        fs::write(path("main.conf"), "[[registry]]\nlocation='a.example'\n").unwrap();
        let late = "credential-helpers=['containers-auth.json','x']\n\
                    [[registry]]\nlocation='a.example'\nblocked=true\n";
        fs::write(path("conf.d/20.conf"), late).unwrap();
        let early = "[[registry]]\nlocation='a.example'\ninsecure=true\n";
        fs::write(path("conf.d/10.conf"), early).unwrap();
        fs::write(path("conf.d/30.bak"), "nonsense").unwrap();
        fs::write(
            path("auth.json"),
            r#"{"auths":{"a.example":{"auth":"dTpw"}}}"#,
        )
        .unwrap();
        fs::write(path("empty.json"), "\n").unwrap();
        let files = RegistryFiles {
            registries_conf: vec![path("absent"), path("main.conf"), path("conf.d")],
            credentials: vec![path("absent"), path("auth.json"), path("empty.json")],
            certs_dirs: vec![path("certs.d")],
        };
        let mut options = RegistryOptions::default();
        files.load(&mut options).unwrap();
        let rule = options
            .registries
            .rule_for(&"a.example/x".parse().unwrap())
            .unwrap();
        assert!(rule.blocked && !rule.insecure);
        assert!(rule.origin.ends_with("20.conf"));
        assert_eq!(options.credentials.files.len(), 2, "a file and a helper");
        assert_eq!(options.network.tls.certs_dirs, [path("certs.d")]);
    }

    #[test]
    fn a_wrong_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.conf");
        fs::write(&path, "x").unwrap();
        for files in [
            RegistryFiles {
                registries_conf: vec![path.clone()],
                ..RegistryFiles::default()
            },
            RegistryFiles {
                credentials: vec![path.clone()],
                ..RegistryFiles::default()
            },
        ] {
            let error = files
                .load(&mut RegistryOptions::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains("r.conf"), "{error}");
        }
    }
}

//! Credentials: Docker's config.json, containers-auth.json(5) and credential helpers.

use std::collections::BTreeMap;
use std::process::Stdio;

use base64::Engine as _;
use serde::Deserialize;
use stagewright_oci::DEFAULT_REGISTRY;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The key under which Docker keeps the login of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name by which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, or a token in the place of one.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which is changed for an access token.
    IdentityToken(String),
    /// An access token that is sent as it is.
    RegistryToken(String),
}

/// Never shows the secret.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username:?}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// Where credentials are looked for: logins that the caller gives, then the files in order.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Logins by registry, which win over all files.
    pub logins: BTreeMap<String, Credential>,
    /// Docker's config.json and containers' auth.json, the first that has a login wins.
    pub files: Vec<CredentialFile>,
    /// Variables that credential helpers see in addition to those of this process.
    pub helper_env: Vec<(String, String)>,
}

/// Docker's config.json or containers' auth.json: they are of one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    origin: String,
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    default_helper: Option<String>,
}

/// Credentials cannot be had.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The file is wrong.
    #[error("{origin}: {reason}")]
    File {
        /// The file.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// The helper cannot be run.
    #[error(
        "the credential helper {program} for {registry}, which {origin} names, cannot be run: {reason}"
    )]
    Helper {
        /// The program.
        program: String,
        /// The registry.
        registry: String,
        /// The file that names the helper.
        origin: String,
        /// What it, or the system, said.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, FileAuth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct FileAuth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl CredentialFile {
    /// Parses a file; `origin` names it in messages, which never show a secret.
    pub fn parse(text: &str, origin: &str) -> Result<Self, CredentialError> {
        let wrong = |reason: String| CredentialError::File {
            origin: origin.to_owned(),
            reason,
        };
        // The parser's own message may quote the file.
        let file: File = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "not a valid credentials file at line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        let mut auths = BTreeMap::new();
        for (key, auth) in file.auths {
            let credential = file_credential(auth)
                .map_err(|reason| wrong(format!("the login for {key}: {reason}")))?;
            if let Some(credential) = credential {
                auths.insert(normal_key(&key), credential);
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            auths,
            helpers: file
                .cred_helpers
                .into_iter()
                .map(|(key, helper)| (normal_key(&key), helper))
                .collect(),
            default_helper: Some(file.creds_store).filter(|helper| !helper.is_empty()),
        })
    }
}

impl CredentialFile {
    /// Makes what stands for a file that names one helper for all registries.
    pub(crate) fn of_helper(helper: &str, origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            auths: BTreeMap::new(),
            helpers: BTreeMap::new(),
            default_helper: Some(helper.to_owned()),
        }
    }
}

fn file_credential(auth: FileAuth) -> Result<Option<Credential>, String> {
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credential::IdentityToken(auth.identitytoken)));
    }
    if !auth.registrytoken.is_empty() {
        return Ok(Some(Credential::RegistryToken(auth.registrytoken)));
    }
    if auth.auth.is_empty() {
        let given = !auth.username.is_empty();
        return Ok(given.then_some(Credential::Password {
            username: auth.username,
            password: auth.password,
        }));
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(auth.auth.trim())
        .map_err(|_| "its auth is not Base64".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| "its auth is not UTF-8".to_owned())?;
    let (username, password) = text
        .split_once(':')
        .ok_or_else(|| "its auth is not name:password".to_owned())?;
    Ok(Some(Credential::Password {
        username: username.to_owned(),
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// Reduces the many ways in which a registry is written to `host[:port][/path]`.
fn normal_key(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or_else(|| bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    match bare.split_once('/').unwrap_or((bare, "")) {
        ("index.docker.io" | "registry-1.docker.io" | DEFAULT_REGISTRY, "") => {
            DEFAULT_REGISTRY.to_owned()
        }
        ("index.docker.io" | "registry-1.docker.io", path) => format!("{DEFAULT_REGISTRY}/{path}"),
        _ => bare.to_owned(),
    }
}

impl Credentials {
    /// Returns the credential for a repository of a registry, or nothing where none is known.
    ///
    /// The longest key of auth.json wins, as `registry/team` over `registry`. May run a helper.
    pub async fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let registry = normal_key(registry);
        let name = format!("{registry}/{repository}");
        let keys: Vec<&str> = std::iter::successors(Some(name.as_str()), |key| {
            key.rfind('/').map(|at| &key[..at])
        })
        .collect();
        for key in &keys {
            if let Some(login) = self
                .logins
                .iter()
                .find(|(name, _)| normal_key(name) == **key)
            {
                return Ok(Some(login.1.clone()));
            }
        }
        for file in &self.files {
            let helper = file.helpers.get(&registry).or(file.default_helper.as_ref());
            if let Some(helper) = helper {
                let answer = self.ask_helper(helper, &registry, &file.origin).await;
                match answer {
                    Ok(Some(credential)) => return Ok(Some(credential)),
                    Ok(None) => {}
                    // A default helper that is not installed must not stop a pull that needs no
                    // login; one that is named for the registry must.
                    Err(error) if file.helpers.contains_key(&registry) => return Err(error),
                    Err(error) => tracing::warn!("{error}"),
                }
            }
            for key in &keys {
                if let Some(credential) = file.auths.get(*key) {
                    return Ok(Some(credential.clone()));
                }
            }
        }
        Ok(None)
    }

    async fn ask_helper(
        &self,
        helper: &str,
        registry: &str,
        origin: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let program = format!("docker-credential-{helper}");
        let failed = |reason: String| CredentialError::Helper {
            program: program.clone(),
            registry: registry.to_owned(),
            origin: origin.to_owned(),
            reason,
        };
        if helper.contains('/') {
            return Err(failed("its name must not be a path".to_owned()));
        }
        let key = if registry == DEFAULT_REGISTRY {
            HUB_KEY
        } else {
            registry
        };
        let mut child = Command::new(&program)
            .arg("get")
            .envs(self.helper_env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input says below what it wants.
            if let Err(error) = stdin.write_all(key.as_bytes()).await {
                tracing::debug!("{program} does not read its input: {error}");
            }
        }
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            // The protocol of helpers has no other way of saying so.
            if said.contains("credentials not found") {
                return Ok(None);
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            let reason = format!("{}: {} {}", output.status, said.trim(), errors.trim());
            return Err(failed(reason.trim_end().to_owned()));
        }
        let answer: CredentialAnswer = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed("its answer is not the JSON that helpers give".to_owned()))?;
        Ok(match answer.username.as_str() {
            TOKEN_USER => Some(Credential::IdentityToken(answer.secret)),
            "" if answer.secret.is_empty() => None,
            _ => Some(Credential::Password {
                username: answer.username,
                password: answer.secret,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    async fn found(text: &str, registry: &str, repository: &str) -> Option<Credential> {
        let credentials = Credentials {
            files: vec![CredentialFile::parse(text, "config.json").unwrap()],
            ..Credentials::default()
        };
        credentials.find(registry, repository).await.unwrap()
    }

    #[tokio::test]
    async fn logins_are_found_under_every_spelling() {
        let text = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
            "quay.io":{"auth":"cXVheTpwOnc="},
            "quay.io/team":{"username":"t","password":"u"},
            "https://ghcr.io":{"identitytoken":"x"},
            "empty.example":{}}}"#;
        for (registry, repository, expected) in [
            ("docker.io", "library/a", Some(password("hub", "pw"))),
            ("registry-1.docker.io", "a/b", Some(password("hub", "pw"))),
            ("quay.io", "other/a", Some(password("quay", "p:w"))),
            ("quay.io", "team/a/b", Some(password("t", "u"))),
            ("quay.io", "teams/a", Some(password("quay", "p:w"))),
            (
                "ghcr.io",
                "a/b",
                Some(Credential::IdentityToken("x".to_owned())),
            ),
            ("empty.example", "a", None),
            ("other.example", "a", None),
        ] {
            let credential = found(text, registry, repository).await;
            assert_eq!(credential, expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn a_wrong_file_is_named_and_not_quoted() {
        for text in [
            "{",
            r#"{"auths":{"a":{"auth":"secret!"}}}"#,
            r#"{"auths":{"a":{"auth":"c2VjcmV0"}}}"#,
            r#"{"auths":"secret"}"#,
        ] {
            let error = CredentialFile::parse(text, "config.json")
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("config.json: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let shown = format!("{:?}", password("u", "hidden"));
        assert!(!shown.contains("hidden"), "{shown}");
    }

    #[tokio::test]
    async fn a_missing_default_helper_does_not_hide_the_file() {
        let text = r#"{"credsStore":"stagewright-absent","auths":{"a.example":{"auth":"dTpw"}}}"#;
        assert_eq!(
            found(text, "a.example", "x").await,
            Some(password("u", "p"))
        );
        let named = r#"{"credHelpers":{"a.example":"stagewright-absent"}}"#;
        let credentials = Credentials {
            files: vec![CredentialFile::parse(named, "config.json").unwrap()],
            ..Credentials::default()
        };
        let error = credentials.find("a.example", "x").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("docker-credential-stagewright-absent"),
            "{error}"
        );
    }
}

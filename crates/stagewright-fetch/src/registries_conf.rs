//! containers-registries.conf(5), version 2, and the mirrors of the command line.

use std::str::FromStr;

use serde::Deserialize;
use stagewright_oci::Reference;
use thiserror::Error;

/// What registries.conf says of registries.
///
/// Names without a registry are Docker Hub's here, as for `docker build`:
/// `unqualified-search-registries` and short-name aliases are read and not used, since an image
/// would otherwise depend on the machine that asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistriesConf {
    /// Rules for prefixes of references.
    pub registries: Vec<RegistryRule>,
    /// Programs that hold credentials; `containers-auth.json` means the files.
    pub credential_helpers: Vec<String>,
}

/// How references with a prefix are looked for: a `[[registry]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRule {
    /// `host[:port][/path]`, or `*.domain` for the hosts below a domain.
    pub prefix: String,
    /// What takes the place of the prefix; the same as the prefix unless it says otherwise.
    pub location: String,
    /// Whether plain HTTP and untrusted certificates will do.
    pub insecure: bool,
    /// Whether the registry must not be asked.
    pub blocked: bool,
    /// Places that are asked before `location`, in order.
    pub mirrors: Vec<Mirror>,
    /// The file that says so, for messages.
    pub origin: String,
}

/// A place that has the same images as another registry: a `[[registry.mirror]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `host[:port][/path]`, with `http://` or `https://` before it where that is certain.
    pub location: String,
    /// Whether plain HTTP and untrusted certificates will do.
    pub insecure: bool,
    /// Which references it is asked for.
    pub pull: MirrorPull,
}

/// Which references a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorPull {
    /// All.
    #[default]
    All,
    /// Those with a digest, which a stale mirror cannot get wrong.
    DigestOnly,
    /// Those without.
    TagOnly,
}

/// A registries.conf, or a mirror of the command line, cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistriesError {
    /// The file is not TOML of the right form.
    #[error("{origin}: {reason}")]
    Toml {
        /// The file.
        origin: String,
        /// What the parser says.
        reason: String,
    },
    /// The file is of version 1.
    #[error(
        "{origin} is of version 1 of the format ([registries.search] and the like), which is not read any more: use [[registry]] tables"
    )]
    Version1 {
        /// The file.
        origin: String,
    },
    /// A rule contradicts itself.
    #[error("{origin}: the registry {name:?}: {reason}")]
    Rule {
        /// The file.
        origin: String,
        /// Its prefix or location.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The argument is no mirror.
    #[error(
        "{text:?} is not a mirror: write it as registry=host[:port][/path], such as docker.io=127.0.0.1:5000"
    )]
    Mirror {
        /// The argument.
        text: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<FileRegistry>,
    registries: Option<toml::Table>,
    #[serde(default)]
    credential_helpers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileRegistry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<FileMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<MirrorPull>,
}

impl RegistriesConf {
    /// Parses one file; `origin` names it in messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RegistriesError> {
        let file: File = toml::from_str(text).map_err(|error| RegistriesError::Toml {
            origin: origin.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        if file.registries.is_some() {
            return Err(RegistriesError::Version1 {
                origin: origin.to_owned(),
            });
        }
        let registries = file
            .registry
            .into_iter()
            .map(|registry| rule(registry, origin))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            registries,
            credential_helpers: file.credential_helpers,
        })
    }

    /// Adds a later file, a drop-in of registries.conf.d: its rule for a prefix replaces the
    /// earlier one.
    pub fn merge(&mut self, later: Self) {
        self.registries
            .retain(|rule| later.registries.iter().all(|new| new.prefix != rule.prefix));
        self.registries.extend(later.registries);
        if !later.credential_helpers.is_empty() {
            self.credential_helpers = later.credential_helpers;
        }
    }

    /// Puts a mirror before all others of the registry.
    pub fn add_mirror(&mut self, registry: &str, mirror: Mirror) {
        let registry = normal_prefix(registry);
        if let Some(rule) = self
            .registries
            .iter_mut()
            .find(|rule| rule.prefix == registry)
        {
            rule.mirrors.insert(0, mirror);
            return;
        }
        self.registries.push(RegistryRule {
            prefix: registry.clone(),
            location: registry,
            insecure: false,
            blocked: false,
            mirrors: vec![mirror],
            origin: "the command line".to_owned(),
        });
    }

    /// Returns the rule for a reference: that with the longest prefix.
    pub fn rule_for(&self, reference: &Reference) -> Option<&RegistryRule> {
        self.registries
            .iter()
            .filter_map(|rule| Some((matched_length(&rule.prefix, reference)?, rule)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, rule)| rule)
    }
}

/// Returns how much of the reference's name a prefix covers, or nothing if it does not match.
pub(crate) fn matched_length(prefix: &str, reference: &Reference) -> Option<usize> {
    let name = reference.name();
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = reference.registry();
        let below = host.strip_suffix(domain)?.strip_suffix('.')?;
        return (!below.is_empty()).then_some(host.len());
    }
    if let Some(rest) = name.strip_prefix(prefix) {
        return (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len());
    }
    // A prefix may name a tag or digest too.
    let full = reference.to_string();
    let rest = full.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('@')).then_some(prefix.len())
}

fn rule(registry: FileRegistry, origin: &str) -> Result<RegistryRule, RegistriesError> {
    let named = registry.prefix.as_deref().or(registry.location.as_deref());
    let wrong = |reason: &str| RegistriesError::Rule {
        origin: origin.to_owned(),
        name: named.unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
    };
    let prefix = named.ok_or_else(|| wrong("it needs a prefix or a location"))?;
    let wildcard = prefix.starts_with("*.");
    if prefix.contains("://") {
        return Err(wrong("a prefix has no scheme"));
    }
    if wildcard && prefix.contains('/') {
        return Err(wrong("a prefix with * is a host without a path"));
    }
    let location = match &registry.location {
        Some(location) => trim_slash(location),
        None => prefix.to_owned(),
    };
    let mirrors = registry
        .mirror
        .into_iter()
        .map(|mirror| {
            let pull = match mirror.pull_from_mirror {
                Some(_) if registry.mirror_by_digest_only => {
                    return Err(wrong(
                        "mirror-by-digest-only and pull-from-mirror cannot both be given",
                    ));
                }
                Some(pull) => pull,
                None if registry.mirror_by_digest_only => MirrorPull::DigestOnly,
                None => MirrorPull::All,
            };
            if mirror.location.is_empty() {
                return Err(wrong("a mirror needs a location"));
            }
            Ok(Mirror {
                location: trim_slash(&mirror.location),
                insecure: mirror.insecure,
                pull,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(RegistryRule {
        prefix: normal_prefix(prefix),
        location,
        insecure: registry.insecure,
        blocked: registry.blocked,
        mirrors,
        origin: origin.to_owned(),
    })
}

fn trim_slash(text: &str) -> String {
    text.trim_end_matches('/').to_owned()
}

fn normal_prefix(prefix: &str) -> String {
    let prefix = trim_slash(prefix);
    match prefix.strip_prefix("index.docker.io") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("docker.io{rest}"),
        _ => prefix,
    }
}

/// A mirror as the command line gives it: `docker.io=127.0.0.1:5000/hub`.
///
/// The registry may be left out and is Docker Hub's then. `http://` before the host means plain
/// HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorArgument {
    /// The registry whose images the mirror has.
    pub registry: String,
    /// The mirror.
    pub mirror: Mirror,
}

impl FromStr for MirrorArgument {
    type Err = RegistriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || RegistriesError::Mirror {
            text: text.to_owned(),
        };
        let (registry, location) = text.split_once('=').unwrap_or(("docker.io", text));
        let location = location.trim_end_matches('/');
        let insecure = location.starts_with("http://");
        let bare = location
            .strip_prefix("http://")
            .or_else(|| location.strip_prefix("https://"))
            .unwrap_or(location);
        // Whatever can hold an image can be a mirror.
        for host in [registry, bare] {
            let (host, path) = host.split_once('/').unwrap_or((host, "x"));
            let sample: Reference = "docker.io/library/x".parse().map_err(|_| invalid())?;
            if host.is_empty() || sample.renamed(host, path).is_err() {
                return Err(invalid());
            }
        }
        Ok(Self {
            registry: normal_prefix(registry),
            mirror: Mirror {
                location: location.to_owned(),
                insecure,
                pull: MirrorPull::All,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub/"
insecure = true
[[registry.mirror]]
location = "second.example"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "docker.io/library"
location = "internal.example/official"

[[registry]]
prefix = "*.evil.example"
blocked = true
"#;

    #[test]
    fn the_longest_prefix_rules() {
        let conf = RegistriesConf::parse(TEXT, "r.conf").unwrap();
        for (reference, location) in [
            ("alpine", Some("internal.example/official")),
            ("user/app", Some("docker.io")),
            ("docker.io/libraryx/app", Some("docker.io")),
            ("a.evil.example/x", Some("*.evil.example")),
            ("a.b.evil.example/x", Some("*.evil.example")),
            ("evil.example/x", None),
            ("quay.io/x/y", None),
        ] {
            let rule = conf.rule_for(&reference.parse().unwrap());
            assert_eq!(
                rule.map(|rule| rule.location.as_str()),
                location,
                "{reference}"
            );
        }
        let hub = conf.rule_for(&"user/app".parse().unwrap()).unwrap();
        assert_eq!(
            hub.mirrors,
            [
                Mirror {
                    location: "mirror.example/hub".to_owned(),
                    insecure: true,
                    pull: MirrorPull::All
                },
                Mirror {
                    location: "second.example".to_owned(),
                    insecure: false,
                    pull: MirrorPull::DigestOnly
                },
            ]
        );
    }

    #[test]
    fn later_files_and_the_command_line_win() {
        let mut conf = RegistriesConf::parse(TEXT, "r.conf").unwrap();
        conf.merge(
            RegistriesConf::parse("[[registry]]\nlocation = 'docker.io'\ninsecure = true", "d")
                .unwrap(),
        );
        let argument: MirrorArgument = "docker.io=127.0.0.1:5000".parse().unwrap();
        conf.add_mirror(&argument.registry, argument.mirror);
        let rule = conf.rule_for(&"user/app".parse().unwrap()).unwrap();
        assert!(rule.insecure);
        assert_eq!(rule.mirrors.len(), 1);
        assert_eq!(rule.mirrors[0].location, "127.0.0.1:5000");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("x =", "r.conf: "),
            ("[registries.search]\nregistries = []", "version 1"),
            ("[[registry]]\ninsecure = true", "prefix or a location"),
            ("[[registry]]\nprefix = 'https://a'", "scheme"),
            ("[[registry]]\nprefix = '*.a/b'", "without a path"),
            (
                "[[registry]]\nlocation='a'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='all'",
                "both",
            ),
        ] {
            let error = RegistriesConf::parse(text, "r.conf").unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn mirrors_of_the_command_line() {
        for (text, expected) in [
            (
                "docker.io=127.0.0.1:5000",
                Some(("docker.io", "127.0.0.1:5000", false)),
            ),
            (
                "127.0.0.1:5000",
                Some(("docker.io", "127.0.0.1:5000", false)),
            ),
            (
                "quay.io=http://m.example/q/",
                Some(("quay.io", "http://m.example/q", true)),
            ),
            ("index.docker.io=m", Some(("docker.io", "m", false))),
            ("docker.io=", None),
            ("=m", None),
            ("docker.io=ftp://m", None),
            ("docker.io=m m", None),
        ] {
            let parsed = text.parse::<MirrorArgument>().ok();
            let parsed = parsed.as_ref().map(|argument| {
                let mirror = &argument.mirror;
                (
                    argument.registry.as_str(),
                    mirror.location.as_str(),
                    mirror.insecure,
                )
            });
            assert_eq!(parsed, expected, "{text}");
        }
    }
}

//! Where a reference is looked for: its mirrors, then its registry.

use std::net::IpAddr;

use stagewright_oci::{DEFAULT_REGISTRY, Reference};

use crate::error::FetchError;
use crate::options::RegistryOptions;
use crate::registries_conf::MirrorPull;

/// The host that serves Docker Hub's images: `docker.io` itself does not.
const HUB_HOST: &str = "registry-1.docker.io";

/// One place that may have an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host[:port]` to connect to.
    pub(crate) host: String,
    /// The registry as it is called in messages and in credential files.
    pub(crate) registry: String,
    /// The reference as this place calls it.
    pub(crate) reference: Reference,
    /// Whether plain HTTP and any certificate will do.
    pub(crate) insecure: bool,
    /// Whether plain HTTP is asked for.
    pub(crate) plain_http: bool,
}

impl Endpoint {
    fn new(
        location: &str,
        rest: &str,
        reference: &Reference,
        insecure: bool,
    ) -> Result<Self, FetchError> {
        let plain_http = location.starts_with("http://");
        let bare = location
            .strip_prefix("http://")
            .or_else(|| location.strip_prefix("https://"))
            .unwrap_or(location);
        let name = format!("{bare}{rest}");
        let (registry, repository) = name.split_once('/').unwrap_or((&name, ""));
        let reference = reference.renamed(registry, repository)?;
        Ok(Self {
            host: match registry {
                DEFAULT_REGISTRY => HUB_HOST.to_owned(),
                other => other.to_owned(),
            },
            registry: registry.to_owned(),
            insecure: insecure || plain_http || is_loopback(registry),
            plain_http,
            reference,
        })
    }

    /// Returns the path of the repository on this place.
    pub(crate) fn repository(&self) -> &str {
        self.reference.repository()
    }
}

/// Tells whether a host, with or without port, is this machine, where Docker trusts plain HTTP.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Lists the places to pull a reference from, in the order in which they are asked.
pub(crate) fn pull_endpoints(
    reference: &Reference,
    options: &RegistryOptions,
) -> Result<Vec<Endpoint>, FetchError> {
    let is_insecure = |host: &str| options.insecure.iter().any(|insecure| insecure == host);
    let Some(rule) = options.registries.rule_for(reference) else {
        return Ok(vec![push_endpoint(reference, options)?]);
    };
    if rule.blocked {
        return Err(FetchError::Blocked {
            reference: reference.familiar(),
            path: rule.origin.clone(),
        });
    }
    let name = reference.name();
    let rest = match rule.prefix.strip_prefix("*.") {
        Some(_) => &name[reference.registry().len()..],
        None => name.get(rule.prefix.len()..).unwrap_or_default(),
    };
    let mut endpoints = Vec::new();
    for mirror in &rule.mirrors {
        let asked = match mirror.pull {
            MirrorPull::All => true,
            MirrorPull::DigestOnly => reference.digest().is_some(),
            MirrorPull::TagOnly => reference.digest().is_none(),
        };
        if asked {
            let insecure = mirror.insecure || is_insecure(host_of(&mirror.location));
            endpoints.push(Endpoint::new(&mirror.location, rest, reference, insecure)?);
        }
    }
    let insecure = rule.insecure || is_insecure(reference.registry());
    // A wildcard without a location of its own changes nothing.
    endpoints.push(if rule.location.starts_with("*.") {
        Endpoint::new(&name, "", reference, insecure)?
    } else {
        Endpoint::new(&rule.location, rest, reference, insecure)?
    });
    Ok(endpoints)
}

/// Returns the place to push a reference to: the registry of its name. Mirrors and the `location` of a
/// prefix are for reading alone (containers-registries.conf(5), "Remapping and mirroring registries").
pub(crate) fn push_endpoint(
    reference: &Reference,
    options: &RegistryOptions,
) -> Result<Endpoint, FetchError> {
    let rule = options.registries.rule_for(reference);
    if let Some(rule) = rule.filter(|rule| rule.blocked) {
        return Err(FetchError::Blocked {
            reference: reference.familiar(),
            path: rule.origin.clone(),
        });
    }
    let insecure = rule.is_some_and(|rule| rule.insecure)
        || options
            .insecure
            .iter()
            .any(|host| host == reference.registry());
    Endpoint::new(&reference.name(), "", reference, insecure)
}

fn host_of(location: &str) -> &str {
    let bare = location
        .strip_prefix("http://")
        .or_else(|| location.strip_prefix("https://"))
        .unwrap_or(location);
    bare.split('/').next().unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registries_conf::{MirrorArgument, RegistriesConf};

    fn places(reference: &str, conf: &str, mirrors: &[&str]) -> Vec<String> {
        let mut options = RegistryOptions {
            registries: RegistriesConf::parse(conf, "r.conf").unwrap(),
            ..RegistryOptions::default()
        };
        for mirror in mirrors {
            let argument: MirrorArgument = mirror.parse().unwrap();
            options
                .registries
                .add_mirror(&argument.registry, argument.mirror);
        }
        pull_endpoints(&reference.parse().unwrap(), &options)
            .unwrap()
            .iter()
            .map(|place| {
                let scheme = match (place.plain_http, place.insecure) {
                    (true, _) => "http",
                    (false, true) => "any",
                    (false, false) => "https",
                };
                format!("{scheme} {} {}", place.host, place.reference)
            })
            .collect()
    }

    #[test]
    fn a_reference_is_looked_for_in_order() {
        let conf = "[[registry]]\nprefix='docker.io/library'\nlocation='int.example/o'\n\
                    [[registry.mirror]]\nlocation='m.example/x'\npull-from-mirror='digest-only'\n\
                    [[registry]]\nprefix='*.w.example'\ninsecure=true";
        for (reference, mirrors, expected) in [
            (
                "user/app",
                &[][..],
                &["https registry-1.docker.io docker.io/user/app:latest"][..],
            ),
            (
                "alpine:1",
                &[],
                &["https int.example int.example/o/alpine:1"],
            ),
            (
                "a.w.example/b",
                &[],
                &["any a.w.example a.w.example/b:latest"],
            ),
            (
                "localhost:5000/b",
                &[],
                &["any localhost:5000 localhost:5000/b:latest"],
            ),
            (
                "user/app",
                &["docker.io=127.0.0.1:5000"],
                &[
                    "any 127.0.0.1:5000 127.0.0.1:5000/user/app:latest",
                    "https registry-1.docker.io docker.io/user/app:latest",
                ],
            ),
            (
                "quay.io/a/b",
                &["quay.io=http://m.example/q"],
                &[
                    "http m.example m.example/q/a/b:latest",
                    "https quay.io quay.io/a/b:latest",
                ],
            ),
        ] {
            assert_eq!(places(reference, conf, mirrors), expected, "{reference}");
        }
        let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(
            places(&format!("alpine@{digest}"), conf, &[])[0],
            format!("https m.example m.example/x/alpine@{digest}")
        );
    }

    #[test]
    fn a_push_goes_where_the_name_says() {
        let conf = "[[registry]]\nprefix='a.example/team'\nlocation='b.example/x'\ninsecure=true\n\
                    [[registry.mirror]]\nlocation='m.example'";
        let options = RegistryOptions {
            registries: RegistriesConf::parse(conf, "r.conf").unwrap(),
            ..RegistryOptions::default()
        };
        let reference = "a.example/team/app:1".parse().unwrap();
        let place = push_endpoint(&reference, &options).unwrap();
        assert_eq!(place.host, "a.example");
        assert_eq!(place.reference, reference);
        assert!(place.insecure);
        assert_eq!(
            places("a.example/team/app:1", conf, &[]),
            [
                "https m.example m.example/app:1",
                "any b.example b.example/x/app:1"
            ]
        );
    }

    #[test]
    fn a_blocked_registry_is_never_asked() {
        let options = RegistryOptions {
            registries: RegistriesConf::parse(
                "[[registry]]\nprefix='docker.io'\nblocked=true",
                "r.conf",
            )
            .unwrap(),
            ..RegistryOptions::default()
        };
        let reference = "alpine".parse().unwrap();
        let error = pull_endpoints(&reference, &options).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("alpine:latest is blocked by r.conf"),
            "{error}"
        );
        assert!(push_endpoint(&reference, &options).is_err());
    }
}

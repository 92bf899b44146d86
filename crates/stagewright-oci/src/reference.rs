//! References: the names by which images are asked for.

use std::fmt;
use std::str::FromStr;

use stagewright_digest::Digest;
use thiserror::Error;

/// The registry that a name without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that a name without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";
/// The repository under which Docker Hub keeps names of one part.
const OFFICIAL_PREFIX: &str = "library/";
/// The longest name that the grammar of references allows.
const NAME_LENGTH_MAX: usize = 255;
/// The longest tag that the grammar of references allows.
const TAG_LENGTH_MAX: usize = 128;

/// The name of an image, normalised as Docker does.
///
/// `alpine` is `docker.io/library/alpine:latest`. The parser is written by hand: the one of
/// `oci-spec` compiles a regular expression at first use, which costs more than parsing all names
/// of a build, and it does not know [`Digest`].
///
/// ```
/// use stagewright_oci::Reference;
///
/// let image: Reference = "alpine:3.10".parse().unwrap();
/// assert_eq!(image.to_string(), "docker.io/library/alpine:3.10");
/// assert_eq!(image.familiar(), "alpine:3.10");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an image name: {reason}")]
pub struct InvalidReference {
    /// The text that was parsed.
    pub text: String,
    /// What is wrong with it, and what would be right.
    pub reason: &'static str,
}

impl Reference {
    /// Returns the registry, with its port if it has one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path inside the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; a reference by digest may have none.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if the reference pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the reference pinned to `digest`; a tag stays for display.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Returns the reference without its digest, with the default tag if no tag is left.
    pub fn without_digest(&self) -> Self {
        Self {
            digest: None,
            tag: self.tag.clone().or_else(|| Some(DEFAULT_TAG.to_owned())),
            ..self.clone()
        }
    }

    /// Returns the same tag and digest under another name, such as a mirror's.
    ///
    /// The name is taken as it is: `example.com/a` is never `docker.io/example.com/a`.
    pub fn renamed(&self, registry: &str, repository: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference {
            text: format!("{registry}/{repository}"),
            reason,
        };
        check_registry(registry).map_err(invalid)?;
        check_repository(repository).map_err(invalid)?;
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            ..self.clone()
        })
    }

    /// Returns the text that a person would type: Docker Hub's registry and `library/` left out.
    pub fn familiar(&self) -> String {
        let mut text = match self.registry.as_str() {
            DEFAULT_REGISTRY => self
                .repository
                .strip_prefix(OFFICIAL_PREFIX)
                .filter(|rest| !rest.contains('/'))
                .unwrap_or(&self.repository)
                .to_owned(),
            _ => self.name(),
        };
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    /// Writes the full name, which parses back to the same reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| InvalidReference {
            text: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains("://") {
        return Err("it has a scheme; write it without http:// or docker://");
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| "what follows @ is not sha256: and 64 lower-case hex digits")?;
            (rest, Some(digest))
        }
    };
    // A colon before the last slash belongs to a port.
    let tag_at = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
    let (name, tag) = match tag_at {
        None => (rest, None),
        Some(at) => (&rest[..at], Some(rest[at + 1..].to_owned())),
    };
    if let Some(tag) = &tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name);
    if tag.is_none() && digest.is_none() && is_hex_id(name) {
        return Err("64 hex digits are an image id, and ids are not looked up; name the image");
    }
    check_registry(&registry)?;
    check_repository(&repository)?;
    if registry.len() + 1 + repository.len() > NAME_LENGTH_MAX {
        return Err("it is longer than 255 characters");
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag,
    };
    Ok(Reference {
        registry,
        repository,
        tag,
        digest,
    })
}

/// Splits a name as Docker does: the first part is a registry if it looks like a host.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = match registry {
        "index.docker.io" => DEFAULT_REGISTRY,
        other => other,
    };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return (
            registry.to_owned(),
            format!("{OFFICIAL_PREFIX}{repository}"),
        );
    }
    (registry.to_owned(), repository.to_owned())
}

fn is_hex_id(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.len() <= TAG_LENGTH_MAX
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || byte == b'.' || byte == b'-');
    if good {
        Ok(())
    } else {
        Err("the tag must be up to 128 letters, digits, _ . - and begin with a letter, digit or _")
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    const REASON: &str = "the registry must be a host name or address, with an optional :port";
    let (host, port) = if let Some(rest) = registry.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(REASON)?;
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(REASON);
        }
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or(REASON)?),
        };
        (None, port)
    } else {
        match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        }
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if host.is_some_and(|host| !host.split('.').all(label)) {
        return Err(REASON);
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(REASON);
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository must be in lower case");
    }
    if repository.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(
            "each part of the repository must be lower-case letters and digits, \
             joined by a dot, one or two underscores, or dashes",
        )
    }
}

/// Checks `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(*first) || !alphanumeric(*last) {
        return false;
    }
    bytes
        .split(|byte| alphanumeric(*byte))
        .all(|separator| match separator {
            b"" | b"." | b"_" | b"__" => true,
            dashes => dashes.iter().all(|byte| *byte == b'-'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (text, full, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            (
                "alpine:3.10",
                "docker.io/library/alpine:3.10",
                "alpine:3.10",
            ),
            (
                "docker.io/alpine",
                "docker.io/library/alpine:latest",
                "alpine:latest",
            ),
            (
                "index.docker.io/library/a",
                "docker.io/library/a:latest",
                "a:latest",
            ),
            ("library/a", "docker.io/library/a:latest", "a:latest"),
            ("user/app:v1", "docker.io/user/app:v1", "user/app:v1"),
            (
                "docker.io/library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
                "localhost:5000/a/b:c",
            ),
            (
                "ghcr.io/o/p__q.r-s--t",
                "ghcr.io/o/p__q.r-s--t:latest",
                "ghcr.io/o/p__q.r-s--t:latest",
            ),
            ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"),
            ("Host/a", "Host/a:latest", "Host/a:latest"),
            (
                "127.0.0.1:5000/a",
                "127.0.0.1:5000/a:latest",
                "127.0.0.1:5000/a:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn a_digest_pins_and_needs_no_tag() {
        let pinned: Reference = format!("alpine@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.tag(), None);
        assert_eq!(pinned.digest().unwrap().to_string(), DIGEST);
        assert_eq!(pinned.familiar(), format!("alpine@{DIGEST}"));
        assert_eq!(pinned.without_digest().familiar(), "alpine:latest");
        let both: Reference = format!("alpine:3.10@{DIGEST}").parse().unwrap();
        assert_eq!(
            both.to_string(),
            format!("docker.io/library/alpine:3.10@{DIGEST}")
        );
        assert_eq!(
            both.without_digest().with_digest(*both.digest().unwrap()),
            both
        );
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("https://docker.io/a", "scheme"),
            ("Alpine", "lower case"),
            ("a:", "tag"),
            ("a:-b", "tag"),
            ("a b", "joined by"),
            ("a//b", "joined by"),
            ("a___b", "joined by"),
            ("a..b", "joined by"),
            ("-a", "joined by"),
            ("a/", "joined by"),
            ("host.example:port/a", "registry"),
            ("host.example:99999/a", "registry"),
            ("-host.example/a", "registry"),
            ("[::g]/a", "registry"),
            ("a@sha256:abc", "64 lower-case"),
            ("a@sha512:abc", "64 lower-case"),
            (&DIGEST[7..], "image id"),
            (&"a".repeat(256), "255"),
            (&format!("a:{}", "b".repeat(129)), "tag"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {error}");
        }
    }
}

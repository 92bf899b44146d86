//! Package URLs (<https://github.com/package-url/purl-spec>).

use packageurl::PackageUrl;
use stagewright_oci::{Platform, Reference};

/// Names an image of a platform as BuildKit does: `pkg:docker/alpine@3.10?platform=linux%2Famd64`.
pub(super) fn image(name: &str, platform: &Platform) -> String {
    let plain = || format!("pkg:docker/{name}");
    let Ok(reference) = name.parse::<Reference>() else {
        return plain();
    };
    let mut bare = reference.familiar();
    let digest = reference.digest().map(ToString::to_string);
    for suffix in [digest.as_deref(), reference.tag()].into_iter().flatten() {
        bare.truncate(bare.len() - suffix.len() - 1);
    }
    let (namespace, last) = match bare.rsplit_once('/') {
        Some((namespace, last)) => (namespace, last),
        None => ("", bare.as_str()),
    };
    let parts = Parts {
        kind: "docker",
        namespace,
        name: last,
        version: reference.tag().unwrap_or_default(),
        qualifiers: &[
            ("digest", digest.as_deref().unwrap_or_default()),
            ("platform", &platform.to_string()),
        ],
    };
    parts.purl().unwrap_or_else(plain)
}

/// What a package URL is made of; what is empty is left out.
pub(super) struct Parts<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) qualifiers: &'a [(&'a str, &'a str)],
}

impl Parts<'_> {
    /// Writes the package URL; nothing for names that cannot be ones.
    pub(super) fn purl(&self) -> Option<String> {
        let mut purl = PackageUrl::new(self.kind, self.name).ok()?;
        if !self.namespace.is_empty() {
            purl.with_namespace(self.namespace).ok()?;
        }
        if !self.version.is_empty() {
            purl.with_version(self.version).ok()?;
        }
        for (key, value) in self.qualifiers {
            if !value.is_empty() {
                purl.add_qualifier(*key, *value).ok()?;
            }
        }
        Some(purl.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_buildkit_names_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let platform = Platform::new("linux", "amd64", None);
        for (name, expected) in [
            (
                "alpine:3.10",
                "pkg:docker/alpine@3.10?platform=linux%2Famd64".to_owned(),
            ),
            (
                "docker.io/me/app",
                "pkg:docker/me/app@latest?platform=linux%2Famd64".to_owned(),
            ),
            (
                "r.example:5000/a/b:1",
                "pkg:docker/r.example:5000/a/b@1?platform=linux%2Famd64".to_owned(),
            ),
            (
                &format!("alpine@{digest}"),
                format!(
                    "pkg:docker/alpine?digest=sha256:{}&platform=linux%2Famd64",
                    "a".repeat(64)
                ),
            ),
        ] {
            assert_eq!(image(name, &platform), expected, "{name}");
        }
    }
}

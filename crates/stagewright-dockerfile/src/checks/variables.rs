//! Names of variables, and of images.

/// The platform arguments that every file has.
pub(super) const PLATFORM_ARGS: [&str; 11] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// The arguments that a build may give without the file declaring them.
pub(super) const PROXY_ARGS: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

const SECRET_WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
const PUBLIC_WORDS: [&str; 3] = ["public", "file", "version"];

/// Returns whether a variable's name says that it holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|part| words.contains(&part));
    has(&SECRET_WORDS) && !has(&PUBLIC_WORDS)
}

/// Returns whether a text can name an image: `[registry/]path[:tag][@digest]`.
pub(super) fn is_image_name(text: &str) -> bool {
    let (text, digest) = text.split_once('@').unwrap_or((text, "a:b"));
    let digest_fits = digest
        .split_once(':')
        .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    let (path, tag) = match text.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (text, "latest"),
    };
    let word = |part: &str, others: &str| {
        let alone = |char: char| char.is_ascii_alphanumeric() || char == '_';
        part.starts_with(alone)
            && part
                .chars()
                .all(|char| alone(char) || others.contains(char))
    };
    let mut parts = path.split('/').enumerate();
    digest_fits
        && word(tag, ".-")
        && tag.len() <= 128
        && parts.all(|(index, part)| word(part, if index == 0 { ".-:" } else { ".-" }))
}

//! What of the sources of `ADD`, and of contexts, lies on the network.

/// What is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteKind {
    /// A file.
    Http,
    /// A git repository.
    Git,
}

impl RemoteKind {
    /// Tells an address from a path, and a repository from a file: git by its scheme or by
    /// `user@host:path`, and over http by a path that ends in `.git`.
    ///
    /// ```
    /// use stagewright_plan::RemoteKind;
    ///
    /// assert_eq!(RemoteKind::of("https://a.example/b.tar"), Some(RemoteKind::Http));
    /// assert_eq!(RemoteKind::of("https://a.example/b.git#v1"), Some(RemoteKind::Git));
    /// assert_eq!(RemoteKind::of("b.git"), None);
    /// ```
    pub fn of(source: &str) -> Option<Self> {
        let Some((scheme, rest)) = source.split_once("://") else {
            return is_scp_like(source).then_some(Self::Git);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => Some(Self::Git),
            "http" | "https" => {
                let path = rest.split(['#', '?']).next().unwrap_or(rest);
                let git = path.contains('/') && path.ends_with(".git");
                Some(if git { Self::Git } else { Self::Http })
            }
            _ => None,
        }
    }
}

/// `user@host:path`, as ssh programs write it.
fn is_scp_like(source: &str) -> bool {
    let address = source.split('#').next().unwrap_or(source);
    let Some((user, rest)) = address.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let word = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    word(user) && word(host) && !path.is_empty()
}

/// Returns the name that a file from the network has: the last part of the address's path, or
/// `__unnamed__` if that is empty, as BuildKit names it.
pub fn url_file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['#', '?']).next().unwrap_or(rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    match path.split('/').rfind(|part| !part.is_empty()) {
        None | Some("." | "..") => "__unnamed__".to_owned(),
        Some(name) => decode_percent(name).replace(['/', '\0'], "_"),
    }
}

/// Leaves out the password of an address, for people to see.
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    match host.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => format!("{scheme}://{host}{path}"),
        _ => url.to_owned(),
    }
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 1..at + 3);
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + 3..];
            }
            None => {
                bytes.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_from_files_and_both_from_paths() {
        for (text, expected) in [
            ("https://a.example/b.git", Some(RemoteKind::Git)),
            ("https://a.example/b.git?ref=x", Some(RemoteKind::Git)),
            ("HTTP://a.example/b.git", Some(RemoteKind::Git)),
            ("git://a.example/b", Some(RemoteKind::Git)),
            ("ssh://git@a.example/b", Some(RemoteKind::Git)),
            ("git@a.example:b/c#v1", Some(RemoteKind::Git)),
            ("https://a.git", Some(RemoteKind::Http)),
            ("http://a.example/b.gitx", Some(RemoteKind::Http)),
            ("a.git", None),
            ("b@c", None),
            ("./git@a:b", None),
            ("-o@a:b", None),
            ("ftp://a.example/b", None),
        ] {
            assert_eq!(RemoteKind::of(text), expected, "{text}");
        }
    }

    #[test]
    fn files_are_named_by_the_path() {
        for (url, expected) in [
            ("https://a.example/b/c.tar.gz?x=1#y", "c.tar.gz"),
            ("https://a.example/b/", "b"),
            ("https://a.example/", "__unnamed__"),
            ("https://a.example?x=/y", "__unnamed__"),
            ("https://a.example", "__unnamed__"),
            ("https://a.example/..", "__unnamed__"),
            ("https://a.example/a%20b", "a b"),
            ("https://a.example/a%2Fb", "a_b"),
            ("https://a.example/100%", "100%"),
        ] {
            assert_eq!(url_file_name(url), expected, "{url}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, expected) in [
            ("https://u:p@a.example/b?x=y", "https://a.example/b?x=y"),
            ("ssh://git@a.example/b", "ssh://git@a.example/b"),
            ("https://a.example/b@c:d", "https://a.example/b@c:d"),
            ("git@a.example:b", "git@a.example:b"),
        ] {
            assert_eq!(shown_url(url), expected);
        }
    }
}

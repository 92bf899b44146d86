//! `WWW-Authenticate`: how a registry wants to be asked.

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token that another server gives (distribution specification, token authentication).
    Bearer {
        /// The server that gives tokens.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Takes the challenge that is wanted most out of the headers of an answer: a bearer token
    /// before a password.
    pub(crate) fn from_headers<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for value in values {
            match Self::parse(value) {
                Some(bearer @ Self::Bearer { .. }) => return Some(bearer),
                Some(Self::Basic) => basic = Some(Self::Basic),
                None => {}
            }
        }
        basic
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| {
            let found = parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        Some(Self::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
        })
    }
}

/// Parses `key=value, key="quoted \" value"`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((key.trim_matches([' ', ',']).to_owned(), value));
        rest = after;
    }
    found
}

/// Reads up to the closing quote and returns what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (headers, expected) in [
            (
                &[r#"Bearer realm="https://a/token",service="s",scope="repository:x:pull,push""#][..],
                bearer("https://a/token", Some("s"), Some("repository:x:pull,push")),
            ),
            (
                &["bearer realm=https://a , service=s"],
                bearer("https://a", Some("s"), None),
            ),
            (&[r#"Bearer realm="a\"b""#], bearer("a\"b", None, None)),
            (&[r#"Basic realm="x""#], Some(Challenge::Basic)),
            (&["Basic", r#"Bearer realm="r""#], bearer("r", None, None)),
            (&["Negotiate"], None),
            (&["Bearer service=s"], None),
            (&[r#"Bearer realm="unended"#], bearer("unended", None, None)),
        ] {
            assert_eq!(
                Challenge::from_headers(headers.iter().copied()),
                expected,
                "{headers:?}"
            );
        }
    }
}

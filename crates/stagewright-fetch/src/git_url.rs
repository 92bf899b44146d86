//! Git addresses as `ADD` and build contexts take them.

use std::str::FromStr;

use reqwest::Url;
use thiserror::Error;

/// A place in a git repository.
///
/// ```
/// use stagewright_fetch::GitUrl;
///
/// let source: GitUrl = "https://example.com/app.git#v1:docs".parse().unwrap();
/// assert_eq!(source.remote, "https://example.com/app.git");
/// assert_eq!(source.reference.as_deref(), Some("v1"));
/// assert_eq!(source.subdir.as_deref(), Some("docs"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitUrl {
    /// What git is told: without fragment and without this project's part of the query.
    pub remote: String,
    /// A branch, tag, full reference or commit; the default branch if nothing is said.
    pub reference: Option<String>,
    /// The folder of the repository that is meant.
    pub subdir: Option<String>,
    /// The commit, or the beginning of it, that the reference must be.
    pub checksum: Option<String>,
    /// Whether `.git` is kept, if the address says so.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, if the address says so; they are otherwise.
    pub submodules: Option<bool>,
    /// Whether the commit is asked for by its own name and not by the reference's.
    pub by_commit: bool,
    /// Whether files get the time of the commit, if the address says so.
    pub mtime_of_commit: Option<bool>,
}

/// A text is not the address of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a git address: {reason}")]
pub struct InvalidGitUrl {
    /// The text that was parsed.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Tells whether `ADD` takes a source for a git repository rather than for a file: by its scheme,
/// and over http only when its path ends in `.git`.
fn is_git_url(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => true,
            "http" | "https" => {
                let path = rest.split(['#', '?']).next().unwrap_or(rest);
                path.contains('/') && path.ends_with(".git")
            }
            _ => false,
        },
        None => scp_parts(text).is_some(),
    }
}

/// Splits `user@host:path`.
fn scp_parts(text: &str) -> Option<(&str, &str, &str)> {
    let (user, rest) = text.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    let word = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    (word(user) && word(host) && !path.is_empty()).then_some((user, host, path))
}

impl GitUrl {
    /// Says which commit it must be.
    pub fn with_checksum(self, checksum: &str) -> Result<Self, InvalidGitUrl> {
        let changed = Self {
            checksum: Some(checksum.to_owned()),
            ..self
        };
        match check(&changed) {
            Ok(()) => Ok(changed),
            Err(reason) => Err(InvalidGitUrl {
                text: shown(&changed.remote),
                reason,
            }),
        }
    }

    /// Returns the address without its user and password.
    pub fn shown_remote(&self) -> String {
        shown(&self.remote)
    }
}

/// Leaves out the user and password of an address.
pub(crate) fn shown(remote: &str) -> String {
    match remote.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => remote.to_owned(),
    }
}

impl FromStr for GitUrl {
    type Err = InvalidGitUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| InvalidGitUrl {
            text: shown(text),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<GitUrl, String> {
    if !is_git_url(text) {
        return Err(
            "write https://host/path.git, ssh://user@host/path, git://host/path or user@host:path"
                .to_owned(),
        );
    }
    let (address, fragment) = match text.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (text, None),
    };
    let (remote, query) = split_query(address)?;
    let mut found = GitUrl {
        remote,
        ..GitUrl::default()
    };
    if let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) {
        if !query.is_empty() {
            return Err("give either a #fragment or a ?query, not both".to_owned());
        }
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        found.reference = Some(reference.to_owned()).filter(|reference| !reference.is_empty());
        found.subdir = Some(subdir.to_owned()).filter(|subdir| !subdir.is_empty());
    }
    for (key, value) in query {
        apply(&mut found, &key, value)?;
    }
    check(&found)?;
    Ok(found)
}

/// Takes the query off, if there is one. Only addresses with a scheme have one.
fn split_query(address: &str) -> Result<(String, Vec<(String, String)>), String> {
    if !address.contains("://") {
        return Ok((address.to_owned(), Vec::new()));
    }
    let mut url = Url::parse(address).map_err(|error| error.to_string())?;
    if url
        .host_str()
        .is_none_or(|host| host.is_empty() || host.starts_with('-'))
    {
        return Err("it has no host".to_owned());
    }
    let query = url.query_pairs().into_owned().collect();
    if url.query().is_none() {
        // As it was written: parsing may have changed how the path is encoded.
        return Ok((address.to_owned(), query));
    }
    url.set_query(None);
    Ok((url.to_string(), query))
}

fn apply(found: &mut GitUrl, key: &str, value: String) -> Result<(), String> {
    let once = |slot: &mut Option<String>, value: String| match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!(
            "{key} is given twice, or beside another that means the same"
        )),
    };
    let switch = |slot: &mut Option<bool>| match value.as_str() {
        "" | "1" | "true" => {
            *slot = Some(true);
            Ok(())
        }
        "0" | "false" => {
            *slot = Some(false);
            Ok(())
        }
        other => Err(format!("{key}={other}: write true or false")),
    };
    match key {
        "ref" => once(&mut found.reference, value),
        "branch" => once(&mut found.reference, format!("refs/heads/{value}")),
        "tag" => once(&mut found.reference, format!("refs/tags/{value}")),
        "subdir" => once(&mut found.subdir, value),
        "checksum" | "commit" => once(&mut found.checksum, value),
        "keep-git-dir" => switch(&mut found.keep_git_dir),
        "submodules" => switch(&mut found.submodules),
        "fetch-by-commit" => {
            let mut by_commit = None;
            switch(&mut by_commit)?;
            found.by_commit = by_commit.unwrap_or(false);
            Ok(())
        }
        "mtime" => match value.as_str() {
            "checkout" => {
                found.mtime_of_commit = Some(false);
                Ok(())
            }
            "commit" => {
                found.mtime_of_commit = Some(true);
                Ok(())
            }
            other => Err(format!("mtime={other}: write checkout or commit")),
        },
        other => Err(format!(
            "the query has {other:?}; ref, branch, tag, subdir, checksum, commit, keep-git-dir, \
             submodules, mtime and fetch-by-commit are known"
        )),
    }
}

fn check(found: &GitUrl) -> Result<(), String> {
    if let Some(reference) = &found.reference {
        // Git would take the first for an option, and the others for more than a name.
        let bad = reference.starts_with('-')
            || reference.contains("..")
            || reference
                .chars()
                .any(|c| c.is_control() || " ~^:?*[\\".contains(c));
        if bad {
            return Err(format!(
                "{reference:?} is not the name of a branch, tag or commit"
            ));
        }
    }
    if let Some(subdir) = &found.subdir
        && subdir.split('/').any(|part| part == "..")
    {
        return Err(format!("the folder {subdir:?} leads out of the repository"));
    }
    if let Some(checksum) = &found.checksum {
        let hex = checksum
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !(7..=64).contains(&checksum.len()) {
            return Err(format!(
                "the commit {checksum:?} is not 7 to 64 lower-case hex digits"
            ));
        }
    }
    if found.by_commit && !found.checksum.as_deref().is_some_and(is_commit) {
        return Err("fetch-by-commit needs the whole commit: add commit=".to_owned());
    }
    Ok(())
}

/// Tells whether a text is a commit in full.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_from_files() {
        for (text, expected) in [
            ("https://a.example/b.git", true),
            ("https://a.example/b.git#x", true),
            ("https://a.example/b.git?ref=x", true),
            ("HTTP://a.example/b.git", true),
            ("git://a.example/b", true),
            ("ssh://git@a.example/b", true),
            ("git@a.example:b/c", true),
            ("https://a.example/b.tar", false),
            ("https://a.git", false),
            ("a.git", false),
            ("b@c", false),
            ("./git@a:b", false),
            ("-o@a:b", false),
        ] {
            assert_eq!(is_git_url(text), expected, "{text}");
        }
    }

    #[test]
    fn fragments_and_queries_say_what_is_meant() {
        let url = |remote: &str| GitUrl {
            remote: remote.to_owned(),
            ..GitUrl::default()
        };
        let some = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("git@a.example:b/c.git", url("git@a.example:b/c.git")),
            ("https://a.example/b.git#", url("https://a.example/b.git")),
            (
                "git@a.example:b.git#v1:x/y",
                GitUrl {
                    reference: some("v1"),
                    subdir: some("x/y"),
                    ..url("git@a.example:b.git")
                },
            ),
            (
                "https://a.example/b.git#:x",
                GitUrl {
                    subdir: some("x"),
                    ..url("https://a.example/b.git")
                },
            ),
            (
                "https://a.example/b.git?tag=v1&subdir=x&checksum=0123456&submodules=false&keep-git-dir=1&mtime=commit",
                GitUrl {
                    reference: some("refs/tags/v1"),
                    subdir: some("x"),
                    checksum: some("0123456"),
                    keep_git_dir: Some(true),
                    submodules: Some(false),
                    mtime_of_commit: Some(true),
                    ..url("https://a.example/b.git")
                },
            ),
        ] {
            assert_eq!(text.parse::<GitUrl>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("https://a.example/b", "write https://"),
            ("ext::sh -c x", "write https://"),
            ("https://a.example/b.git?x=1", "\"x\"; ref, branch"),
            ("https://a.example/b.git?ref=a&tag=b", "given twice"),
            ("https://a.example/b.git?ref=a#b", "not both"),
            ("https://a.example/b.git#--upload-pack=x", "not the name"),
            ("https://a.example/b.git#a b", "not the name"),
            ("https://a.example/b.git#a:../..", "leads out"),
            ("https://a.example/b.git?checksum=x", "hex digits"),
            (
                "https://a.example/b.git?commit=0123456&fetch-by-commit=1",
                "the whole commit",
            ),
            ("https://a.example/b.git?submodules=maybe", "true or false"),
            ("ssh://-oProxyCommand=x/b.git", "no host"),
        ] {
            let error = text.parse::<GitUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

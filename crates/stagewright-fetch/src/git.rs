//! Git repositories, by way of the `git` command.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use thiserror::Error;
use tokio::process::Command;

use crate::git_url::{GitUrl, is_commit, shown};
use crate::target::Boxed;

/// How a `git` is run.
///
/// Nothing of the user's or the machine's git configuration has a part in it, so that the same
/// address gives the same files everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitOptions {
    /// The value of an `Authorization` header for the repository's host, over http only.
    pub authorization: Option<String>,
    /// The socket of an ssh agent.
    pub ssh_agent: Option<PathBuf>,
    /// The file of the hosts that ssh knows; without it a host is taken on trust.
    pub ssh_known_hosts: Option<PathBuf>,
    /// Proxies and the like: variables in addition to those of this process.
    pub env: Vec<(String, String)>,
}

/// A commit, and the reference that it was resolved from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// The commit, in full.
    pub commit: String,
    /// What is fetched to get it: a full reference, or the commit itself.
    pub reference: String,
}

/// A repository cannot be had.
#[derive(Debug, Error)]
pub enum GitError {
    /// There is no git.
    #[error("git cannot be run: {0}; install git")]
    Missing(io::Error),
    /// Git failed.
    #[error("{remote}: git {operation} failed: {message}")]
    Failed {
        /// The repository, without a password.
        remote: String,
        /// What git was doing.
        operation: String,
        /// What it said.
        message: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{remote} has no branch, tag or commit {reference:?}")]
    NoReference {
        /// The repository, without a password.
        remote: String,
        /// What was asked for.
        reference: String,
    },
    /// The reference is another commit than it should be.
    #[error("{remote}: {reference} is the commit {found} and not {expected}")]
    Checksum {
        /// The repository, without a password.
        remote: String,
        /// What was asked for.
        reference: String,
        /// The commit, or the beginning of it, that it should be.
        expected: String,
        /// The commit that it is.
        found: String,
    },
    /// The folder is not in the repository.
    #[error("{remote} has no folder {subdir:?} at {commit}")]
    NoFolder {
        /// The repository, without a password.
        remote: String,
        /// The folder.
        subdir: String,
        /// The commit.
        commit: String,
    },
    /// The files cannot be put where they belong.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Finds out which commit an address means. Asks the repository, but for a full commit.
pub fn resolve_git<'a>(
    url: &'a GitUrl,
    options: &'a GitOptions,
) -> Boxed<'a, Result<GitCommit, GitError>> {
    Box::pin(resolve(url, options))
}

async fn resolve(url: &GitUrl, options: &GitOptions) -> Result<GitCommit, GitError> {
    let git = Git { url, options };
    let wanted = match &url.checksum {
        Some(commit) if url.by_commit => commit,
        _ => url.reference.as_deref().unwrap_or("HEAD"),
    };
    let found = if is_commit(wanted) {
        GitCommit {
            commit: wanted.to_owned(),
            reference: wanted.to_owned(),
        }
    } else {
        let peeled = format!("{wanted}^{{}}");
        let text = git
            .run(None, &["ls-remote", "--", &url.remote, wanted, &peeled])
            .await?;
        choose(&text, wanted).ok_or_else(|| GitError::NoReference {
            remote: shown(&url.remote),
            reference: wanted.to_owned(),
        })?
    };
    match &url.checksum {
        Some(expected) if !found.commit.starts_with(expected.as_str()) => Err(GitError::Checksum {
            remote: shown(&url.remote),
            reference: wanted.to_owned(),
            expected: expected.clone(),
            found: found.commit,
        }),
        _ => Ok(found),
    }
}

/// Chooses among the lines of `ls-remote`: the full name, then a branch, then a tag. An annotated
/// tag means the commit that it is on.
fn choose(text: &str, wanted: &str) -> Option<GitCommit> {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    let find = |name: &str| {
        lines
            .iter()
            .find(|(_, found)| *found == name)
            .map(|(commit, _)| *commit)
    };
    let names =
        ["", "refs/", "refs/heads/", "refs/tags/"].map(|prefix| format!("{prefix}{wanted}"));
    names.into_iter().find_map(|name| {
        let commit = find(&format!("{name}^{{}}")).or_else(|| find(&name))?;
        Some(GitCommit {
            commit: commit.to_owned(),
            reference: name,
        })
    })
}

/// Checks a commit out into an empty folder, which then holds the files of the address's folder
/// and nothing else.
///
/// Modes are 0644 and 0755 whatever the umask is. `.git` is kept if `keep_git_dir` says so, and
/// only where the address means the whole repository; it says nothing of the machine or of when
/// it was made.
pub fn checkout_git<'a>(
    url: &'a GitUrl,
    commit: &'a GitCommit,
    keep_git_dir: bool,
    folder: &'a Path,
    options: &'a GitOptions,
) -> Boxed<'a, Result<(), GitError>> {
    Box::pin(checkout(url, commit, keep_git_dir, folder, options))
}

async fn checkout(
    url: &GitUrl,
    commit: &GitCommit,
    keep_git_dir: bool,
    folder: &Path,
    options: &GitOptions,
) -> Result<(), GitError> {
    let git = Git { url, options };
    fs::create_dir_all(folder)?;
    git.run(
        Some(folder),
        &["init", "--quiet", "--initial-branch=master"],
    )
    .await?;
    git.run(
        Some(folder),
        &["remote", "add", "origin", "--", &url.remote],
    )
    .await?;
    git.fetch(folder, commit).await?;
    git.run(
        Some(folder),
        &["checkout", "--quiet", "--detach", &commit.commit],
    )
    .await?;
    if url.submodules != Some(false) {
        let update = [
            "submodule",
            "update",
            "--quiet",
            "--init",
            "--recursive",
            "--depth=1",
        ];
        git.run(Some(folder), &update).await?;
    }
    let keep = keep_git_dir && subdir_parts(url).next().is_none();
    if keep {
        git.run(
            Some(folder),
            &["remote", "set-url", "origin", &shown(&url.remote)],
        )
        .await?;
        git.run(Some(folder), &["reflog", "expire", "--all", "--expire=now"])
            .await?;
        for name in ["FETCH_HEAD", "hooks", "index"] {
            remove(&folder.join(".git").join(name))?;
        }
        // The index holds inode numbers and times: one without them is written in its place.
        git.run(Some(folder), &["read-tree", "HEAD"]).await?;
    }
    let time = match url.mtime_of_commit {
        Some(true) => Some(git.commit_time(folder, &commit.commit).await?),
        _ => None,
    };
    finish(url, commit, keep, folder)?;
    match time {
        Some(seconds) => Ok(set_times(folder, seconds)?),
        None => Ok(()),
    }
}

/// Returns the time of the commit that a folder of this machine is at, in seconds since 1970;
/// nothing for a folder that is in no repository.
pub async fn git_commit_time(folder: &Path) -> Option<i64> {
    let (url, options) = (GitUrl::default(), GitOptions::default());
    let git = Git {
        url: &url,
        options: &options,
    };
    // The folder may be another user's: nothing of it is run.
    let show = ["-c", "safe.directory=*", "log", "-1", "--format=%ct"];
    let text = git.run(Some(folder), &show).await.ok()?;
    text.trim().parse().ok()
}

/// Keeps the folder that is meant, drops `.git`, and sets the modes.
fn finish(url: &GitUrl, commit: &GitCommit, keep: bool, folder: &Path) -> Result<(), GitError> {
    if !keep {
        remove_git_dirs(folder)?;
    }
    if subdir_parts(url).next().is_some() {
        let mut source = folder.to_owned();
        for part in subdir_parts(url) {
            source.push(part);
            // A link could lead out of the repository.
            if !fs::symlink_metadata(&source).is_ok_and(|found| found.is_dir()) {
                return Err(GitError::NoFolder {
                    remote: shown(&url.remote),
                    subdir: url.subdir.clone().unwrap_or_default(),
                    commit: commit.commit.clone(),
                });
            }
        }
        hoist(&source, folder)?;
    }
    set_modes(folder)?;
    Ok(())
}

fn subdir_parts(url: &GitUrl) -> impl Iterator<Item = &str> {
    let parts = url.subdir.as_deref().unwrap_or_default().split('/');
    parts.filter(|part| !matches!(*part, "" | "."))
}

/// Puts the content of a folder below in the place of everything else.
fn hoist(source: &Path, folder: &Path) -> io::Result<()> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".subdir");
    let aside = folder.with_file_name(name);
    fs::rename(source, &aside)?;
    fs::remove_dir_all(folder)?;
    fs::rename(&aside, folder)
}

/// Removes `.git` of the repository and of its submodules, where it is a file.
fn remove_git_dirs(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == ".git" {
            remove(&entry.path())?;
        } else if entry.file_type()?.is_dir() {
            remove_git_dirs(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn set_modes(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    let executable = found.is_dir() || found.permissions().mode() & 0o100 != 0;
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            set_modes(&entry?.path())?;
        }
    }
    Ok(())
}

/// Gives everything the same time: what is in a folder before the folder itself, whose time changes
/// with its entries.
fn set_times(path: &Path, seconds: i64) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), seconds)?;
        }
    }
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

struct Git<'a> {
    url: &'a GitUrl,
    options: &'a GitOptions,
}

impl Git<'_> {
    /// Fetches one commit, and no more than that where the server allows it.
    async fn fetch(&self, folder: &Path, commit: &GitCommit) -> Result<(), GitError> {
        let shallow = ["fetch", "--quiet", "--no-tags", "--depth=1", "origin"];
        for wanted in [&commit.reference, &commit.commit] {
            let mut arguments = shallow.to_vec();
            let refspec = format!("+{wanted}:refs/stagewright/{wanted}");
            arguments.push(if is_commit(wanted) { wanted } else { &refspec });
            match self.run(Some(folder), &arguments).await {
                Ok(_) if self.has(folder, &commit.commit).await => return Ok(()),
                // The reference has moved on since it was resolved.
                Ok(_) => {}
                // Some servers give single commits only by a reference, and some no part of a
                // history at all.
                Err(error) => tracing::debug!("{error}"),
            }
        }
        let all = [
            "fetch",
            "--quiet",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
        ];
        self.run(
            Some(folder),
            &[&all[..], &["+refs/tags/*:refs/tags/*"]].concat(),
        )
        .await?;
        if self.has(folder, &commit.commit).await {
            return Ok(());
        }
        Err(GitError::NoReference {
            remote: shown(&self.url.remote),
            reference: commit.commit.clone(),
        })
    }

    /// Returns when a commit was made, in seconds since 1970.
    async fn commit_time(&self, folder: &Path, commit: &str) -> Result<i64, GitError> {
        let show = ["show", "--no-patch", "--format=%ct", commit];
        let text = self.run(Some(folder), &show).await?;
        text.trim().parse().map_err(|_| GitError::Failed {
            remote: shown(&self.url.remote),
            operation: "show".to_owned(),
            message: format!("it gave {text:?} for a time"),
        })
    }

    async fn has(&self, folder: &Path, commit: &str) -> bool {
        let object = format!("{commit}^{{commit}}");
        self.run(Some(folder), &["cat-file", "-e", &object])
            .await
            .is_ok()
    }

    /// Runs git and returns what it printed.
    async fn run(&self, folder: Option<&Path>, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = Command::new("git");
        command.args(arguments);
        self.isolate(&mut command);
        // Without a folder of its own git would look for a repository around the process.
        command.current_dir(folder.unwrap_or_else(|| Path::new("/")));
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(GitError::Missing)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        // Git may repeat the address with its password.
        let message = said
            .trim()
            .replace(&self.url.remote, &shown(&self.url.remote));
        Err(GitError::Failed {
            remote: shown(&self.url.remote),
            operation: arguments.first().copied().unwrap_or_default().to_owned(),
            message: format!("{message} ({})", output.status),
        })
    }

    fn isolate(&self, command: &mut Command) {
        // Set by a git hook around this process, they would lead git to another repository.
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
            "GIT_CONFIG",
            "GIT_CONFIG_PARAMETERS",
            "GIT_TEMPLATE_DIR",
        ] {
            command.env_remove(name);
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("LC_ALL", "C")
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .env("GIT_SSH_COMMAND", self.ssh_command());
        if let Some(socket) = &self.options.ssh_agent {
            command.env("SSH_AUTH_SOCK", socket);
        }
        // By the environment, since arguments are seen by everybody on the machine.
        let mut settings = vec![
            ("protocol.ext.allow".to_owned(), "never".to_owned()),
            ("init.templateDir".to_owned(), String::new()),
            ("core.hooksPath".to_owned(), "/dev/null".to_owned()),
        ];
        if let Some(value) = &self.options.authorization
            && let Some(scope) = header_scope(&self.url.remote)
        {
            let name = format!("http.{scope}.extraheader");
            settings.push((name, format!("Authorization: {value}")));
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (at, (name, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
    }

    fn ssh_command(&self) -> String {
        let base = "ssh -F /dev/null -o BatchMode=yes";
        match &self.options.ssh_known_hosts {
            Some(path) => format!("{base} -o UserKnownHostsFile={}", quoted(path.as_os_str())),
            None => format!("{base} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"),
        }
    }
}

/// Returns `scheme://host/`, to which a header is limited.
fn header_scope(remote: &str) -> Option<String> {
    let (scheme, rest) = remote.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let host = rest.split('/').next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    Some(format!("{scheme}://{host}/"))
}

/// Quotes a word for the shell that runs `GIT_SSH_COMMAND`.
fn quoted(text: &OsStr) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_chosen_as_git_does() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let text = format!(
            "{a}\tHEAD\n{a}\trefs/heads/v1\n{b}\trefs/tags/v1\n{b}\trefs/tags/v2\n{c}\trefs/tags/v2^{{}}\n{a}\trefs/heads/x/v3\n"
        );
        for (wanted, expected) in [
            ("HEAD", Some((&a, "HEAD"))),
            ("v1", Some((&a, "refs/heads/v1"))),
            ("refs/tags/v1", Some((&b, "refs/tags/v1"))),
            ("tags/v1", Some((&b, "refs/tags/v1"))),
            ("v2", Some((&c, "refs/tags/v2"))),
            ("v3", None),
        ] {
            let found = choose(&text, wanted);
            let found = found
                .as_ref()
                .map(|found| (&found.commit, found.reference.as_str()));
            assert_eq!(found, expected, "{wanted}");
        }
    }

    #[test]
    fn passwords_are_not_shown_and_headers_are_limited() {
        assert_eq!(
            shown("https://u:p@a.example/b.git"),
            "https://a.example/b.git"
        );
        assert_eq!(shown("git@a.example:b"), "git@a.example:b");
        assert_eq!(
            header_scope("https://u@a.example/b").as_deref(),
            Some("https://a.example/")
        );
        assert_eq!(header_scope("ssh://a.example/b"), None);
        assert_eq!(quoted(OsStr::new("a'b")), r"'a'\''b'");
    }
}

//! Git, against repositories that git itself serves.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use base64::Engine as _;
use stagewright_fetch::{GitError, GitOptions, GitUrl, checkout_git, resolve_git};
use stagewright_testkit::{GitServer, program};

/// Files by path with what they hold; an executable's path ends in `*`.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
            collect(root, &path, found);
            continue;
        }
        let mark = match metadata.permissions().mode() & 0o777 {
            0o755 => "*",
            0o644 => "",
            mode => panic!("{} has the mode {mode:o}", path.display()),
        };
        let name = path.strip_prefix(root).unwrap().display();
        let text = fs_err::read_to_string(&path).unwrap_or_default();
        found.insert(format!("{name}{mark}"), text);
    }
}

async fn fetch(url: &str, keep: bool) -> Result<(String, tempfile::TempDir), GitError> {
    fetch_with(url, keep, &GitOptions::default()).await
}

async fn fetch_with(
    url: &str,
    keep: bool,
    options: &GitOptions,
) -> Result<(String, tempfile::TempDir), GitError> {
    let url: GitUrl = url.parse().unwrap();
    let commit = resolve_git(&url, options).await?;
    let parent = tempfile::tempdir().unwrap();
    checkout_git(&url, &commit, keep, &parent.path().join("out"), options).await?;
    Ok((commit.commit, parent))
}

fn map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_tags_commits_and_folders_are_found() {
    let server = GitServer::start();
    let first = server.commit("a.git", &[("f", "1"), ("run*", "x"), ("deep/er/g", "1")]);
    server.git("a.git", &["tag", "-a", "v1", "-m", "v1"]);
    server.git("a.git", &["tag", "light"]);
    let second = server.commit("a.git", &[("f", "2")]);
    server.git("a.git", &["checkout", "--quiet", "-b", "feature/x", "v1"]);
    let third = server.commit("a.git", &[("f", "3")]);
    server.git("a.git", &["checkout", "--quiet", "main"]);
    let base = server.url("a.git");
    let whole = |text: &str| map(&[("f", text), ("run*", "x"), ("deep/er/g", "1")]);
    for (tail, commit, expected) in [
        (String::new(), &second, whole("2")),
        ("#main".to_owned(), &second, whole("2")),
        ("#v1".to_owned(), &first, whole("1")),
        ("#light".to_owned(), &first, whole("1")),
        ("#feature/x".to_owned(), &third, whole("3")),
        ("#refs/heads/feature/x".to_owned(), &third, whole("3")),
        (format!("#{first}"), &first, whole("1")),
        ("#main:deep".to_owned(), &second, map(&[("er/g", "1")])),
        ("#:deep/er".to_owned(), &second, map(&[("g", "1")])),
        (
            "?tag=v1&subdir=deep".to_owned(),
            &first,
            map(&[("er/g", "1")]),
        ),
        (
            format!("?branch=main&commit={first}&fetch-by-commit=true"),
            &first,
            whole("1"),
        ),
        (
            format!("?branch=main&commit={}", &second[..12]),
            &second,
            whole("2"),
        ),
    ] {
        let url = format!("{base}{tail}");
        let (found, parent) = fetch(&url, false).await.unwrap();
        assert_eq!(found, *commit, "{url}");
        assert_eq!(files(&parent.path().join("out")), expected, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said() {
    let server = GitServer::start();
    let commit = server.commit("a.git", &[("f", "1")]);
    fs_err::os::unix::fs::symlink("/etc", server.folder("a.git").join("link")).unwrap();
    server.commit("a.git", &[]);
    let base = server.url("a.git");
    for (tail, expected) in [
        (
            "#nothing".to_owned(),
            "has no branch, tag or commit \"nothing\"",
        ),
        (
            format!("#{}", "0".repeat(40)),
            "has no branch, tag or commit \"000",
        ),
        ("#main:nothing".to_owned(), "has no folder \"nothing\""),
        ("#main:f".to_owned(), "has no folder \"f\""),
        ("#main:link".to_owned(), "has no folder \"link\""),
        (
            "?branch=main&checksum=0123456".to_owned(),
            "and not 0123456",
        ),
    ] {
        let error = fetch(&format!("{base}{tail}"), false).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{tail}: {error}");
    }
    let error = fetch(&server.url("b.git"), false).await.unwrap_err();
    assert!(
        error.to_string().contains("git ls-remote failed"),
        "{error}"
    );
    // A commit that no reference leads to any more is no part of the repository, unless the
    // server gives it: git's own does.
    let (found, _) = fetch(&format!("{base}#{commit}"), false).await.unwrap();
    assert_eq!(found, commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_git_folder_is_kept_and_says_nothing_of_the_machine() {
    let server = GitServer::start();
    let commit = server.commit("a.git", &[("f", "1"), ("d/g", "1")]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_, parent) = fetch(&server.url("a.git"), true).await.unwrap();
        let out = parent.path().join("out");
        let log = Command::new(program("git", "git"))
            .args(["-c", "safe.directory=*", "log", "--format=%H"])
            .current_dir(&out)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&log.stdout).trim(), commit);
        let mut names = files(&out);
        // A pack's name is that of its content; what is in it may come in another order.
        names.retain(|name, _| !name.contains(".git/objects/"));
        assert!(names.contains_key(".git/HEAD"), "{names:?}");
        seen.push(names);
    }
    assert_eq!(seen[0], seen[1]);
    let (_, parent) = fetch(&format!("{}#:d", server.url("a.git")), true)
        .await
        .unwrap();
    assert_eq!(files(&parent.path().join("out")), map(&[("g", "1")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_come_along_unless_they_are_not_wanted() {
    let server = GitServer::start();
    server.commit("sub.git", &[("s", "1")]);
    server.commit("a.git", &[("f", "1")]);
    let sub = server.url("sub.git");
    server.git("a.git", &["submodule", "--quiet", "add", &sub, "sub"]);
    server.commit("a.git", &[]);
    let (_, with) = fetch(&server.url("a.git"), false).await.unwrap();
    let found = files(&with.path().join("out"));
    assert_eq!(found.get("sub/s").map(String::as_str), Some("1"));
    assert!(
        !found
            .keys()
            .any(|name| name.contains(".git/") || name.ends_with("/.git"))
    );
    let url = format!("{}?submodules=false", server.url("a.git"));
    let (_, without) = fetch(&url, false).await.unwrap();
    assert!(!files(&without.path().join("out")).contains_key("sub/s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_the_time_of_their_commit_where_that_is_asked_for() {
    let server = GitServer::start();
    server.commit("a.git", &[("f", "1"), ("d/g", "1")]);
    let url = format!("{}?mtime=commit", server.url("a.git"));
    let (_, parent) = fetch(&url, false).await.unwrap();
    for name in ["f", "d", "d/g"] {
        let found = fs_err::metadata(parent.path().join("out").join(name)).unwrap();
        let time = std::os::unix::fs::MetadataExt::mtime(&found);
        assert_eq!(time, 1_600_000_000, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_sent_to_its_host_only_and_never_shown() {
    let server = GitServer::start();
    server.commit("a.git", &[("f", "1")]);
    let header = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("x-access-token:secret-word")
    );
    server.require(&header);
    let error = fetch(&server.url("a.git"), false).await.unwrap_err();
    assert!(error.to_string().contains("ls-remote"), "{error}");
    let options = GitOptions {
        authorization: Some(header),
        ..GitOptions::default()
    };
    fetch_with(&server.url("a.git"), false, &options)
        .await
        .unwrap();
    let elsewhere = GitServer::start();
    elsewhere.require("Basic other");
    let error = fetch_with(&elsewhere.url("a.git"), false, &options)
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("secret-word"), "{error}");
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gits_own_protocol_works() {
    let server = GitServer::start();
    let commit = server.commit("a.git", &[("f", "1")]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let programs = server.git("a.git", &["--exec-path"]);
    // Started as what it is: git itself would leave it behind.
    let daemon = Command::new(Path::new(&programs).join("git-daemon"))
        .args(["--export-all", "--reuseaddr"])
        .args(["--listen=127.0.0.1", &format!("--port={port}")])
        .arg(format!("--base-path={}", server.folder("").display()))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _daemon = Daemon(daemon);
    let url = format!("git://127.0.0.1:{port}/a.git");
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (found, _) = fetch(&url, false).await.unwrap();
    assert_eq!(found, commit);
}

//! Git repositories over HTTP, served by git itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::http_server::{HttpServer, Request, Response};
use crate::process::{output, program};

/// Repositories on a port of the loopback network, until it is dropped.
///
/// ```
/// use stagewright_testkit::GitServer;
///
/// let server = GitServer::start();
/// let commit = server.commit("app.git", &[("file", "text")]);
/// assert_eq!(commit.len(), 40);
/// assert!(server.url("app.git").ends_with("/app.git"));
/// ```
pub struct GitServer {
    server: HttpServer,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    authorization: Option<String>,
    requests: Vec<Request>,
}

impl GitServer {
    /// Starts a server without repositories.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, root) = (Arc::clone(&state), folder.path().to_owned());
        let server = HttpServer::start(Arc::new(move |request| {
            let allowed = {
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                state.requests.push(request.clone());
                state.authorization.is_none()
                    || state.authorization.as_deref() == request.header("authorization")
            };
            if allowed {
                answer(&root, &request)
            } else {
                Response::new(401).header("WWW-Authenticate", "Basic realm=\"git\"")
            }
        }));
        Self {
            server,
            folder,
            state,
        }
    }

    /// Returns the URL of a repository.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.server.address())
    }

    /// Answers only who sends this value of `Authorization`.
    pub fn require(&self, authorization: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.authorization = Some(authorization.to_owned());
    }

    /// Returns how many requests there were so far.
    pub fn request_count(&self) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests.len()
    }

    /// Returns the folder of a repository, with its working tree; made by the first commit.
    pub fn folder(&self, repository: &str) -> PathBuf {
        self.folder.path().join(repository)
    }

    /// Writes files, commits them on the branch that is checked out and returns the commit. A path
    /// that ends in `*` is an executable of the name before it.
    pub fn commit(&self, repository: &str, files: &[(&str, &str)]) -> String {
        let folder = self.folder(repository);
        if !folder.exists() {
            fs_err::create_dir(&folder).unwrap();
            self.git(repository, &["init", "--quiet", "--initial-branch=main"]);
        }
        for (path, text) in files {
            let file = folder.join(path.trim_end_matches('*'));
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(&file, text).unwrap();
            let mode = if path.ends_with('*') { 0o755 } else { 0o644 };
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs_err::set_permissions(&file, mode).unwrap();
        }
        self.git(repository, &["add", "--all"]);
        self.git(
            repository,
            &["commit", "--quiet", "--allow-empty", "-m", "x"],
        );
        self.git(repository, &["rev-parse", "HEAD"])
    }

    /// Runs git in a repository and returns what it printed.
    pub fn git(&self, repository: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program("git", "git"));
        command
            .args(["-c", "user.name=t", "-c", "user.email=t@t.example"])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(self.folder(repository))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_DATE", "1600000000 +0000")
            .env("GIT_COMMITTER_DATE", "1600000000 +0000");
        output(&mut command).success().stdout.trim().to_owned()
    }
}

/// Lets git answer, by the Common Gateway Interface.
fn answer(root: &Path, request: &Request) -> Response {
    let query: Vec<String> = request
        .query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut command = Command::new(program("git", "git"));
    command
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", query.join("&"))
        .env("CONTENT_LENGTH", request.body.len().to_string());
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Git may answer without having read everything.
    drop(child.stdin.take().unwrap().write_all(&request.body));
    let output = child.wait_with_output().unwrap().stdout;
    let end = output
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap_or(output.len());
    let mut response = Response::new(200);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        if let Some((name, value)) = line.split_once(": ") {
            if name == "Status" {
                response.status = value[..3].parse().unwrap();
            } else {
                response = response.header(name, value);
            }
        }
    }
    response.body(output.get(end + 4..).unwrap_or_default().to_vec())
}

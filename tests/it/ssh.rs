//! `RUN --mount=type=ssh`: steps reach an agent of the host, or keys from files, and no more of them
//! than they need.

use std::path::{Path, PathBuf};
use std::process::Command;

use stagewright::json::parse_request;
use stagewright::{BuildRequest, Builder, BuilderOptions, ErrorKind, Image};
use stagewright_testkit::{GitServer, Project, SshAgent, SshServer, Stagewright, output, program};

pub(crate) const ED25519: &[&str] = &["-t", "ed25519", "-N", ""];

const RSA: &[&str] = &["-t", "rsa", "-b", "2048", "-N", ""];

/// A repository that a server has for those with a key.
pub(crate) struct Remote {
    pub(crate) server: SshServer,
    repository: GitServer,
}

impl Remote {
    pub(crate) fn new() -> Self {
        let repository = GitServer::start();
        repository.commit("app.git", &[("hello", "from the repository\n")]);
        Self {
            server: SshServer::start(),
            repository,
        }
    }

    /// Returns a project whose step has the programs and the variable `URL`.
    pub(crate) fn project(&self, steps: &str) -> Project {
        let url = format!(
            "ssh://root@127.0.0.1:{}{}",
            self.server.port(),
            self.repository.folder("app.git").display()
        );
        let dockerfile = format!(
            "FROM busybox\nCOPY programs /\n\
             ENV URL={url} GIT_SSH_COMMAND=\"ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no\"\n{steps}"
        );
        let mut project = Project::new().file("Dockerfile", dockerfile);
        for name in ["git", "ssh", "ssh-add"] {
            project = with_program(project, name);
        }
        project
    }
}

/// Adds a program of this machine and the libraries that it is linked with.
fn with_program(project: Project, name: &str) -> Project {
    let package = if name == "git" {
        "git"
    } else {
        "openssh-client"
    };
    let file = program(name, package);
    let linked = output(Command::new("ldd").arg(&file)).success().stdout;
    let libraries = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(|path| (PathBuf::from(path), path.to_owned()));
    std::iter::once((file, format!("/usr/bin/{name}")))
        .chain(libraries)
        .fold(project, |project, (from, to)| {
            let to = format!("programs{to}");
            let bytes = fs_err::read(from).unwrap();
            project.file(&to, bytes).mode(&to, 0o755)
        })
}

fn ssh(id: &str, path: &Path) -> String {
    format!("--ssh={id}={}", path.display())
}

pub(crate) const CLONE: &str =
    "RUN --mount=type=ssh,required=true git clone -q $URL /app && cat /app/hello\n";

#[test]
#[ignore = "needs root"]
fn privileged_git_clones_with_the_keys_of_an_agent() {
    let remote = Remote::new();
    let stagewright = Stagewright::with_busybox();
    let agent = SshAgent::start(&remote.server.key("key", ED25519));
    let project = remote.project(CLONE);
    let build = stagewright.build(
        &project,
        &["--progress=plain", &ssh("default", &agent.socket())],
    );
    let said = build.success().output.to_string();
    assert!(said.contains("from the repository"), "{said}");

    // `default` alone is the agent of the environment.
    let mut command = stagewright.build_command(
        &project,
        &["--progress=plain", "--no-cache", "--ssh=default"],
    );
    command.env("SSH_AUTH_SOCK", agent.socket());
    let _ = output(&mut command).success();
    command.env_remove("SSH_AUTH_SOCK");
    let said = output(&mut command).to_string();
    assert!(said.contains("$SSH_AUTH_SOCK is not set"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn privileged_git_clones_with_a_key_from_a_file() {
    let remote = Remote::new();
    let stagewright = Stagewright::with_busybox();
    for (name, options) in [
        ("ed25519", ED25519),
        ("rsa", RSA),
        ("p256", &["-t", "ecdsa", "-b", "256", "-N", ""]),
    ] {
        let key = remote.server.key(name, options);
        let steps = CLONE.replace("required", &format!("id={name},required"));
        let project = remote.project(&steps);
        let build = stagewright.build(&project, &["--progress=plain", &ssh(name, &key)]);
        let said = build.success().output.to_string();
        assert!(said.contains("from the repository"), "{name}: {said}");
    }
    // A server that takes one of an RSA key's hashes alone.
    let key = remote.server.key("rsa2", RSA);
    for hash in ["rsa-sha2-256", "rsa-sha2-512"] {
        let steps = CLONE.replace(
            "git clone",
            &format!(
                "GIT_SSH_COMMAND=\"$GIT_SSH_COMMAND -o PubkeyAcceptedAlgorithms={hash}\" git clone"
            ),
        );
        let project = remote.project(&steps);
        let _ = stagewright
            .build(&project, &[&ssh("default", &key)])
            .success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_key_with_a_passphrase_is_refused() {
    let remote = Remote::new();
    let stagewright = Stagewright::with_busybox();
    let key = remote
        .server
        .key("locked", &["-t", "ed25519", "-N", "a passphrase"]);
    let project = remote.project(CLONE);
    let build = stagewright.build(&project, &[&ssh("default", &key)]);
    let said = build.output.to_string();
    assert!(said.contains("has a passphrase"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_step_changes_nothing_of_the_agent() {
    let remote = Remote::new();
    let stagewright = Stagewright::with_busybox();
    let agent = SshAgent::start(&remote.server.key("key", ED25519));
    let listed = agent.list();
    let other = remote.server.key("other", ED25519);
    let project = remote
        .project(
            "COPY --chmod=600 other /other\nRUN --mount=type=ssh ssh-add -l\n\
             RUN --mount=type=ssh ! ssh-add /other\nRUN --mount=type=ssh ! ssh-add -D\n\
             RUN test ! -e /run/buildkit\n",
        )
        .file("other", fs_err::read(other).unwrap());
    let _ = stagewright
        .build(&project, &[&ssh("default", &agent.socket())])
        .success();
    assert_eq!(agent.list(), listed);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_options_of_the_mount_hold() {
    let remote = Remote::new();
    let stagewright = Stagewright::with_busybox();
    let key = remote.server.key("key", ED25519);
    let dockerfile = "FROM busybox
RUN --mount=type=ssh test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0 && test \"$(stat -c '%a %u:%g %F' $SSH_AUTH_SOCK)\" = '600 0:0 socket'
RUN --mount=type=ssh --mount=type=ssh test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0 && test -S /run/buildkit/ssh_agent.1
RUN --mount=type=ssh,target=/a/socket,mode=660,uid=33,gid=50 test $SSH_AUTH_SOCK = /a/socket && test \"$(stat -c '%a %u:%g' /a/socket)\" = '660 33:50'
RUN test -z \"$SSH_AUTH_SOCK\" && test ! -e /a
RUN --mount=type=ssh,id=absent test ! -e /run/buildkit/ssh_agent.0
ENV SSH_AUTH_SOCK=/own
RUN --mount=type=ssh test $SSH_AUTH_SOCK = /own
";
    let project = Project::new().file("Dockerfile", dockerfile);
    let _ = stagewright
        .build(&project, &[&ssh("default", &key)])
        .success();
    // A key that is not there does not run again what has run with it.
    let project_again = stagewright
        .build(&project, &["--progress=rawjson"])
        .success();
    assert_eq!(project_again.executed(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn privileged_an_agent_that_is_required_and_missing_is_named() {
    let stagewright = Stagewright::with_busybox();
    let project = Project::new().file(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=ssh,id=work,required true\n",
    );
    let said = stagewright.build(&project, &[]).output.to_string();
    assert!(said.contains("--ssh work"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_library_takes_agents_in_rust_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let stagewright = Stagewright::with_busybox();
    let builder = Builder::open(BuilderOptions::at(folder.path().join("store"))).unwrap();
    let remote = Remote::new();
    let key = remote.server.key("key", ED25519);
    let build = |ssh: serde_json::Value| -> Result<Image, stagewright::Error> {
        let layout = stagewright.busybox_layout().display().to_string();
        let json = serde_json::json!({
            "dockerfile_text": "FROM busybox\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK\n",
            "build_contexts": { "busybox": format!("oci-layout://{layout}") },
            "ssh": ssh,
        });
        let request: BuildRequest = parse_request(&json.to_string())?;
        builder.build(request).wait()
    };
    let error = build(serde_json::json!({ "default": [] })).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Request, "{error}");
    let error = build(serde_json::json!({})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Request, "{error}");
    build(serde_json::json!({ "default": [key] })).unwrap();
}

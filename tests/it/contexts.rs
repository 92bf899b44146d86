//! Where a build's files can come from: standard input, archives, repositories, the web.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use stagewright_testkit::{GitServer, Image, Output, Project, Stagewright, WebServer, output};

/// Runs `stagewright build` with these bytes on its standard input.
fn build(stagewright: &Stagewright, stdin: &[u8], arguments: &[&str]) -> Output {
    let mut command = stagewright.command("build");
    command
        .arg("--store")
        .arg(stagewright.store())
        .args(arguments);
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not be read.
    drop(child.stdin.take().unwrap().write_all(stdin));
    let out = child.wait_with_output().unwrap();
    Output {
        command: shown,
        status: out.status,
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Builds and returns the paths in the image.
fn paths(stagewright: &Stagewright, stdin: &[u8], arguments: &[&str]) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("image");
    let destination = format!("type=oci,dest={}", folder.display());
    let all: Vec<&str> = ["-o", &destination]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let _ = build(stagewright, stdin, &all).success();
    Image::read(&folder).rootfs.entries.into_keys().collect()
}

fn tar(folder: &Path, compression: &str) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(folder).args(["-cf", "-"]);
    if !compression.is_empty() {
        command.arg(compression);
    }
    let out = command.arg(".").output().unwrap();
    assert!(out.status.success());
    out.stdout
}

fn project() -> Project {
    Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("other/Dockerfile", "FROM scratch\nCOPY f /renamed\n")
        .file(".dockerignore", "f\n")
        .file("f", "f")
}

const WHOLE: [&str; 5] = [
    ".dockerignore",
    "Dockerfile",
    "f",
    "other",
    "other/Dockerfile",
];

#[test]
fn a_tar_on_standard_input_is_a_context_however_it_is_compressed() {
    let stagewright = Stagewright::new();
    let project = project();
    for compression in ["", "--gzip", "--bzip2", "--xz", "--zstd"] {
        let tar = tar(project.path(), compression);
        // As in BuildKit, ignore rules are for folders of this machine.
        assert_eq!(paths(&stagewright, &tar, &["-"]), WHOLE, "{compression}");
        let other = paths(&stagewright, &tar, &["-f", "other/Dockerfile", "-"]);
        assert_eq!(other, ["renamed"], "{compression}");
    }
    let cut = tar(project.path(), "--gzip");
    let broken = build(&stagewright, &cut[..cut.len() / 2], &["-"]);
    assert_eq!(broken.code(), Some(1), "{broken}");
}

#[test]
fn a_dockerfile_on_standard_input_goes_with_a_folder_or_with_nothing() {
    let stagewright = Stagewright::new();
    let project = project();
    let folder = project.path().display().to_string();
    let text = b"FROM scratch\nCOPY other /o/\n";
    assert_eq!(
        paths(&stagewright, text, &["-f", "-", &folder]),
        ["o", "o/Dockerfile"]
    );
    assert_eq!(
        paths(&stagewright, b"FROM scratch\nWORKDIR /w\n", &["-"]),
        ["w"]
    );
    let missing = build(&stagewright, b"FROM scratch\nCOPY f /\n", &["-"]);
    assert_eq!(missing.code(), Some(1));
    assert!(
        missing.stderr.contains("f is not in the build context"),
        "{missing}"
    );
    let both = build(&stagewright, text, &["-f", "-", "-"]);
    assert_eq!(both.code(), Some(2), "{both}");
}

#[test]
fn the_ignore_file_of_a_dockerfile_goes_before_that_of_the_context() {
    let stagewright = Stagewright::new();
    let project = project()
        .file("x.Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("x.Dockerfile.dockerignore", "*\n!f\n");
    let file = project.path().join("x.Dockerfile").display().to_string();
    let folder = project.path().display().to_string();
    assert_eq!(paths(&stagewright, b"", &["-f", &file, &folder]), ["f"]);
}

/// The file that a build says it read.
fn definition(out: &Output) -> &str {
    let lines = out.stderr.lines();
    let said = lines.filter_map(|line| line.split_once("load build definition from "));
    said.map(|(_, name)| name).next().unwrap_or_default()
}

#[test]
fn a_containerfile_is_read_where_there_is_no_dockerfile() {
    let stagewright = Stagewright::new();
    let project = Project::new().file("Containerfile", "FROM scratch\nCOPY f /container\n");
    let project = project.file("f", "f");
    let folder = project.path().display().to_string();
    let plain = ["--progress=plain", folder.as_str()];
    let built = build(&stagewright, b"", &plain).success();
    assert_eq!(definition(&built), "Containerfile", "{built}");
    assert_eq!(paths(&stagewright, b"", &[&folder]), ["container"]);
    let archive = tar(project.path(), "");
    assert_eq!(paths(&stagewright, &archive, &["-"]), ["container"]);
    let server = GitServer::start();
    server.commit(
        "a.git",
        &[("Containerfile", "FROM scratch\nWORKDIR /git\n")],
    );
    assert_eq!(paths(&stagewright, b"", &[&server.url("a.git")]), ["git"]);
    // What is named is what is read.
    let file = project.path().join("Dockerfile").display().to_string();
    for (stdin, arguments) in [
        (&b""[..], vec!["-f", &file, &folder]),
        (&archive[..], vec!["-f", "Dockerfile", "-"]),
    ] {
        let missing = build(&stagewright, stdin, &arguments);
        assert_eq!(missing.code(), Some(1), "{missing}");
        assert!(
            missing.stderr.contains("Dockerfile does not exist"),
            "{missing}"
        );
        assert!(!missing.stderr.contains("Containerfile"), "{missing}");
    }
    project.write("Dockerfile", "FROM scratch\nCOPY f /docker\n");
    let built = build(&stagewright, b"", &plain).success();
    assert_eq!(definition(&built), "Dockerfile", "{built}");
    assert_eq!(paths(&stagewright, b"", &[&folder]), ["docker"]);
    let empty = Project::new();
    let missing = build(&stagewright, b"", &[&empty.path().display().to_string()]);
    assert!(
        missing.stderr.contains("nor does Containerfile"),
        "{missing}"
    );
}

#[test]
fn the_first_ignore_file_that_is_there_counts() {
    const FILES: [&str; 4] = [
        ".containerignore",
        ".dockerignore",
        "Dockerfile.containerignore",
        "Dockerfile.dockerignore",
    ];
    let stagewright = Stagewright::new();
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY files /\n");
    for name in FILES.iter().chain(&["given"]) {
        project.write(&format!("files/{name}"), "");
    }
    let folder = project.path().display().to_string();
    // Each file leaves out the one that is called as it is, and goes before those that came before.
    for name in FILES {
        project.write(name, format!("files/{name}\n"));
        let left = paths(&stagewright, b"", &[&folder]);
        assert!(!left.contains(&name.to_owned()), "{name}: {left:?}");
        assert_eq!(left.len(), FILES.len(), "{name}: {left:?}");
    }
    let rules = Project::new()
        .file("rules", "files/given\n")
        .file("empty", "");
    let rules = rules.path().display().to_string();
    let given = |name: &str| format!("--ignorefile={rules}/{name}");
    assert!(!paths(&stagewright, b"", &[&given("rules"), &folder]).contains(&"given".to_owned()));
    assert_eq!(
        paths(&stagewright, b"", &[&given("empty"), &folder]).len(),
        5
    );
    let missing = build(&stagewright, b"", &[&given("none"), &folder]);
    assert_eq!(missing.code(), Some(1), "{missing}");
    assert!(missing.stderr.contains("none does not exist"), "{missing}");
    // There it would do nothing.
    let archive = tar(project.path(), "");
    let refused = build(&stagewright, &archive, &[&given("rules"), "-"]);
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(
        refused.stderr.contains("a folder of this machine"),
        "{refused}"
    );
    let other = Project::new().file("a", "").file("b", "");
    other.write(".containerignore", "a\n.c*\n");
    let named = format!("other={}", other.path().display());
    let file = project.path().join("other").display().to_string();
    project.write("other", "FROM scratch\nCOPY --from=other . /\n");
    let left = paths(
        &stagewright,
        b"",
        &["-f", &file, "--build-context", &named, &folder],
    );
    assert_eq!(left, ["b"]);
}

#[test]
fn a_repository_is_a_context() {
    let server = GitServer::start();
    server.commit(
        "a.git",
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /\n"),
            (".dockerignore", "f\n"),
            ("f", "1"),
            ("sub/Dockerfile", "FROM scratch\nCOPY g /only\n"),
            ("sub/g", "1"),
        ],
    );
    server.git("a.git", &["tag", "v1"]);
    server.commit("a.git", &[("late", "2")]);
    let url = server.url("a.git");
    let stagewright = Stagewright::new();
    let of = |tail: &str, flags: &[&str]| {
        let address = format!("{url}{tail}");
        paths(&stagewright, b"", &[flags, &[&address]].concat())
    };
    let whole = [
        ".dockerignore",
        "Dockerfile",
        "f",
        "sub",
        "sub/Dockerfile",
        "sub/g",
    ];
    assert_eq!(of("#v1", &[]), whole);
    assert!(of("", &[]).contains(&"late".to_owned()));
    assert_eq!(of("#v1:sub", &[]), ["only"]);
    assert_eq!(of("?tag=v1&subdir=sub", &[]), ["only"]);
    // The Dockerfile's sources are looked up in the context, wherever it lies in it.
    let file = build(&stagewright, b"", &["-f", "sub/Dockerfile", &url]);
    assert!(file.stderr.contains("\"/g\""), "{file}");
    let kept = of("#v1", &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]);
    assert!(kept.contains(&".git/HEAD".to_owned()), "{kept:?}");
    for (tail, expected) in [
        ("#nothing", "has no branch"),
        ("#v1:no", "no folder"),
        ("?x=y", "\"x\""),
    ] {
        let failed = build(&stagewright, b"", &[&format!("{url}{tail}")]);
        assert_eq!(failed.code(), Some(1), "{tail}");
        assert!(failed.stderr.contains(expected), "{failed}");
    }
    // What was checked out once is not checked out again.
    let before = server.request_count();
    assert_eq!(of("#v1", &[]), whole);
    let resolving = server.request_count() - before;
    let before = server.request_count();
    server.commit("a.git", &[("later", "3")]);
    let _ = of("", &[]);
    assert!(resolving < server.request_count() - before);
}

#[test]
fn the_web_has_archives_and_dockerfiles() {
    let server = WebServer::start();
    let project = project();
    server.put("/context.tar.xz", tar(project.path(), "--xz"));
    server.put("/plain", "FROM scratch\nCOPY context /own\n");
    let stagewright = Stagewright::new();
    let archive = server.url("/context.tar.xz");
    assert_eq!(paths(&stagewright, b"", &[&archive]), WHOLE);
    assert_eq!(
        paths(&stagewright, b"", &["-f", "other/Dockerfile", &archive]),
        ["renamed"]
    );
    assert_eq!(paths(&stagewright, b"", &[&server.url("/plain")]), ["own"]);
    let failed = build(&stagewright, b"", &["-f", "no", &archive]);
    assert!(failed.stderr.contains("no does not exist"), "{failed}");
    let failed = build(&stagewright, b"", &[&server.url("/404")]);
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert!(failed.stderr.contains("404"), "{failed}");
}

#[test]
fn named_contexts_come_from_everywhere() {
    let web = WebServer::start();
    web.put("/file", "12345");
    let git = GitServer::start();
    git.commit("a.git", &[("g", "1"), ("d/h", "1")]);
    let stagewright = Stagewright::new();
    let files = Project::new().file("x", "1").file("y", "1");
    fs_err::write(files.path().join(".dockerignore"), "y\n.dockerignore\n").unwrap();
    let image = tempfile::tempdir().unwrap();
    let layout = image.path().join("layout");
    let base = Project::new().file("Dockerfile", "FROM scratch\nCOPY Dockerfile /in-image\n");
    let _ = stagewright.build_into(&base, &layout, &[]).success();
    let project = Project::new().file(
        "Dockerfile",
        "FROM base\nCOPY --from=web . /w/\nCOPY --from=Git . /g/\nCOPY --from=files . /f/\nCOPY --from=none / /n/\n",
    );
    let folder = project.path().display().to_string();
    let contexts = [
        format!("web={}", web.url("/file")),
        format!("git={}#main:d", git.url("a.git")),
        format!("files={}", files.path().display()),
        format!("base=oci-layout://{}", layout.display()),
        "none=docker-image://scratch".to_owned(),
        "unused=https://127.0.0.1:1/nothing".to_owned(),
    ];
    let mut arguments = Vec::new();
    for context in &contexts {
        arguments.extend(["--build-context", context]);
    }
    arguments.push(&folder);
    assert_eq!(
        paths(&stagewright, b"", &arguments),
        ["f", "f/x", "g", "g/h", "in-image", "n", "w", "w/context"]
    );
    for (context, expected) in [
        ("a=target:x", "bake file"),
        ("a=ftp://x", "there is no ftp context"),
    ] {
        let refused = build(&stagewright, b"", &["--build-context", context, &folder]);
        assert_eq!(refused.code(), Some(2), "{refused}");
        assert!(refused.stderr.contains(expected), "{refused}");
    }
}

#[test]
fn a_socket_is_passed_over_with_a_notice() {
    let project = Project::new()
        .file("Dockerfile", "FROM scratch\nCOPY d /d/\n")
        .file("d/f", "1");
    let _socket = std::os::unix::net::UnixListener::bind(project.path().join("d/s")).unwrap();
    let stagewright = Stagewright::new();
    let folder = project.path().display().to_string();
    let mut command = stagewright.command("build");
    command.arg("--store").arg(stagewright.store()).arg(&folder);
    let built = output(&mut command).success();
    assert!(built.stderr.contains("d/s is a socket"), "{built}");
    assert_eq!(paths(&stagewright, b"", &[&folder]), ["d", "d/f"]);
}

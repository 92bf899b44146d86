//! `ADD` of what lies on the network: files by http and git repositories, served on the loopback.

use stagewright_testkit::{GitServer, Image, Kind, Project, Stagewright, WebFile, WebServer};

const NOTHING: [&str; 0] = [];

fn project(instructions: &str) -> Project {
    Project::new()
        .file("Dockerfile", format!("FROM scratch\n{instructions}\n"))
        .file("local", "local")
}

/// Builds and returns what is in the image: a line an entry.
fn listed(stagewright: &Stagewright, project: &Project, arguments: &[&str]) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("image");
    let _ = stagewright
        .build_into(project, &folder, arguments)
        .success();
    let image = Image::read(&folder);
    image
        .rootfs
        .entries
        .iter()
        .map(|(path, entry)| {
            let what = match &entry.kind {
                Kind::File { size, .. } => size.to_string(),
                Kind::Folder => "/".to_owned(),
                Kind::Symlink { target } => format!("-> {target}"),
                Kind::Special { letter, .. } => letter.to_string(),
            };
            format!("{path} {what} {:o} {}:{}", entry.mode, entry.uid, entry.gid)
        })
        .collect()
}

fn dated(body: &str) -> WebFile {
    WebFile {
        body: body.into(),
        etag: Some("\"1\"".to_owned()),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
        ..WebFile::default()
    }
}

/// A gzipped tar that holds the file `inner`.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("inner"), "inner").unwrap();
    let out = std::process::Command::new("tar")
        .args(["-C", &folder.path().display().to_string(), "--owner=3"])
        .args(["--group=4", "--mode=640", "-czf", "-", "inner"])
        .output()
        .unwrap();
    assert!(out.status.success());
    out.stdout
}

#[test]
fn a_file_from_the_web_is_its_owners_alone_and_has_its_servers_time() {
    let server = WebServer::start();
    server.put_file("/d/file%20name.txt", dated("12345"));
    server.put_file("/d/file name.txt", dated("12345"));
    server.put("/", "root");
    let url = server.url("/d/file%20name.txt?v=1#x");
    let stagewright = Stagewright::new();
    let build = |instructions: &str| listed(&stagewright, &project(instructions), &[]);
    assert_eq!(build(&format!("ADD {url} /")), ["file name.txt 5 600 0:0"]);
    assert_eq!(build(&format!("ADD {url} /x")), ["x 5 600 0:0"]);
    assert_eq!(
        build(&format!("ADD --chown=7:8 --chmod=751 {url} /x/")),
        ["x / 751 7:8", "x/file name.txt 5 751 7:8"]
    );
    assert_eq!(
        build(&format!("ADD {} /", server.url(""))),
        ["__unnamed__ 4 600 0:0"]
    );
    assert_eq!(
        build(&format!("ARG U={url}\nADD --link ${{U}} local /d/")),
        [
            "d / 755 0:0",
            "d/file name.txt 5 600 0:0",
            "d/local 5 644 0:0"
        ]
    );
    let out = tempfile::tempdir().unwrap();
    let tar = out.path().join("files.tar");
    let output = format!("type=tar,dest={}", tar.display());
    let _ = stagewright
        .build(&project(&format!("ADD {url} /x")), &["-o", &output])
        .success();
    let mut archive = tar::Archive::new(fs_err::File::open(&tar).unwrap());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.header().mtime().unwrap(), 784_111_777);
}

#[test]
fn an_unchanged_file_is_asked_for_and_not_sent_again() {
    let server = WebServer::start();
    server.put_file("/f", dated("one"));
    let stagewright = Stagewright::new();
    let project = project(&format!("ADD {} /f", server.url("/f")));
    let build = || stagewright.build(&project, &[]).success().executed();
    assert_eq!(build().len(), 1);
    let first = server.requests().len();
    assert_eq!(build(), NOTHING);
    let again = &server.requests()[first..];
    assert!(!again.is_empty(), "the server is asked whether it changed");
    assert!(
        again
            .iter()
            .all(|request| request.header("if-none-match") == Some("\"1\"")),
        "{again:?}"
    );
    // Other bytes under the same name, and the same bytes at another time, are another file.
    server.put_file(
        "/f",
        WebFile {
            etag: Some("\"2\"".to_owned()),
            ..dated("two")
        },
    );
    assert_eq!(build().len(), 1);
    // A server that says nothing of versions is read again, which changes nothing.
    server.put("/f", "three");
    assert_eq!(build().len(), 1);
    assert_eq!(build(), NOTHING);
}

#[test]
fn a_checksum_is_checked_and_saves_the_network() {
    let server = WebServer::start();
    server.put("/f", "one");
    let digest = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let url = server.url("/f");
    let stagewright = Stagewright::new();
    let good = project(&format!("ADD --checksum={digest} {url} /f"));
    let _ = stagewright.build(&good, &[]).success();
    let asked = server.requests().len();
    assert_eq!(stagewright.build(&good, &[]).success().executed(), NOTHING);
    assert_eq!(server.requests().len(), asked, "nobody is asked");
    // What is known under one address is known under another.
    let elsewhere = good_at(&server, digest, "/moved/f");
    assert_eq!(listed(&stagewright, &elsewhere, &[]), ["f 3 600 0:0"]);
    for (flags, sources, expected) in [
        (
            digest.replace("7692", "7693"),
            server.url("/f"),
            "correct the checksum",
        ),
        ("sha256:12".to_owned(), server.url("/f"), "64 hex digits"),
        (digest.to_owned(), "local".to_owned(), "from the network"),
        (digest.to_owned(), format!("{url} {url}"), "one source only"),
    ] {
        let bad = project(&format!("ADD --checksum={flags} {sources} /d/"));
        let build = stagewright.build(&bad, &[]);
        assert_eq!(build.output.code(), Some(1), "{flags} {sources}");
        assert!(build.output.stderr.contains(expected), "{}", build.output);
    }
}

fn good_at(server: &WebServer, digest: &str, path: &str) -> Project {
    project(&format!("ADD --checksum={digest} {} /", server.url(path)))
}

#[test]
fn archives_are_unpacked_where_that_is_asked_for() {
    let server = WebServer::start();
    server.put("/a.tgz", archive());
    let url = server.url("/a.tgz");
    let stagewright = Stagewright::new();
    let build = |instructions: &str| {
        let project = project(instructions);
        fs_err::write(project.path().join("b.tgz"), archive()).unwrap();
        let lines = listed(&stagewright, &project, &[]);
        lines
            .iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(build(&format!("ADD {url} /")), ["a.tgz"]);
    assert_eq!(build(&format!("ADD --unpack {url} /")), ["inner"]);
    assert_eq!(build(&format!("ADD --unpack=false {url} /")), ["a.tgz"]);
    assert_eq!(build("ADD b.tgz /"), ["inner"]);
    assert_eq!(build("ADD --unpack=false b.tgz /"), ["b.tgz"]);
    assert_eq!(build(&format!("ADD b.tgz {url} /")), ["a.tgz", "inner"]);
}

#[test]
fn what_the_server_refuses_is_said_with_the_place_and_the_remedy() {
    let server = WebServer::start();
    server.put_file(
        "/secret",
        WebFile {
            authorization: Some("Bearer word".to_owned()),
            ..dated("hidden")
        },
    );
    let stagewright = Stagewright::new();
    let project = project(&format!("ADD {} /f", server.url("/secret")));
    let refused = stagewright.build(&project, &[]);
    assert_eq!(refused.output.code(), Some(1));
    for expected in ["401", "HTTP_AUTH_TOKEN_", "Dockerfile:2"] {
        assert!(
            refused.output.stderr.contains(expected),
            "{}",
            refused.output
        );
    }
    fs_err::write(project.path().join("token"), "word\n").unwrap();
    let token = format!(
        "id=HTTP_AUTH_TOKEN_127.0.0.1,src={}",
        project.path().join("token").display()
    );
    assert_eq!(
        listed(&stagewright, &project, &["--secret", &token]),
        ["f 6 600 0:0"]
    );
    let absent = stagewright.build(
        &self::project(&format!("ADD {} /f", server.url("/no"))),
        &[],
    );
    assert!(absent.output.stderr.contains("404"), "{}", absent.output);
}

#[test]
fn a_repository_is_copied_at_the_commit_that_is_meant() {
    let server = GitServer::start();
    let first = server.commit("a.git", &[("f", "1"), ("run*", "xx"), ("deep/g", "333")]);
    server.git("a.git", &["tag", "v1"]);
    server.commit("a.git", &[("f", "22")]);
    let url = server.url("a.git");
    let stagewright = Stagewright::new();
    let build = |instructions: &str| listed(&stagewright, &project(instructions), &[]);
    assert_eq!(
        build(&format!("ADD {url} /d")),
        [
            "d / 755 0:0",
            "d/deep / 755 0:0",
            "d/deep/g 3 644 0:0",
            "d/f 2 644 0:0",
            "d/run 2 755 0:0"
        ]
    );
    assert_eq!(build(&format!("ADD {url}#v1:deep /")), ["g 3 644 0:0"]);
    assert_eq!(
        build(&format!(
            "ADD --checksum={first} --exclude=deep {url}?tag=v1 /d/"
        )),
        ["d / 755 0:0", "d/f 1 644 0:0", "d/run 2 755 0:0"]
    );
    let kept = build(&format!("ADD --keep-git-dir=true {url}#v1 /"));
    assert!(
        kept.iter().any(|line| line.starts_with(".git/HEAD ")),
        "{kept:?}"
    );
    for (instruction, expected) in [
        (format!("ADD {url}#v9 /"), "\"v9\""),
        (format!("ADD --checksum={first} {url} /"), "and not"),
        (format!("ADD {url}#v1:no /"), "no folder \"no\""),
        (
            format!("ADD --keep-git-dir=true {url}?keep-git-dir=false /"),
            "contradict",
        ),
        (format!("ADD {url}?what=x /"), "\"what\""),
    ] {
        let build = stagewright.build(&project(&instruction), &[]);
        assert_eq!(build.output.code(), Some(1), "{instruction}");
        assert!(build.output.stderr.contains(expected), "{}", build.output);
    }
}

#[test]
fn a_branch_is_asked_for_at_each_build_and_copied_again_when_it_moved() {
    let server = GitServer::start();
    server.commit("a.git", &[("f", "1"), ("d/g", "1")]);
    let stagewright = Stagewright::new();
    let project = project(&format!("ADD {}#main:d /", server.url("a.git")));
    let build = || stagewright.build(&project, &[]).success();
    let _ = build();
    let asked = server.request_count();
    assert_eq!(build().executed(), NOTHING);
    assert!(server.request_count() > asked);
    // Another commit whose folder is the same is no change for what copies the folder.
    server.commit("a.git", &[("f", "2")]);
    assert_eq!(build().executed(), NOTHING);
    server.commit("a.git", &[("d/g", "22")]);
    assert_eq!(build().executed().len(), 1);
    assert_eq!(listed(&stagewright, &project, &[]), ["g 2 644 0:0"]);
}

#[test]
fn a_private_repository_takes_a_token() {
    let server = GitServer::start();
    server.commit("a.git", &[("f", "1")]);
    // `x-access-token:word`
    server.require("Basic eC1hY2Nlc3MtdG9rZW46d29yZA==");
    let project = project(&format!("ADD {} /", server.url("a.git")));
    fs_err::write(project.path().join("token"), "word").unwrap();
    let stagewright = Stagewright::new();
    let refused = stagewright.build(&project, &[]);
    assert_eq!(refused.output.code(), Some(1), "{}", refused.output);
    let token = format!("id=GIT_AUTH_TOKEN,src={}/token", project.path().display());
    assert_eq!(
        listed(&stagewright, &project, &["--secret", &token]),
        ["f 1 644 0:0"]
    );
}

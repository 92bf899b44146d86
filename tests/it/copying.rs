//! Where COPY and ADD put things, as BuildKit does it.

use stagewright_testkit::{Image, Kind, Project, Stagewright};

/// A context with a bit of everything.
fn context(dockerfile: &str) -> Project {
    Project::new()
        .file("Dockerfile", dockerfile)
        .file(".dockerignore", "Dockerfile\n.dockerignore\n")
        .file("a.txt", "a")
        .file("b.txt", "bb")
        .file("c.md", "ccc")
        .file("dir/one", "1")
        .file("dir/sub/two", "22")
        .folder("dir/empty")
        .mode("dir/sub", 0o700)
        .mode("dir/one", 0o755)
        .symlink("link", "dir")
        .symlink("dir/inner", "one")
}

/// Builds a Dockerfile on nothing and compares what is in the image: a line an entry.
#[track_caller]
fn check(instructions: &str, expected: &[&str]) {
    let stagewright = Stagewright::new();
    let project = context(&format!("FROM scratch\n{instructions}\n"));
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("image");
    let _ = stagewright.build_into(&project, &folder, &[]).success();
    let found: Vec<String> = Image::read(&folder)
        .rootfs
        .entries
        .iter()
        .map(|(path, entry)| {
            let what = match &entry.kind {
                Kind::File { size, .. } => format!("{size}"),
                Kind::Folder => "/".to_owned(),
                Kind::Symlink { target } => format!("-> {target}"),
                Kind::Special { letter, .. } => letter.to_string(),
            };
            format!("{path} {what} {:o} {}:{}", entry.mode, entry.uid, entry.gid)
        })
        .collect();
    assert_eq!(found, expected, "{instructions}");
}

#[test]
fn files_go_into_directories_and_take_new_names() {
    check("COPY a.txt /", &["a.txt 1 644 0:0"]);
    check("COPY a.txt /x", &["x 1 644 0:0"]);
    check("COPY a.txt /x/", &["x / 755 0:0", "x/a.txt 1 644 0:0"]);
    check(
        "COPY a.txt /x/y/z",
        &["x / 755 0:0", "x/y / 755 0:0", "x/y/z 1 644 0:0"],
    );
    check(
        "WORKDIR /w\nCOPY a.txt b.txt ./",
        &["w / 755 0:0", "w/a.txt 1 644 0:0", "w/b.txt 2 644 0:0"],
    );
    check("COPY ../../a.txt /x", &["x 1 644 0:0"]);
}

#[test]
fn of_a_directory_the_contents_are_copied() {
    let copied = |root: &str| {
        [
            format!("{root} / 755 0:0"),
            format!("{root}/empty / 755 0:0"),
            format!("{root}/inner -> one 777 0:0"),
            format!("{root}/one 1 755 0:0"),
            format!("{root}/sub / 700 0:0"),
            format!("{root}/sub/two 2 644 0:0"),
        ]
    };
    for instructions in [
        "COPY dir /d",
        "COPY dir/ /d/",
        "COPY link /d",
        "COPY dir /d\nCOPY dir /d",
    ] {
        let expected = copied("d");
        check(instructions, &expected.each_ref().map(String::as_str));
    }
}

#[test]
fn wildcards_match_names_and_may_match_nothing() {
    check(
        "COPY *.txt /d/",
        &["d / 755 0:0", "d/a.txt 1 644 0:0", "d/b.txt 2 644 0:0"],
    );
    check("COPY d*/s*/t?o /d/", &["d / 755 0:0", "d/two 2 644 0:0"]);
    check(
        "COPY [ac].* /d/",
        &["d / 755 0:0", "d/a.txt 1 644 0:0", "d/c.md 3 644 0:0"],
    );
    check(
        "COPY a.txt *.none /d/",
        &["d / 755 0:0", "d/a.txt 1 644 0:0"],
    );
}

#[test]
fn owners_and_modes_are_set() {
    check(
        "COPY --chown=5:6 a.txt /d/",
        &["d / 755 5:6", "d/a.txt 1 644 5:6"],
    );
    check("COPY --chown=7 --chmod=640 a.txt /x", &["x 1 640 7:7"]);
    check(
        "COPY --chmod=u=rwX,go=rX dir/sub /d",
        &["d / 755 0:0", "d/two 2 644 0:0"],
    );
    check(
        "ARG OWNER=8:9\nCOPY --chown=$OWNER a.txt /x",
        &["x 1 644 8:9"],
    );
}

#[test]
fn what_is_excluded_stays_out() {
    check(
        "COPY --exclude=sub --exclude=*.none dir /d",
        &[
            "d / 755 0:0",
            "d/empty / 755 0:0",
            "d/inner -> one 777 0:0",
            "d/one 1 755 0:0",
        ],
    );
    check(
        "COPY --exclude=b.* *.txt /d/",
        &["d / 755 0:0", "d/a.txt 1 644 0:0"],
    );
}

#[test]
fn parents_keep_their_directories() {
    check(
        "COPY --parents dir/sub/two a.txt /d/",
        &[
            "d / 755 0:0",
            "d/a.txt 1 644 0:0",
            "d/dir / 755 0:0",
            "d/dir/sub / 700 0:0",
            "d/dir/sub/two 2 644 0:0",
        ],
    );
    check(
        "COPY --parents ./dir/./sub/two /d/",
        &["d / 755 0:0", "d/sub / 700 0:0", "d/sub/two 2 644 0:0"],
    );
}

#[test]
fn heredocs_are_files() {
    check(
        "ARG V=vv\nCOPY <<one <<'two' /d/\n$V\none\n$V\ntwo",
        &["d / 755 0:0", "d/one 3 644 0:0", "d/two 3 644 0:0"],
    );
    check("COPY <<f /x\nabc\nf", &["x 4 644 0:0"]);
}

#[test]
fn a_file_does_not_replace_a_directory_nor_a_directory_a_file() {
    for (instructions, words) in [
        (
            "COPY a.txt /x/a.txt/y\nCOPY a.txt /x/",
            "cannot replace the directory",
        ),
        ("COPY a.txt /x\nCOPY dir /x", "not a directory"),
    ] {
        let project = context(&format!("FROM scratch\n{instructions}\n"));
        let build = Stagewright::new().build(&project, &[]);
        assert_eq!(build.output.status.code(), Some(1), "{}", build.output);
        assert!(
            format!("{}", build.output).contains(words),
            "{}",
            build.output
        );
    }
}

#[test]
fn archives_are_unpacked_by_add_and_copied_by_copy() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    header.set_uid(11);
    header.set_gid(12);
    tar.append_data(&mut header, "in/side", &b"abc"[..])
        .unwrap();
    let bytes = tar.into_inner().unwrap();
    let build = |instruction: &str| {
        let stagewright = Stagewright::new();
        let project = Project::new()
            .file("Dockerfile", format!("FROM scratch\n{instruction}\n"))
            .file("x.tar", &bytes);
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("image");
        let _ = stagewright.build_into(&project, &folder, &[]).success();
        let image = Image::read(&folder);
        image
            .rootfs
            .entries
            .iter()
            .map(|(path, entry)| format!("{path} {entry}"))
            .collect::<Vec<_>>()
    };
    let unpacked = build("ADD x.tar /d/");
    assert!(
        unpacked
            .iter()
            .any(|line| line.starts_with("d/in/side file 3 ") && line.ends_with("600 11:12")),
        "{unpacked:?}"
    );
    let owned = build("ADD --chown=1:2 x.tar /d/");
    assert!(
        owned
            .iter()
            .any(|line| line.starts_with("d ") && line.ends_with("755 1:2")),
        "{owned:?}"
    );
    assert!(
        owned.iter().any(|line| line.ends_with("600 1:2")),
        "{owned:?}"
    );
    for instruction in ["COPY x.tar /d/", "ADD --unpack=false x.tar /d/"] {
        let kept = build(instruction);
        assert!(
            kept.iter().any(|line| line.starts_with("d/x.tar file")),
            "{kept:?}"
        );
    }
}

#[test]
fn several_files_to_a_place_that_is_no_directory_leave_the_last_one() {
    check("COPY a.txt b.txt /x", &["x 2 644 0:0"]);
    check("COPY b.txt a.txt /x", &["x 1 644 0:0"]);
}

#[test]
fn a_working_directory_of_a_user_that_is_not_there_belongs_to_root() {
    check(
        "COPY a.txt /etc/passwd\nUSER nobody-knows\nWORKDIR /w",
        &["etc / 755 0:0", "etc/passwd 1 644 0:0", "w / 755 0:0"],
    );
}

#[test]
fn a_mode_in_digits_is_that_of_made_directories_too() {
    check(
        "COPY --chmod=751 a.txt /x/y/",
        &["x / 751 0:0", "x/y / 751 0:0", "x/y/a.txt 1 751 0:0"],
    );
    check(
        "COPY --chmod=u=rwX,go=rX,o-r a.txt /x/",
        &["x / 755 0:0", "x/a.txt 1 640 0:0"],
    );
}

#[test]
fn what_stands_before_the_pivot_may_match_several_directories() {
    check(
        "COPY --parents d*/./**/two dir/./one /x/",
        &[
            "x / 755 0:0",
            "x/one 1 755 0:0",
            "x/sub / 700 0:0",
            "x/sub/two 2 644 0:0",
        ],
    );
}

#[test]
fn archives_follow_the_links_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg("mkdir -p t/link && echo x > t/link/file && tar -cf a.tar --owner=0 --group=0 --mode=644 -C t link/file")
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(made.success());
    let project = Project::new()
        .file(
            "Dockerfile",
            "FROM scratch\nCOPY real /real\nCOPY to /\nADD a.tar /\n",
        )
        .folder("real")
        .symlink("to/link", "/real")
        .file("a.tar", fs_err::read(&archive).unwrap());
    let image = folder.path().join("image");
    let _ = Stagewright::new()
        .build_into(&project, &image, &[])
        .success();
    let rootfs = Image::read(&image).rootfs;
    assert!(
        rootfs.get("real/file").is_some(),
        "{:?}",
        rootfs.entries.keys()
    );
    let link = &rootfs.get("link").unwrap().kind;
    assert!(
        matches!(link, Kind::Symlink { target } if target == "/real"),
        "{link:?}"
    );
}

use std::os::unix::net::UnixListener;
use std::path::Path;

use stagewright_context::EntryKind;

use crate::tree::Tree;

fn check(paths: &[&str], ignore: &str, expected: &[&str]) {
    let tree = Tree::new(paths);
    let mut listing = tree.listing("", ignore);
    assert_eq!(listing.remove(0), "", "the root comes first");
    assert_eq!(listing, expected, "ignoring {ignore:?}");
}

const PROJECT: &[&str] = &[
    "a.txt",
    "docs/api/x.md",
    "docs/README.md",
    "src/main.rs",
    "src-old/x",
    "src.txt",
];

#[test]
fn entries_come_in_a_fixed_order() {
    check(
        PROJECT,
        "",
        &[
            "a.txt",
            "docs",
            "docs/README.md",
            "docs/api",
            "docs/api/x.md",
            "src",
            "src/main.rs",
            "src-old",
            "src-old/x",
            "src.txt",
        ],
    );
}

#[test]
fn rules_hide_files_and_folders() {
    check(PROJECT, "docs\nsrc*\n", &["a.txt"]);
    check(PROJECT, "*\n", &[]);
    check(PROJECT, "**\n!docs/README.md", &["docs", "docs/README.md"]);
    check(
        PROJECT,
        "docs\n!docs/api",
        &[
            "a.txt",
            "docs",
            "docs/api",
            "docs/api/x.md",
            "src",
            "src/main.rs",
            "src-old",
            "src-old/x",
            "src.txt",
        ],
    );
    check(
        PROJECT,
        "*\n!**/*.md",
        &["docs", "docs/README.md", "docs/api", "docs/api/x.md"],
    );
    check(PROJECT, "*\n!nothing", &[]);
}

#[test]
fn a_walk_can_start_anywhere() {
    let tree = Tree::new(PROJECT);
    assert_eq!(
        tree.listing("docs", ""),
        ["docs", "docs/README.md", "docs/api", "docs/api/x.md"]
    );
    assert_eq!(tree.listing("a.txt", ""), ["a.txt"]);
    assert_eq!(tree.listing("missing", ""), [""; 0]);
    assert_eq!(tree.listing("a.txt/below", ""), [""; 0]);
    assert_eq!(tree.listing("docs/api", "docs"), [""; 0]);
    assert_eq!(
        tree.listing("docs", "docs\n!docs/api/x.md"),
        ["docs", "docs/api", "docs/api/x.md"]
    );
    assert_eq!(tree.listing("docs", "docs\n!docs/other"), [""; 0]);
}

#[test]
fn links_are_listed_not_followed() {
    let tree = Tree::new(&[
        "folder/file",
        "link -> folder",
        "out -> /etc",
        "loop -> loop",
    ]);
    assert_eq!(
        tree.listing("", ""),
        ["", "folder", "folder/file", "link", "loop", "out"]
    );
    let entry = tree.context("").lookup(Path::new("out")).unwrap().unwrap();
    assert_eq!(
        entry.kind,
        EntryKind::Symlink {
            target: "/etc".into()
        }
    );
    assert_eq!(entry.mode, 0o777);
    assert!(
        tree.context("")
            .lookup(Path::new("out/passwd"))
            .unwrap()
            .is_none()
    );
}

#[test]
fn sockets_are_passed_over_and_named() {
    let tree = Tree::new(&["file", "folder/file"]);
    let _socket = UnixListener::bind(tree.at("folder/agent")).unwrap();
    let walk = tree.context("").walk(Path::new("")).unwrap();
    assert_eq!(walk.entries.len(), 4);
    assert_eq!(walk.skipped[0].path, Path::new("folder/agent"));
    assert!(
        tree.context("folder/agent")
            .walk(Path::new(""))
            .unwrap()
            .skipped
            .is_empty()
    );
}

#[test]
fn metadata_is_the_files_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let tree = Tree::new(&["file"]);
    fs_err::set_permissions(tree.at("file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
    let entry = tree.context("").lookup(Path::new("file")).unwrap().unwrap();
    assert_eq!(
        (entry.mode, entry.bytes, entry.kind),
        (0o4751, 4, EntryKind::File)
    );
    assert!(entry.mtime_ns > 0);
}

#[test]
fn many_folders_are_walked_by_many_threads_alike() {
    let paths: Vec<String> = (0..60)
        .flat_map(|folder| (0..20).map(move |file| format!("f{folder:02}/g{}/{file:02}", file % 3)))
        .collect();
    let tree = Tree::new(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let rules = "*/g1\n!f1*/g1/07\n";
    let walk = |threads| {
        tree.context(rules)
            .with_threads(threads)
            .walk(Path::new(""))
            .unwrap()
    };
    assert_eq!(walk(1), walk(2));
    assert_eq!(walk(1), walk(7));
    assert_eq!(walk(2).entries.len(), 1 + 60 + 60 * 2 + 60 * 13 + 10 + 10);
}

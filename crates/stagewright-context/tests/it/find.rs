use crate::tree::Tree;

const PROJECT: &[&str] = &[
    "package.json",
    "package-lock.json",
    "src/a.rs",
    "src/b.rs",
    "src/deep/c.rs",
    "lib/a.rs",
    "current -> src",
    "up -> ../../../../etc",
    "abs -> /src/a.rs",
    "loop -> loop2",
    "loop2 -> loop",
    "src/back -> ../lib",
    "secret/key",
    "odd[name]",
];

/// Writes what is found as `named=path`, or the error.
fn found(source: &str, ignore: &str) -> String {
    let tree = Tree::new(PROJECT);
    match tree.context(ignore).find(source) {
        Ok(found) => {
            let text = |found: &stagewright_context::Found| {
                format!("{}={}", found.named.display(), found.path.display())
            };
            found.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn sources_name_what_docker_finds() {
    for (source, expected) in [
        (".", "="),
        ("/", "="),
        ("..", "="),
        ("package.json", "package.json=package.json"),
        ("/package.json", "package.json=package.json"),
        ("../../package.json", "package.json=package.json"),
        ("src/", "src=src"),
        (
            "package*.json",
            "package-lock.json=package-lock.json package.json=package.json",
        ),
        ("*/a.rs", "lib/a.rs=lib/a.rs src/a.rs=src/a.rs"),
        (
            "src/*",
            "src/a.rs=src/a.rs src/b.rs=src/b.rs src/back=lib src/deep=src/deep",
        ),
        ("s*", "secret=secret src=src"),
        ("s*/deep/*.rs", "src/deep/c.rs=src/deep/c.rs"),
        ("nothing*", ""),
        ("missing/*", ""),
        ("current", "current=src"),
        ("current/a.rs", "current/a.rs=src/a.rs"),
        (
            "current/[ab].rs",
            "current/a.rs=src/a.rs current/b.rs=src/b.rs",
        ),
        ("src/back/a.rs", "src/back/a.rs=lib/a.rs"),
        ("abs", "abs=src/a.rs"),
        ("odd\\[name]", "odd[name]=odd[name]"),
        ("odd[[]name]", "odd[name]=odd[name]"),
    ] {
        assert_eq!(found(source, ""), expected, "{source}");
    }
}

#[test]
fn what_is_not_there_is_explained() {
    for (source, ignore, expected) in [
        (
            "pakage.json",
            "",
            "error: pakage.json is not in the build context (did you mean package.json?)",
        ),
        (
            "src/A.rs",
            "",
            "error: src/A.rs is not in the build context (did you mean src/a.rs?)",
        ),
        ("zzz", "", "error: zzz is not in the build context"),
        ("up", "", "error: up is not in the build context"),
        (
            "loop",
            "",
            "error: loop goes through too many symbolic links",
        ),
        (
            "secret/key",
            "# comment\nsecret",
            "error: secret/key is excluded by the rule `secret` in line 2 of the ignore file; re-include it with `!secret/key`",
        ),
        (
            "current/a.rs",
            "src",
            "error: src/a.rs is excluded by the rule `src` in line 1 of the ignore file; re-include it with `!src/a.rs`",
        ),
        (
            "[a",
            "",
            "error: `[a` is not a valid pattern: the class opened by `[` is not closed; write `\\[` for a bracket",
        ),
        ("*", "*", ""),
        ("src/*", "src\n!src/b.rs", "src/b.rs=src/b.rs"),
        ("src", "src\n!src/b.rs", "src=src"),
    ] {
        assert_eq!(
            found(source, ignore),
            expected,
            "{source} ignoring {ignore:?}"
        );
    }
}

#[test]
fn a_dockerfile_is_read_whatever_the_rules_say() {
    let tree = Tree::new(&["Dockerfile", "link -> Dockerfile", "folder/"]);
    let context = tree.context("*");
    let read = |path: &str| {
        context
            .read_unfiltered(path.as_ref())
            .map(|bytes| bytes.map(|b| b.len()))
    };
    assert_eq!(read("Dockerfile").unwrap(), Some(10));
    assert_eq!(read("link").unwrap(), Some(10));
    assert_eq!(read("missing").unwrap(), None);
    assert!(read("folder").is_err());
}

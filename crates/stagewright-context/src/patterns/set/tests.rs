use proptest::prelude::*;

use super::*;

/// How a rule takes a path: itself, through a parent, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Itself,
    ByParent,
    Not,
}
use Taken::{ByParent, Itself, Not};

const SINGLE_RULES: &[(&str, &str, Taken)] = &[
    ("**", "file", Itself),
    ("**", "file/", Itself),
    ("**/", "file", Itself),
    ("**/", "file/", Itself),
    ("**", "/", Itself),
    ("**/", "/", Itself),
    ("**", "dir/file", Itself),
    ("**/", "dir/file", Itself),
    ("**/**", "dir/file", Itself),
    ("**/**", "dir/file/", Itself),
    ("dir/**", "dir/file", Itself),
    ("dir/**", "dir/file/", Itself),
    ("dir/**", "dir/dir2/file", Itself),
    ("dir/**", "dir/dir2/file/", Itself),
    ("**/dir", "dir", Itself),
    ("**/dir", "dir/file", ByParent),
    ("**/dir2/*", "dir/dir2/file", Itself),
    ("**/dir2/*", "dir/dir2/file/", ByParent),
    ("**/dir2/**", "dir/dir2/dir3/file", Itself),
    ("**/dir2/**", "dir/dir2/dir3/file/", Itself),
    ("**file", "file", Itself),
    ("**file", "dir/file", Itself),
    ("**file", "myfile", Itself),
    ("**file*", "myfile1", Not),
    ("**/file", "dir/file", Itself),
    ("**file", "dir/dir/file", Itself),
    ("**/file*", "dir/dir/file", Itself),
    ("**/file*", "dir/dir/file.txt", Itself),
    ("**/file*txt", "dir/dir/file.txt", Itself),
    ("**/file*.txt", "dir/dir/file.txt", Itself),
    ("**/file*.txt*", "dir/dir/file.txt", Itself),
    ("**/**/*.txt", "dir/dir/file.txt", Itself),
    ("**/**/*.txt2", "dir/dir/file.txt", Not),
    ("**/*.txt", "file.txt", Itself),
    ("**/**/*.txt", "file.txt", Itself),
    ("a**/*.txt", "a/file.txt", Itself),
    ("a**/*.txt", "a/dir/file.txt", Itself),
    ("a**/*.txt", "a/dir/dir/file.txt", Itself),
    ("a**/b", "a/x/b", Itself),
    ("a**/b", "ab", Itself),
    ("foo**bar", "foobar", Itself),
    ("foo**bar", "foo/x/bar", Itself),
    ("foo**bar", "fooxbar", Not),
    ("a/*.txt", "a/dir/file.txt", Not),
    ("a/*.txt", "a/file.txt", Itself),
    ("a/*.txt**", "a/file.txt", Itself),
    ("a[b-d]e", "ae", Not),
    ("a[b-d]e", "ace", Itself),
    ("a[b-d]e", "aae", Not),
    ("a[^b-d]e", "aze", Itself),
    (".*", ".foo", Itself),
    (".*", "foo", Not),
    ("abc.def", "abcdef", Not),
    ("abc.def", "abc.def", Itself),
    ("abc.def", "abcZdef", Not),
    ("abc?def", "abcZdef", Itself),
    ("abc?def", "abcdef", Not),
    ("**/foo/bar", "foo/bar", Itself),
    ("**/foo/bar", "dir/foo/bar", Itself),
    ("**/foo/bar", "dir/dir2/foo/bar", Itself),
    ("abc/**", "abc", Not),
    ("abc/**", "abc/def", Itself),
    ("abc/**", "abc/def/ghi", Itself),
    ("**/.foo", ".foo", Itself),
    ("**/.foo", "bar.foo", Not),
    ("a(b)c/def", "a(b)c/def", Itself),
    ("a(b)c/def", "a(b)c/xyz", Not),
    ("a.|)$(}+{bc", "a.|)$(}+{bc", Itself),
    (
        "dist/proxy.py-2.4+g08acad9.whl",
        "dist/proxy.py-2.4+g08acad9.whl",
        Itself,
    ),
    ("dist/*.whl", "dist/proxy.py-2.4+g08acad9.whl", Itself),
    ("a\\\\", "a\\", Itself),
    ("a\\*b", "a*b", Itself),
    ("foo/", "foo/bar", ByParent),
    ("foo/", "x/foo", Not),
    ("./foo", "foo", Itself),
    ("foo", "x/foo", Not),
    ("{a,b}", "a", Not),
    ("*/temp*", "sub/temporary.txt", Itself),
    ("*/*/temp*", "sub/dir/temp", Itself),
    ("temp?", "tempa", Itself),
    ("  padded  ", "padded", Itself),
    ("a]b", "a]b", Itself),
];

const RULE_LISTS: &[(&[&str], &str, bool)] = &[
    (&["!fileutils.go", "*.go"], "fileutils.go", true),
    (&["*.go", "!fileutils.go"], "fileutils.go", false),
    (&["docs", "!docs/README.md"], "docs/README.md", false),
    (&["docs/", "!docs/README.md"], "docs/README.md", false),
    (&["docs/*", "!docs/README.md"], "docs/README.md", false),
    (&["docs", "!docs/README.md"], "docs/other.md", true),
    (&["*.go"], ".", false),
    (&[], "any/path", false),
    (&["**", "!util/docker/web"], "util/docker/web/foo", false),
    (
        &["**", "!util/docker/web", "util/docker/web/foo"],
        "util/docker/web/foo",
        true,
    ),
    (&["**", "!dist/*.whl"], "dist/a+b.whl", false),
    (
        &["*.md", "!README*.md", "README-secret.md"],
        "README-secret.md",
        true,
    ),
    (
        &["*.md", "README-secret.md", "!README*.md"],
        "README-secret.md",
        false,
    ),
];

fn by_walking(patterns: &Patterns, path: &str) -> bool {
    let mut state = MatchState::default();
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' && at > 0 {
            state = patterns.matches_below(&state, &path.as_bytes()[..at]).1;
        }
    }
    patterns.matches_below(&state, path.as_bytes()).0
}

#[test]
fn single_rules_take_what_docker_takes() {
    for (rule, path, taken) in SINGLE_RULES {
        let patterns = Patterns::new([*rule]).unwrap();
        let itself = patterns.rules[0].matches(path.as_bytes());
        assert_eq!(itself, *taken == Itself, "{rule} against {path} itself");
        assert_eq!(
            patterns.matches(path.as_bytes()),
            *taken != Not,
            "{rule} against {path}"
        );
        assert_eq!(
            by_walking(&patterns, path),
            *taken != Not,
            "{rule} walking to {path}"
        );
    }
}

#[test]
fn the_last_rule_that_matches_wins() {
    for (rules, path, expected) in RULE_LISTS {
        let patterns = Patterns::new(rules.iter().copied()).unwrap();
        assert_eq!(
            patterns.matches(path.as_bytes()),
            *expected,
            "{rules:?} against {path}"
        );
        assert_eq!(
            by_walking(&patterns, path),
            *expected,
            "{rules:?} walking to {path}"
        );
    }
}

#[test]
fn an_exception_for_a_folder_that_no_rule_took_does_not_reach_its_files_in_a_walk() {
    let patterns = Patterns::new(["**/b", "!a"]).unwrap();
    assert!(!patterns.matches(b"a/b"));
    assert!(by_walking(&patterns, "a/b"));
}

#[test]
fn bad_rules_say_where_and_why() {
    let error = Patterns::parse("fine\n\n[b-a]\n").unwrap_err();
    insta::assert_snapshot!(error, @"line 3: `[b-a]` is not a valid pattern: a class holds a range that runs backwards; write `\\-` for a dash");
    let error = Patterns::parse("fine\n ! \n").unwrap_err();
    insta::assert_snapshot!(error, @"line 2: `!` re-includes nothing; write the pattern to re-include after it");
    for rule in ["[", "a[", "!", "[Local-Only]/", "x\\"] {
        assert!(Patterns::new([rule]).is_err(), "{rule}");
    }
}

#[test]
fn the_rule_that_excludes_is_named() {
    let patterns = Patterns::parse("# first\n*.log\nbuild\n!build/keep\n").unwrap();
    assert_eq!(patterns.excluding_rule(b"x.log"), Some(("*.log", Some(2))));
    assert_eq!(
        patterns.excluding_rule(b"build/a/b"),
        Some(("build", Some(3)))
    );
    assert_eq!(patterns.excluding_rule(b"build/keep/a"), None);
    assert_eq!(patterns.excluding_rule(b"src"), None);
}

#[test]
fn folders_are_passed_over_where_nothing_can_come_back() {
    let cases: &[(&[&str], &str, bool)] = &[
        (&["a"], "a", false),
        (&["a", "!a/b/c"], "a", true),
        (&["a", "!a/b/c"], "a/b", true),
        (&["a", "!a/b/c"], "a/x", false),
        (&["a", "!a/b/c"], "ab", false),
        (&["a", "!a/b/*"], "a/b", true),
        (&["a", "!a/b/**"], "a/b", true),
        (&["a", "!**/keep"], "a/x", true),
        (&["a", "!**/keep", "!b"], "a/x", true),
        (&["a", "!b", "!x?"], "a", true),
    ];
    for (rules, folder, expected) in cases {
        let patterns = Patterns::new(rules.iter().copied()).unwrap();
        let found = patterns.may_reinclude_below(folder.as_bytes());
        assert_eq!(found, *expected, "{rules:?} below {folder}");
    }
}

/// The same rules by plain backtracking, one character at a time.
fn naive(pattern: &[char], path: &[char]) -> bool {
    match (pattern, path) {
        ([], rest) => rest.is_empty(),
        (['*', '*', '/', after @ ..] | ['*', '*', after @ ..], _) if after.is_empty() => true,
        (['*', '*', '/', after @ ..] | ['*', '*', after @ ..], _) => {
            naive(after, path)
                || (0..path.len()).any(|at| path[at] == '/' && naive(after, &path[at + 1..]))
        }
        (['*', after @ ..], _) => {
            naive(after, path) || (!path.is_empty() && path[0] != '/' && naive(pattern, &path[1..]))
        }
        (['?', after @ ..], [first, rest @ ..]) => *first != '/' && naive(after, rest),
        ([wanted, after @ ..], [first, rest @ ..]) => wanted == first && naive(after, rest),
        (_, []) => false,
    }
}

proptest! {
    #[test]
    fn any_text_is_rules_or_an_error(text in ".{0,60}", path in ".{0,30}") {
        if let Ok(patterns) = Patterns::parse(&text) {
            patterns.matches(path.as_bytes());
            by_walking(&patterns, &path);
        }
    }

    #[test]
    fn rules_agree_with_plain_backtracking(rule in "[ab*?/]{1,9}", path in "[ab]{1,3}(/[ab]{1,3}){0,3}") {
        let cleaned = clean(&rule);
        // A leading `**` before plain text is compared as a suffix, by the rules.
        prop_assume!(!cleaned.starts_with("**") || cleaned[2..].contains(['*', '?']));
        let chars: Vec<char> = cleaned.chars().collect();
        let path_chars: Vec<char> = path.chars().collect();
        let patterns = Patterns::new([rule.as_str()]).unwrap();
        prop_assert_eq!(patterns.rules[0].matches(path.as_bytes()), naive(&chars, &path_chars), "{}", cleaned);
    }

    #[test]
    fn walking_and_asking_agree_without_exceptions(
        rules in proptest::collection::vec("[ab*?/]{1,6}", 1..4),
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        let patterns = Patterns::new(rules.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(patterns.matches(path.as_bytes()), by_walking(&patterns, &path));
    }
}

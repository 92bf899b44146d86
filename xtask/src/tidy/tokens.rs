//! What code below the command may not do: print, read its surroundings, or be unsafe outside of
//! the files kept for it. Tokens are read, not text, so that a word in a comment or a string is
//! no finding, and tests are left out.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::source::{Finding, SourceFile};

/// Crates that talk to people or machines by design.
const OUTER_CRATES: [&str; 2] = ["stagewright-cli", "stagewright-testkit"];
/// Macros that print.
const PRINTING: [&str; 5] = ["println", "print", "eprintln", "eprint", "dbg"];
/// Functions of `std::env` that read the surroundings.
const ENVIRONMENT: [&str; 9] = [
    "var",
    "var_os",
    "vars",
    "vars_os",
    "current_dir",
    "home_dir",
    "temp_dir",
    "args",
    "args_os",
];

/// Checks one Rust file.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    // A file that does not lex is the compiler's to report.
    let Ok(stream) = file.text.parse::<TokenStream>() else {
        return Vec::new();
    };
    let mut rules: Vec<Rule> = Vec::new();
    if !may_be_unsafe(file) {
        rules.push(find_unsafe);
    }
    if is_below_the_command(file) {
        rules.push(find_printing);
        rules.push(find_environment);
    }
    let mut walk = Walk {
        rules,
        path: &file.path,
        findings: Vec::new(),
    };
    walk.stream(stream);
    walk.findings
}

/// Looks at the tokens that begin here; returns what is wrong with them.
type Rule = fn(&[TokenTree]) -> Option<String>;

fn may_be_unsafe(file: &SourceFile) -> bool {
    let mut parts = file.path.split('/');
    file.path.starts_with("bindings/") || parts.any(|part| part == "sys.rs" || part == "sys")
}

fn is_below_the_command(file: &SourceFile) -> bool {
    // A build script runs in cargo, which talks to it through print and environment.
    file.crate_name()
        .is_some_and(|name| !OUTER_CRATES.contains(&name))
        && !file.is_test_code()
        && file.file_name() != "build.rs"
}

struct Walk<'a> {
    rules: Vec<Rule>,
    path: &'a str,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    fn stream(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut index = 0;
        while index < trees.len() {
            if is_test_attribute(&trees[index..]) {
                index = after_item(&trees, index + 2);
                continue;
            }
            for rule in &self.rules {
                if let Some(message) = rule(&trees[index..]) {
                    let line = trees[index].span().start().line;
                    self.findings.push(Finding::line(self.path, line, message));
                }
            }
            if let TokenTree::Group(group) = &trees[index] {
                self.stream(group.stream());
            }
            index += 1;
        }
    }
}

/// Returns whether `#[cfg(test)]` or `#[test]` begins here.
fn is_test_attribute(trees: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(group), ..] = trees else {
        return false;
    };
    if hash.as_char() != '#' || group.delimiter() != Delimiter::Bracket {
        return false;
    }
    let text: String = group.stream().to_string().split_whitespace().collect();
    text == "test" || (text.starts_with("cfg(") && text.contains("test") && !text.contains("not("))
}

/// Returns the index after the item that begins at `index`: behind its block or its semicolon.
fn after_item(trees: &[TokenTree], index: usize) -> usize {
    for (offset, tree) in trees[index.min(trees.len())..].iter().enumerate() {
        let ends = match tree {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        if ends {
            return index + offset + 1;
        }
    }
    trees.len()
}

fn find_unsafe(trees: &[TokenTree]) -> Option<String> {
    word(trees.first()?)
        .filter(|word| word == "unsafe")
        .map(|_| "`unsafe` outside of a sys.rs: put the call behind a safe function there".into())
}

fn find_printing(trees: &[TokenTree]) -> Option<String> {
    let name = word(trees.first()?)?;
    let bang = matches!(trees.get(1)?, TokenTree::Punct(punct) if punct.as_char() == '!');
    (bang && PRINTING.contains(&name.as_str()))
        .then(|| format!("`{name}!` below the command: return it, or send an event"))
}

fn find_environment(trees: &[TokenTree]) -> Option<String> {
    let [first, TokenTree::Punct(a), TokenTree::Punct(b), last, ..] = trees else {
        return None;
    };
    let colons = a.as_char() == ':' && b.as_char() == ':';
    let (module, function) = (word(first)?, word(last)?);
    (colons && module == "env" && ENVIRONMENT.contains(&function.as_str()))
        .then(|| format!("`env::{function}` below the command: take it as an option"))
}

fn word(tree: &TokenTree) -> Option<String> {
    match tree {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str) -> Vec<usize> {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file)
            .into_iter()
            .filter_map(|finding| finding.line)
            .collect()
    }

    const INNER: &str = "crates/stagewright-plan/src/a.rs";

    #[test]
    fn what_the_inner_crates_may_not_do_is_found() {
        let cases = [
            "fn f() { println!(\"x\"); }",
            "fn f() { select! { _ = a => eprint!(\"x\") } }",
            "fn f() { std::env::var(\"HOME\"); }",
            "fn f() { env::current_dir(); }",
            "fn f() { unsafe { g() } }",
            "unsafe fn f() {}",
            "#[cfg(not(test))] fn f() { dbg!(1); }",
        ];
        for text in cases {
            assert_eq!(check_lines(INNER, text), [1], "{text}");
        }
    }

    #[test]
    fn tests_comments_and_strings_pass() {
        let cases = [
            "#[cfg(test)]\nmod tests { fn f() { println!(\"x\"); unsafe { g() } } }",
            "#[test]\n#[ignore]\nfn f() { std::env::var(\"A\"); }",
            "// println! and unsafe\nconst A: &str = \"println! env::var unsafe\";",
            "#![forbid(unsafe_code)]",
            "const OS: &str = std::env::consts::OS; const V: &str = env!(\"V\");",
            "#[cfg(test)]\nuse a::b;\nfn print() {}",
        ];
        for text in cases {
            assert_eq!(check_lines(INNER, text), Vec::<usize>::new(), "{text}");
        }
    }

    #[test]
    fn the_outer_crates_print_and_the_kept_files_are_unsafe() {
        let print = "fn f() { println!(\"{}\", std::env::args().count()); }";
        for path in [
            "crates/stagewright-cli/src/main.rs",
            "xtask/src/a.rs",
            "crates/a/build.rs",
        ] {
            assert_eq!(check_lines(path, print), Vec::<usize>::new(), "{path}");
        }
        let raw = "fn f() { unsafe { g() } }";
        for path in [
            "crates/stagewright-exec/src/sys.rs",
            "bindings/python/src/a.rs",
        ] {
            assert_eq!(check_lines(path, raw), Vec::<usize>::new(), "{path}");
        }
        assert_eq!(check_lines("crates/stagewright-cli/src/main.rs", raw), [1]);
    }

    #[test]
    fn code_after_a_test_module_is_read_again() {
        let text = "#[cfg(test)]\nmod tests;\nfn f() { unsafe { g() } }";
        assert_eq!(check_lines(INNER, text), [3]);
    }
}

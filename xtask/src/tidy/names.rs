//! Names that say nothing about what is behind them.

use syn::visit::Visit;

use super::source::{Finding, SourceFile};

/// A drawer's names: whatever has no place of its own ends up behind one of them.
const BANNED: [&str; 9] = [
    "util",
    "utils",
    "common",
    "core",
    "helper",
    "helpers",
    "manager",
    "managers",
    "controller",
];

/// Checks the names of the file, its folders, and the types and modules that it defines.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in file.path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if let Some(word) = banned_word(&stem.replace('-', "_")) {
            findings.push(Finding::file(&file.path, advice("file", stem, word)));
        }
    }
    // A file that does not parse is the compiler's to report.
    if let Ok(parsed) = syn::parse_file(&file.text) {
        let mut visitor = Definitions {
            path: &file.path,
            findings,
        };
        visitor.visit_file(&parsed);
        findings = visitor.findings;
    }
    findings
}

struct Definitions<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Definitions<'_> {
    fn define(&mut self, kind: &str, ident: &syn::Ident) {
        let name = ident.to_string();
        if let Some(word) = banned_word(&snake_case(&name)) {
            let line = ident.span().start().line;
            self.findings
                .push(Finding::line(self.path, line, advice(kind, &name, word)));
        }
    }
}

impl<'ast> Visit<'ast> for Definitions<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.define("type", &item.ident);
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.define("type", &item.ident);
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.define("trait", &item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.define("type", &item.ident);
        syn::visit::visit_item_type(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.define("module", &item.ident);
        syn::visit::visit_item_mod(self, item);
    }
}

fn advice(kind: &str, name: &str, word: &str) -> String {
    format!("the {kind} `{name}` is named \"{word}\": name it by what it is or does")
}

/// Returns the banned word among the words of a snake_case name.
fn banned_word(name: &str) -> Option<&'static str> {
    BANNED
        .into_iter()
        .find(|banned| name.split('_').any(|word| word == *banned))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_count(path: &str, text: &str) -> usize {
        check(&SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn names_of_drawers_are_found() {
        let cases = [
            ("crates/a/src/util.rs", "", 1),
            ("crates/stagewright-core/src/a.rs", "", 1),
            ("crates/a/src/fs_helpers.rs", "", 1),
            ("crates/a/src/a.rs", "mod common;", 1),
            ("crates/a/src/a.rs", "struct LayerManager;", 1),
            ("crates/a/src/a.rs", "enum BuildController {}", 1),
            ("crates/a/src/a.rs", "fn f() { trait PathHelper {} }", 1),
            ("crates/a/src/a.rs", "mod b { type Utils = (); }", 1),
        ];
        for (path, text, expected) in cases {
            assert_eq!(check_count(path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn names_that_only_contain_the_letters_pass() {
        let cases = [
            "use core::fmt;",
            "struct Score;",
            "struct Utility;",
            "fn common() {}",
        ];
        for text in cases {
            assert_eq!(check_count("crates/a/src/encore.rs", text), 0, "{text}");
        }
    }
}

//! What `lib.rs` and `mod.rs` may hold: documentation, modules and re-exports.

use syn::spanned::Spanned;

use super::source::{Finding, SourceFile};

/// Files that still hold more; the list only ever gets shorter.
const NOT_YET: [&str; 0] = [];

/// Checks a `lib.rs` or `mod.rs`; other files pass.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let entry = matches!(file.file_name(), "lib.rs" | "mod.rs");
    if !entry || file.is_test_code() || NOT_YET.contains(&file.path.as_str()) {
        return Vec::new();
    }
    // A file that does not parse is the compiler's to report.
    let Ok(parsed) = syn::parse_file(&file.text) else {
        return Vec::new();
    };
    parsed
        .items
        .iter()
        .filter(|item| !belongs(item))
        .map(|item| {
            let line = item.span().start().line;
            let message = "lib.rs and mod.rs hold docs, `mod` and `pub use` only: move it to a file named by what it is";
            Finding::line(&file.path, line, message)
        })
        .collect()
}

fn belongs(item: &syn::Item) -> bool {
    match item {
        syn::Item::Mod(module) => module.content.is_none(),
        syn::Item::Use(import) => !matches!(import.vis, syn::Visibility::Inherited),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str) -> Vec<Option<usize>> {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file)
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn docs_modules_and_exports_pass() {
        let text = "//! Docs.\n#![forbid(unsafe_code)]\n/// A.\npub mod a;\nmod b;\npub use b::C;\npub(crate) use b::D;\n";
        assert_eq!(check_lines("crates/a/src/lib.rs", text), []);
    }

    #[test]
    fn code_in_an_entry_file_is_found() {
        let text = "mod a;\nuse a::B;\nfn f() {}\nmod c { }\npub struct S;\n";
        let lines = [Some(2), Some(3), Some(4), Some(5)];
        assert_eq!(check_lines("crates/a/src/lib.rs", text), lines);
        assert_eq!(check_lines("crates/a/src/b/mod.rs", text), lines);
        assert_eq!(check_lines("crates/a/src/b.rs", text), []);
        assert_eq!(check_lines("crates/a/tests/it/mod.rs", text), []);
    }
}

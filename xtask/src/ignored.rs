//! The tests that a plain `cargo test` leaves out, and why: read from the source, so that a
//! skipped test is named and never passes silently.

use std::process::Command;

use anyhow::Result;
use syn::visit::Visit;

use crate::host;

/// A test that is marked as ignored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IgnoredTest {
    /// The function's name.
    pub(crate) name: String,
    /// The file, from the root.
    pub(crate) path: String,
    /// What its attribute says.
    pub(crate) reason: String,
}

/// Lists the ignored tests of the working tree.
pub(crate) fn list() -> Result<Vec<IgnoredTest>> {
    let root = host::root();
    let files = host::output(
        Command::new("git")
            .current_dir(&root)
            .args(["ls-files", "*.rs"]),
    )?;
    let mut tests = Vec::new();
    for path in files.lines().filter(|path| root.join(path).is_file()) {
        tests.extend(read(path, &fs_err::read_to_string(root.join(path))?));
    }
    Ok(tests)
}

fn read(path: &str, text: &str) -> Vec<IgnoredTest> {
    // A file that does not parse is the compiler's to report.
    let Ok(parsed) = syn::parse_file(text) else {
        return Vec::new();
    };
    let mut found = Found {
        path,
        tests: Vec::new(),
    };
    found.visit_file(&parsed);
    found.tests
}

struct Found<'a> {
    path: &'a str,
    tests: Vec<IgnoredTest>,
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        for attribute in &function.attrs {
            if attribute.path().is_ident("ignore") {
                self.tests.push(IgnoredTest {
                    name: function.sig.ident.to_string(),
                    path: self.path.to_owned(),
                    reason: reason(attribute),
                });
            }
        }
    }
}

fn reason(attribute: &syn::Attribute) -> String {
    if let syn::Meta::NameValue(pair) = &attribute.meta
        && let syn::Expr::Lit(literal) = &pair.value
        && let syn::Lit::Str(text) = &literal.lit
    {
        return text.value();
    }
    "gives no reason".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_tests_are_found_with_their_reasons() {
        let text = "mod a { #[test] #[ignore = \"needs root\"] fn privileged_b() {} }\n#[test] fn c() {}\n#[test] #[ignore] fn d() {}";
        let found: Vec<(String, String)> = read("a.rs", text)
            .into_iter()
            .map(|test| (test.name, test.reason))
            .collect();
        let expected = [("privileged_b", "needs root"), ("d", "gives no reason")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}

//! What no committed text may say.

use super::source::{Finding, SourceFile};

/// Hosts of package registries, in halves, so that this file does not break its own rule.
const HOSTS: [(&str, &str); 9] = [
    ("registry.npm", "js.org"),
    ("registry.yarn", "pkg.com"),
    ("pypi.", "org"),
    ("files.python", "hosted.org"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("deb.node", "source.com"),
];

/// Files that a package client writes for itself.
const CLIENT_FILES: [&str; 1] = ["Cargo.lock"];

/// Finds the hosts of package registries: where packages come from is the machine's to say.
pub(super) fn check_hosts(file: &SourceFile) -> Vec<Finding> {
    if CLIENT_FILES.contains(&file.file_name()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (front, back) in HOSTS {
            let host = format!("{front}{back}");
            if line.contains(&host) {
                let message = "names a package registry's host: leave it to the machine's setup";
                findings.push(Finding::line(&file.path, index + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_registries_are_found() {
        for (front, back) in HOSTS {
            let text = format!("first\nuse https://{front}{back}/x\n");
            let found = check_hosts(&SourceFile {
                path: "a.md".to_owned(),
                text: text.clone(),
            });
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].line, Some(2));
            let lock = SourceFile {
                path: "Cargo.lock".to_owned(),
                text,
            };
            assert_eq!(check_hosts(&lock), []);
        }
    }

    #[test]
    fn other_hosts_pass() {
        let text = "docker.io 127.0.0.1:5000 example.com".to_owned();
        assert_eq!(
            check_hosts(&SourceFile {
                path: "a.md".to_owned(),
                text
            }),
            []
        );
    }
}

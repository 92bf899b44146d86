//! Links between the project's texts.

use std::collections::BTreeSet;

use super::source::{Finding, SourceFile};

/// Finds links to files and headings that are not there. Addresses on the web are not looked at.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let texts = || files.iter().filter(|file| is_text(&file.path));
    for file in texts() {
        for link in links(&file.text) {
            let Some(target) = resolve(&file.path, &link.target) else {
                let message = format!("the link {:?} leaves the project", link.target);
                findings.push(Finding::line(&file.path, link.line, message));
                continue;
            };
            if let Some(message) = fault(files, &target, &link.target) {
                findings.push(Finding::line(&file.path, link.line, message));
            }
        }
    }
    findings
}

fn is_text(path: &str) -> bool {
    path.ends_with(".md")
}

/// A link to another place in the project.
struct Link {
    line: usize,
    target: String,
}

struct Target {
    path: String,
    heading: Option<String>,
}

/// Says what is wrong with a link.
fn fault(files: &[SourceFile], target: &Target, written: &str) -> Option<String> {
    let folder = format!("{}/", target.path);
    let found = files.iter().find(|file| file.path == target.path);
    match (found, &target.heading) {
        (None, None) if files.iter().any(|file| file.path.starts_with(&folder)) => None,
        (None, _) => Some(format!("the link {written:?} leads nowhere")),
        (Some(_), None) => None,
        (Some(file), Some(heading)) if headings(&file.text).contains(heading) => None,
        (Some(_), Some(_)) => Some(format!("the link {written:?} names no heading there")),
    }
}

/// Returns the path from the root that a link in a file means; nothing above the root.
fn resolve(from: &str, written: &str) -> Option<Target> {
    let (path, heading) = match written.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (written, None),
    };
    if path.is_empty() {
        let path = from.to_owned();
        return Some(Target { path, heading });
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    Some(Target { path, heading })
}

/// Returns a text's lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// Finds the links that are none to the web: what is in code does not count.
fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(text).filter(|(_, line)| !line.starts_with("    ")) {
        let outside: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for (_, rest) in outside
            .match_indices("](")
            .map(|(at, mark)| (at, &outside[at + mark.len()..]))
        {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.is_empty() {
                let target = target.to_owned();
                links.push(Link { line, target });
            }
        }
    }
    links
}

/// Returns the names that headings are linked by.
fn headings(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let name = anchor(title);
            let again = (1..).map(|number| format!("{name}-{number}"));
            let free = [name.clone()].into_iter().chain(again);
            // The second heading of a name is the first with a number.
            names.extend(free.take(100).find(|name| !names.contains(name)));
        }
    }
    names
}

/// Writes a heading as it is linked to.
fn anchor(title: &str) -> String {
    title
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            character => character.is_alphanumeric().then_some(character),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        let (path, text) = (path.to_owned(), text.to_owned());
        SourceFile { path, text }
    }

    fn said(text: &str) -> Vec<String> {
        let files = [
            file("docs/a/page.md", text),
            file("docs/b.md", "# Top\n\n## Without `root`, twice\n\n## Top\n"),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_to_what_is_there_pass() {
        let text = "# Here\n[b](../b.md) [c](../b.md#top) [d](../b.md#without-root-twice)\n\
                    [e](../b.md#top-1) [f](#here) [web](https://a.example/x) `[code](x)`\n\
                    ```text\n[block](x)\n```\n[folder](../a)\n";
        assert_eq!(said(text), [""; 0]);
    }

    #[test]
    fn links_to_what_is_not_there_are_found() {
        for (link, message) in [
            ("../c.md", "leads nowhere"),
            ("b.md", "leads nowhere"),
            ("../b.md#no", "names no heading"),
            ("#no", "names no heading"),
            ("../../../x", "leaves the project"),
        ] {
            let said = said(&format!("one\n[x]({link})\n"));
            assert_eq!(said.len(), 1, "{link}");
            assert!(
                said[0].contains(message) && said[0].contains("page.md:2"),
                "{said:?}"
            );
        }
    }
}

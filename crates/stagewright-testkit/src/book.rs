//! The documentation's pages, and a place in which their examples run.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Registry, busybox};

/// Where the pages lie, below the root of the project.
const PAGES: &str = "docs";
/// Languages of examples that something runs: blocks in them are examples unless they say otherwise.
const RUN: [&str; 5] = ["sh", "python", "js", "cpp", "rust"];
/// Languages of texts that are read, or written to files.
const SHOWN: [&str; 8] = [
    "text",
    "dockerfile",
    "json",
    "toml",
    "cmake",
    "c",
    "html",
    "ts",
];
/// The block is not run: it needs what a test has not, or is another tool's.
const ONLY_SHOWN: &str = "shown";
/// The block is what the examples before it print.
const OUTPUT: &str = "output";
/// The block is a file: `file=NAME`.
const FILE: &str = "file=";
/// The registry of the examples, for which one in this process stands.
const REGISTRY: &str = "registry.example.com";

/// A page of the documentation.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its path below `docs`.
    pub name: String,
    /// Its blocks, from top to bottom.
    pub blocks: Vec<Block>,
}

/// A fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line that its text begins at.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// What it is for.
    pub kind: BlockKind,
    /// What is in it, with a newline at the end.
    pub text: String,
}

/// What a block is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockKind {
    /// It is run.
    Example,
    /// It is a file of this name in the folder that the examples run in.
    File(String),
    /// It is what the example above prints, among other things. `…` stands for any text.
    Output,
    /// It is only read.
    Shown,
}

impl Page {
    /// Reads all pages below a project's folder `docs`, in the order of their names.
    ///
    /// # Panics
    ///
    /// When a block's language or purpose is not known: nothing is left out by a slip.
    #[must_use]
    pub fn all(root: &Path) -> Vec<Self> {
        let folder = root.join(PAGES);
        let mut pages = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(at) = folders.pop() {
            for entry in fs_err::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "md") {
                    let text = fs_err::read_to_string(&path).unwrap();
                    let name = path.strip_prefix(&folder).unwrap().display().to_string();
                    pages.push(Self::parse(&name, &text));
                }
            }
        }
        pages.sort_by(|one, other| one.name.cmp(&other.name));
        assert!(!pages.is_empty(), "{PAGES} has no pages");
        pages
    }

    /// Reads a page.
    ///
    /// # Panics
    ///
    /// When a block's language or purpose is not known, or a block has no end.
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Self {
        let mut blocks = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let Some(info) = line.strip_prefix("```") else {
                continue;
            };
            let place = format!("{name}:{}", index + 1);
            let mut text = String::new();
            loop {
                match lines.next() {
                    None => panic!("{place}: the block has no end"),
                    Some((_, "```")) => break,
                    Some((_, line)) => text = text + line + "\n",
                }
            }
            let (language, kind) = purpose(&place, info);
            blocks.push(Block {
                line: index + 2,
                language,
                kind,
                text,
            });
        }
        Self {
            name: name.to_owned(),
            blocks,
        }
    }

    /// Returns the examples in a language; those of `sh` are another's than those of `python`.
    #[must_use]
    pub fn examples(&self, language: &str) -> Vec<&Block> {
        let wanted =
            |block: &&Block| block.kind == BlockKind::Example && block.language == language;
        self.blocks.iter().filter(wanted).collect()
    }

    /// Returns the lines that the examples in a language print, in their order.
    #[must_use]
    pub fn output(&self, language: &str) -> Vec<&str> {
        let mut lines = Vec::new();
        let mut last = "";
        for block in &self.blocks {
            match block.kind {
                BlockKind::Example => last = &block.language,
                BlockKind::Output if last == language => lines.extend(block.text.lines()),
                _ => {}
            }
        }
        lines
    }

    /// Checks what the examples in a language printed: every line that the page shows, in its order.
    ///
    /// # Panics
    ///
    /// When one is missing.
    pub fn check_output(&self, language: &str, printed: &str) {
        let mut rest = printed.lines();
        for wanted in self.output(language) {
            let wanted = one_spaced(wanted);
            assert!(
                wanted.is_empty() || rest.any(|line| matches(&wanted, &one_spaced(line))),
                "{}: the {language} examples do not print {wanted:?} here, but\n{printed}",
                self.name
            );
        }
    }
}

/// Reads what stands behind a fence: a language and what the block is for.
fn purpose(place: &str, info: &str) -> (String, BlockKind) {
    let mut words = info.split(',');
    let language = words.next().unwrap_or_default();
    let run = RUN.contains(&language);
    assert!(
        run || SHOWN.contains(&language),
        "{place}: {language:?} is no language of blocks: {RUN:?}, {SHOWN:?}"
    );
    let usual = if run {
        BlockKind::Example
    } else {
        BlockKind::Shown
    };
    let kind = match words.next() {
        None => usual,
        Some(ONLY_SHOWN) if run => BlockKind::Shown,
        Some(OUTPUT) if !run => BlockKind::Output,
        // What rustdoc reads there.
        Some("no_run") if language == "rust" => BlockKind::Example,
        Some(word) => match word.strip_prefix(FILE) {
            Some(file) if !file.is_empty() => BlockKind::File(file.to_owned()),
            _ => panic!("{place}: {word:?} is none of {ONLY_SHOWN}, {OUTPUT}, {FILE}NAME"),
        },
    };
    assert!(
        words.next().is_none(),
        "{place}: {info:?} says more than one thing"
    );
    (language.to_owned(), kind)
}

/// Makes columns of any width the same.
fn one_spaced(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells whether a line is as the page shows it.
fn matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What examples need around them: BusyBox as `busybox`, registries to push to, an empty home.
pub struct ExampleHost {
    registry: Registry,
    folder: TempDir,
}

impl ExampleHost {
    /// Starts a registry in this process that has BusyBox.
    ///
    /// # Panics
    ///
    /// When this machine has no static BusyBox.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default that starts a server surprises"
    )]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stagewright-book-")
            .tempdir()
            .unwrap();
        let layout = folder.path().join("busybox");
        busybox(&layout);
        let registry = Registry::start();
        for tag in ["latest", "1"] {
            registry.add_layout("library/busybox", tag, &layout);
        }
        let address = registry.address();
        let rule = format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"{address}\"\n");
        fs_err::write(folder.path().join("registries.conf"), rule).unwrap();
        Self { registry, folder }
    }

    /// Returns an example with the address of the registry in this process.
    #[must_use]
    pub fn fill_in(&self, example: &str) -> String {
        example.replace(REGISTRY, &self.registry.address())
    }

    /// Returns what an example printed as the page shows it.
    #[must_use]
    pub fn restore(&self, printed: &str) -> String {
        printed.replace(&self.registry.address(), REGISTRY)
    }

    /// Makes the folder that a page's examples in a language run in, with the page's files.
    ///
    /// # Panics
    ///
    /// When the page gives two files one name.
    #[must_use]
    pub fn project(&self, page: &Page, language: &str) -> PathBuf {
        let name = page.name.replace('/', "-");
        let home = self.folder.path().join(format!("{name}-{language}"));
        let project = home.join("app");
        fs_err::create_dir_all(&project).unwrap();
        for block in &page.blocks {
            if let BlockKind::File(name) = &block.kind {
                let file = project.join(name);
                fs_err::create_dir_all(file.parent().unwrap()).unwrap();
                assert!(!file.exists(), "{}: {name} is there twice", page.name);
                fs_err::write(file, &block.text).unwrap();
            }
        }
        project
    }

    /// Has a command run in such a folder, with nothing of the caller's own settings.
    pub fn prepare<'c>(&self, command: &'c mut Command, project: &Path) -> &'c mut Command {
        for variable in [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_RUNTIME_DIR",
            "DOCKER_CONFIG",
            "REGISTRY_AUTH_FILE",
            "SOURCE_DATE_EPOCH",
            "STAGEWRIGHT_STORE",
        ] {
            command.env_remove(variable);
        }
        let conf = self.folder.path().join("registries.conf");
        command
            .current_dir(project)
            .env("HOME", project.parent().unwrap_or(project))
            .env("CONTAINERS_REGISTRIES_CONF", conf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_with_what_they_are_for() {
        let text = "# A\n\n```sh\none\n```\n```text,output\nsha256:… and … end\n```\n```dockerfile,file=a/b\nFROM x\n```\n```python,shown\nimport docker\n```\n";
        let page = Page::parse("a.md", text);
        let kinds: Vec<&BlockKind> = page.blocks.iter().map(|block| &block.kind).collect();
        let file = BlockKind::File("a/b".to_owned());
        let expected = [
            &BlockKind::Example,
            &BlockKind::Output,
            &file,
            &BlockKind::Shown,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(
            (page.blocks[0].line, page.blocks[0].text.as_str()),
            (4, "one\n")
        );
        assert_eq!(page.examples("python"), Vec::<&Block>::new());
        page.check_output("sh", "before\nsha256:12 and  more to the end\nbehind\n");
    }

    #[test]
    #[should_panic(expected = "do not print")]
    fn output_that_is_not_there_is_found() {
        let page = Page::parse("a.md", "```sh\nx\n```\n```text,output\na\nb\n```\n");
        page.check_output("sh", "b\na\n");
    }

    #[test]
    #[should_panic(expected = "is no language")]
    fn a_block_that_nobody_would_run_is_refused() {
        let _ = Page::parse("a.md", "```bash\nx\n```\n");
    }

    #[test]
    fn lines_match_with_gaps() {
        for (wanted, line, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("…", "anything", true),
            ("a … c", "a b c", true),
            ("a … c", "a b d", false),
            ("…b…", "abc", true),
        ] {
            assert_eq!(matches(wanted, line), expected, "{wanted} {line}");
        }
    }
}

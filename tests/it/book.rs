//! The examples of the documentation, which must do what its pages say.

use std::path::{Path, PathBuf};
use std::process::Command;

use stagewright_testkit::{ExampleHost, Page, Stagewright, command_reference, output};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_path_buf()
}

/// Runs the shell examples of a page as one script.
fn run(host: &ExampleHost, page: &Page, program: &Path) {
    // Examples call the command by its name.
    let mut script = "set -eu\nexec 2>&1\nstagewright() { \"$PROGRAM\" \"$@\"; }\n".to_owned();
    for example in page.examples("sh") {
        script += &format!("# {}:{}\n{}\n", page.name, example.line, example.text);
    }
    let project = host.project(page, "sh");
    let script = host.fill_in(&script);
    let mut shell = Command::new("sh");
    host.prepare(&mut shell, &project);
    shell.env("PROGRAM", program).args(["-c", &script]);
    let printed = output(&mut shell).success().stdout;
    page.check_output("sh", &host.restore(&printed));
}

#[test]
#[ignore = "needs root"]
fn privileged_the_shell_examples_in_the_book_do_what_it_says() {
    let host = ExampleHost::new();
    let stagewright = Stagewright::new();
    let program = PathBuf::from(stagewright.command("build").get_program());
    let pages = Page::all(&root());
    let shown = pages.iter().filter(|page| !page.examples("sh").is_empty());
    std::thread::scope(|scope| {
        for page in shown {
            scope.spawn(|| run(&host, page, &program));
        }
    });
}

#[test]
fn every_page_with_rust_is_compiled_as_documentation() {
    let list = fs_err::read_to_string(root().join("tests/lib.rs")).unwrap();
    for page in Page::all(&root()) {
        let named = list.contains(&format!("docs/{}\"", page.name));
        assert_eq!(named, !page.examples("rust").is_empty(), "{}", page.name);
    }
}

/// The page that names a test for each thing that it claims.
const FEATURES: &str = "docs/reference/features.md";

#[test]
fn the_tests_that_the_feature_table_names_are_there() {
    let table = fs_err::read_to_string(root().join(FEATURES)).unwrap();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in shown_by.split('`').skip(1).step_by(2) {
            if let Some((topic, test)) = name.rsplit_once("::") {
                let file = format!("tests/it/{}.rs", topic.replace("::", "/"));
                let source = fs_err::read_to_string(root().join(&file)).unwrap();
                assert!(
                    source.contains(&format!("fn {test}(")),
                    "{file} has no {test}"
                );
            } else if let Some(folder) = name.split_once('/') {
                let file = format!("tests/dockerfiles/{}/{}.Dockerfile", folder.0, folder.1);
                assert!(root().join(&file).is_file(), "there is no {file}");
            } else {
                continue;
            }
            named += 1;
        }
    }
    assert!(named > 50, "{FEATURES} names {named} tests");
}

#[test]
fn the_reference_is_what_the_command_says() {
    let page = fs_err::read_to_string(root().join("docs/reference/command.md")).unwrap();
    let help = Stagewright::new().command("help");
    let said = command_reference(Path::new(help.get_program()));
    assert!(page.ends_with(&said), "stale: run `cargo xtask codegen`");
}

#[test]
fn the_book_lists_every_page() {
    let list = fs_err::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in Page::all(&root()) {
        let listed = list.contains(&format!("]({})", page.name));
        assert!(listed || page.name == "SUMMARY.md", "{}", page.name);
    }
}

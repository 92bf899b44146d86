//! The page of features names tests that exist.

use std::path::Path;

/// Adds the text of every Rust file below a folder.
fn read_all(folder: &Path, text: &mut String) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            read_all(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs_err::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn each_test_that_the_page_of_features_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs_err::read_to_string(root.join("docs/features-language.md")).unwrap();
    let mut sources = String::new();
    read_all(&root.join("crates"), &mut sources);
    read_all(&root.join("tests/it"), &mut sources);
    let (mut named, mut missing) = (0, Vec::new());
    // Tests stand in the last column.
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_end_matches([' ', '|']).split(" | ").collect();
        let (last, done) = (cells[cells.len() - 1], row.contains('✓'));
        let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if done && tests.is_empty() {
            missing.push(format!("no test in: {row}"));
        }
        for test in tests {
            named += 1;
            let exists = match test.split_once('/') {
                Some(_) => root
                    .join(format!("tests/dockerfiles/{test}.Dockerfile"))
                    .is_file(),
                None => sources.contains(&format!("fn {test}(")),
            };
            if !exists {
                missing.push(format!("no test {test}: {row}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named > 200, "only {named} tests are named");
}

//! The corpus of Dockerfiles as another parser reads it. Where the two differ, the list below says which rule of BuildKit's
//! decides; a difference that is gone is to be taken off it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stagewright_dockerfile::Dockerfile;

const EMPTY: &str = "a value may be empty";
const ESCAPE: &str = "the directive `escape` names what ends a line that goes on";
const HEREDOC: &str = "`<<` and a word begin a file or a script that ends at that word";
const JSON: &str = "what is not quite JSON is a text for the shell";
const WORDS: &str =
    "a word ends at a blank that is neither quoted nor escaped; quotes may begin within it";

/// Files that the other parser refuses or reads otherwise, and what BuildKit does.
const DIFFERENCES: &[(&str, &str)] = &[
    ("add_heredoc", HEREDOC),
    ("arg_empty_default", EMPTY),
    ("arg_several", "ARG takes several names"),
    ("bom", "a byte order mark is passed over"),
    ("cmd_single_quotes_are_shell", JSON),
    ("cmd_trailing_comma_is_shell", JSON),
    (
        "continuation_at_end_of_file",
        "the last line may be said to go on",
    ),
    (
        "continuation_splits_keyword",
        "a line goes on wherever it is cut, within a keyword too",
    ),
    (
        "continuation_splits_word",
        "a line goes on wherever it is cut, within a word too",
    ),
    ("copy_heredoc", HEREDOC),
    ("copy_heredoc_and_file", HEREDOC),
    ("copy_heredoc_empty", HEREDOC),
    ("copy_heredoc_expands", HEREDOC),
    ("copy_heredoc_hash_is_content", HEREDOC),
    ("copy_heredoc_quoted_literal", HEREDOC),
    ("copy_heredoc_tabs", HEREDOC),
    ("copy_heredoc_two", HEREDOC),
    ("copy_json", "COPY takes a JSON array"),
    ("crlf_heredoc", HEREDOC),
    ("directive_key_any_case", ESCAPE),
    ("entrypoint_empty_array_and_more", JSON),
    ("env_empty", EMPTY),
    ("env_escaped_space", WORDS),
    (
        "env_key_with_dash",
        "a key is whatever stands before the `=`",
    ),
    ("env_part_quoted", WORDS),
    ("escape_after_shebang", ESCAPE),
    ("escape_backtick", ESCAPE),
    ("escape_backtick_word", ESCAPE),
    ("expand_default_colon", EMPTY),
    ("expand_default_set_empty", EMPTY),
    ("expand_plus", EMPTY),
    ("expand_plus_colon_empty", EMPTY),
    ("json_with_something_behind", JSON),
    ("label_empty_value", EMPTY),
    (
        "label_legacy",
        "LABEL takes a key and the rest of the line as its value",
    ),
    ("onbuild_heredoc", HEREDOC),
    ("run_heredoc", HEREDOC),
    ("run_heredoc_descriptor", HEREDOC),
    ("run_heredoc_shebang", HEREDOC),
    ("run_heredoc_tabs", HEREDOC),
    ("run_heredoc_two", HEREDOC),
    ("run_heredoc_with_command", HEREDOC),
    (
        "run_nothing",
        "RUN may have no command: the shell gets an empty text",
    ),
    ("stage_name_dots", "the name of a stage may have dots"),
];

/// Says whether the other parser takes a text and reads it as we do.
fn read_alike(source: &str) -> Result<(), String> {
    let parsed = dockerfile_parser::Dockerfile::parse(source).map_err(|error| error.to_string())?;
    Dockerfile::try_from(&parsed)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn the_corpus_is_read_as_another_parser_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dockerfiles/accept");
    let known: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    let (mut same, mut wrong) = (0, Vec::new());
    let mut unseen: BTreeSet<&str> = known.keys().copied().collect();
    // What is refused has a snapshot of its own: the other parser checks next to no values.
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file.strip_suffix(".Dockerfile") else {
            continue;
        };
        let Ok(source) = fs_err::read_to_string(&path) else {
            continue;
        };
        unseen.remove(name);
        match (read_alike(&source), known.get(name)) {
            (Ok(()), None) => same += 1,
            (Err(_), Some(_)) => {}
            (Ok(()), Some(rule)) => wrong.push(format!("{name} is read alike now: {rule}")),
            (Err(why), None) => wrong.push(format!("{name}: {why}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unseen.is_empty(), "no such files: {unseen:?}");
    assert!(same > 100, "only {same} were compared");
}

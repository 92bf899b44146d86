//! The corpus of Dockerfiles as another parser reads it. Where the two differ, the list below says which rule of BuildKit's
//! decides; a difference that is gone is to be taken off it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dockerfile_parser as other;
use stagewright_dockerfile::{Command, Dockerfile, Instruction};

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
    (
        "json_with_something_behind",
        "what stands behind a JSON array is passed over",
    ),
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
    ("stage_name_dots", "the name of a stage may have dots"),
];

/// Returns what both can say: bases, names of stages, keywords, and commands in their form.
fn ours(source: &str) -> Option<Vec<String>> {
    let parsed = Dockerfile::parse(source.as_bytes()).ok()?;
    let mut lines: Vec<String> = parsed
        .global_args
        .iter()
        .map(|_| "ARG".to_owned())
        .collect();
    for stage in &parsed.stages {
        let name = stage.name.clone().unwrap_or_default();
        lines.push(format!("FROM {} {name}", stage.from.image));
        for found in &stage.instructions {
            lines.push(match &found.instruction {
                Instruction::Run(run) if !run.heredocs.is_empty() => "RUN".to_owned(),
                Instruction::Run(run) => command("RUN", &run.command),
                Instruction::Cmd(cmd) => command("CMD", &cmd.command),
                Instruction::Entrypoint(entrypoint) => command("ENTRYPOINT", &entrypoint.command),
                _ => keyword(&found.text),
            });
        }
    }
    Some(lines)
}

fn command(keyword: &str, command: &Command) -> String {
    match command {
        Command::Shell(text) => shell(keyword, text),
        Command::Exec(words) => format!("{keyword} {words:?}"),
    }
}

/// A line of a shell without the blanks in it, which nobody is to keep.
fn shell(keyword: &str, text: &str) -> String {
    format!(
        "{keyword} {}",
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

fn keyword(text: &str) -> String {
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_uppercase()
}

fn theirs(source: &str) -> Option<Vec<String>> {
    let parsed = other::Dockerfile::parse(source).ok()?;
    let line = |instruction: &other::Instruction| match instruction {
        other::Instruction::From(from) => {
            let name = from
                .alias
                .as_ref()
                .map(|alias| alias.content.to_lowercase());
            format!("FROM {} {}", from.image.content, name.unwrap_or_default())
        }
        other::Instruction::Run(run) => without_flags(&expression("RUN", &run.expr)),
        other::Instruction::Cmd(cmd) => expression("CMD", &cmd.expr),
        other::Instruction::Entrypoint(entrypoint) => expression("ENTRYPOINT", &entrypoint.expr),
        other::Instruction::Arg(_) => "ARG".to_owned(),
        other::Instruction::Label(_) => "LABEL".to_owned(),
        other::Instruction::Copy(_) => "COPY".to_owned(),
        other::Instruction::Env(_) => "ENV".to_owned(),
        other::Instruction::Misc(misc) => misc.instruction.content.to_uppercase(),
    };
    Some(parsed.instructions.iter().map(line).collect())
}

fn expression(keyword: &str, expression: &other::ShellOrExecExpr) -> String {
    match expression {
        other::ShellOrExecExpr::Shell(text) => shell(keyword, &text.to_string()),
        other::ShellOrExecExpr::Exec(words) => format!("{keyword} {:?}", words.as_str_vec()),
    }
}

/// The other parser knows no flags of RUN: it has them in the command.
fn without_flags(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let flags = words[1..].iter().take_while(|word| word.starts_with("--"));
    words.drain(1..1 + flags.count());
    words.join(" ")
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
        let (ours, theirs) = (ours(&source), theirs(&source));
        match (ours == theirs, known.get(name)) {
            (true, None) => same += 1,
            (false, Some(_)) => {}
            (true, Some(rule)) => wrong.push(format!("{name} is read alike now: {rule}")),
            (false, None) => wrong.push(format!("{name}:\n  {ours:?}\n  {theirs:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unseen.is_empty(), "no such files: {unseen:?}");
    assert!(same > 100, "only {same} were compared");
}

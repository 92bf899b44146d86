//! What the command says of itself.

use std::path::Path;
use std::process::Command;

use crate::process::output;

/// Of each line of help.
const COLUMNS: &str = "100";

/// Asks the command for the help of each verb, and returns it as the page of the book that has all of them: a section a
/// verb.
///
/// # Panics
///
/// When the command does not answer.
#[must_use]
pub fn command_reference(program: &Path) -> String {
    let mut text = String::new();
    add_section(program, &[], &mut text);
    text
}

/// Adds the section of a verb, and those of the verbs below it.
fn add_section(program: &Path, verbs: &[&str], text: &mut String) {
    let mut command = Command::new(program);
    // What variables are set to is part of the help.
    command.env_clear().env("COLUMNS", COLUMNS);
    let help = output(command.arg("help").args(verbs)).success().stdout;
    *text += &section(verbs, &help);
    for verb in verbs_of(&help) {
        let below: Vec<&str> = verbs.iter().copied().chain([verb]).collect();
        add_section(program, &below, text);
    }
}

fn section(verbs: &[&str], help: &str) -> String {
    let name = [&["stagewright"], verbs].concat().join(" ");
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let help = lines.join("\n");
    format!("\n## {name}\n\n```text\n{}\n```\n", help.trim())
}

/// Returns the verbs that a help lists, without `help` itself.
fn verbs_of(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty() && *verb != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_those_that_the_help_lists() {
        let help = "About.\n\nUsage: a\n\nCommands:\n  build  Build it\n           with care\n  tag    Tag\n  help   Help\n\nOptions:\n  --store <DIR>\n";
        assert_eq!(verbs_of(help), ["build", "tag"]);
        assert_eq!(verbs_of("Usage: a\n"), [""; 0]);
    }

    #[test]
    fn a_section_has_the_verbs_name_and_no_space_at_its_ends() {
        let expected = "\n## stagewright cache du\n\n```text\nShow\n\nUsage\n```\n";
        assert_eq!(section(&["cache", "du"], "Show  \n\nUsage\n\n"), expected);
    }
}

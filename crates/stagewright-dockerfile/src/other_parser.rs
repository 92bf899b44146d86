//! Dockerfiles that the crate `dockerfile-parser` has parsed.

use dockerfile_parser as other;
use thiserror::Error;

use crate::ast::{Command, Dockerfile, Instruction};
use crate::error::ParseError;
use crate::split;

/// A Dockerfile that another parser has parsed is not one here, or is read otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OtherParserError {
    /// It is none.
    #[error("its text is no Dockerfile: {0}")]
    Parse(#[from] ParseError),
    /// An instruction means something else.
    #[error(
        "instruction {number} is read otherwise: `{ours}` here, `{theirs}` by dockerfile-parser; write it so that both agree, or parse its text"
    )]
    Differs {
        /// Which instruction, from 1.
        number: usize,
        /// What it is here.
        ours: String,
        /// What the other parser has.
        theirs: String,
    },
}

/// Reads the text that was parsed, and sees to it that both parsers understand the same by it: that
/// one misreads some of what is written today, and nobody is to build something else than what they
/// looked at.
impl TryFrom<&other::Dockerfile> for Dockerfile {
    type Error = OtherParserError;

    fn try_from(parsed: &other::Dockerfile) -> Result<Self, Self::Error> {
        let dockerfile = Self::parse(parsed.content.as_bytes())?;
        let ours = our_reading(&dockerfile);
        let theirs: Vec<String> = parsed.instructions.iter().map(their_reading).collect();
        for index in 0..ours.len().max(theirs.len()) {
            let line = |lines: &[String]| lines.get(index).cloned().unwrap_or_default();
            if ours.get(index) != theirs.get(index) {
                return Err(OtherParserError::Differs {
                    number: index + 1,
                    ours: line(&ours),
                    theirs: line(&theirs),
                });
            }
        }
        Ok(dockerfile)
    }
}

impl TryFrom<other::Dockerfile> for Dockerfile {
    type Error = OtherParserError;

    fn try_from(parsed: other::Dockerfile) -> Result<Self, Self::Error> {
        Self::try_from(&parsed)
    }
}

/// Says in a line an instruction what both parsers can say.
fn our_reading(dockerfile: &Dockerfile) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for args in &dockerfile.global_args {
        lines.push(instruction(&Instruction::Arg(args.instruction.clone())));
    }
    for stage in &dockerfile.stages {
        let name = stage.name.clone().unwrap_or_default();
        lines.push(format!("FROM {} {name}", stage.from.image));
        let read = |found: &crate::ast::Spanned<Instruction>| match &found.instruction {
            other @ (Instruction::Run(_)
            | Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Arg(_)
            | Instruction::Env(_)
            | Instruction::Copy(_)) => instruction(other),
            _ => keyword(&found.text),
        };
        lines.extend(stage.instructions.iter().map(read));
    }
    lines
}

fn instruction(found: &Instruction) -> String {
    match found {
        // The other parser takes what belongs to the heredoc for instructions.
        Instruction::Run(run) if !run.heredocs.is_empty() => "RUN with a heredoc".to_owned(),
        Instruction::Run(run) => command("RUN", &run.command),
        Instruction::Cmd(cmd) => command("CMD", &cmd.command),
        Instruction::Entrypoint(entrypoint) => command("ENTRYPOINT", &entrypoint.command),
        Instruction::Arg(arg) => {
            let names = arg.args.iter().map(|item| item.name.as_str());
            format!("ARG {}", names.collect::<Vec<_>>().join(" "))
        }
        Instruction::Env(env) => {
            let keys = env.pairs.iter().map(|pair| pair.key.as_str());
            format!("ENV {}", keys.collect::<Vec<_>>().join(" "))
        }
        Instruction::Copy(copy) => format!("COPY {} {}", copy.sources.join(" "), copy.dest),
        _ => String::new(),
    }
}

fn command(keyword: &str, command: &Command) -> String {
    match command {
        Command::Shell(text) => shell(keyword, text),
        Command::Exec(words) => format!("{keyword} {words:?}"),
    }
}

/// A line of a shell without the blanks in it, which nobody is to keep.
fn shell(keyword: &str, text: &str) -> String {
    format!("{keyword} {}", split::whitespace(text).join(" "))
}

fn keyword(text: &str) -> String {
    let first = text.split_whitespace().next();
    first.unwrap_or_default().to_uppercase()
}

fn their_reading(instruction: &other::Instruction) -> String {
    match instruction {
        other::Instruction::From(from) => {
            let name = from.alias.as_ref();
            let name = name.map(|alias| alias.content.to_lowercase());
            format!("FROM {} {}", from.image.content, name.unwrap_or_default())
        }
        other::Instruction::Run(run) => without_flags(&expression("RUN", &run.expr)),
        other::Instruction::Cmd(cmd) => expression("CMD", &cmd.expr),
        other::Instruction::Entrypoint(entrypoint) => expression("ENTRYPOINT", &entrypoint.expr),
        other::Instruction::Arg(arg) => format!("ARG {}", arg.name.content),
        other::Instruction::Env(env) => {
            let keys = env.vars.iter().map(|var| var.key.content.as_str());
            format!("ENV {}", keys.collect::<Vec<_>>().join(" "))
        }
        other::Instruction::Copy(copy) => {
            // Flags without a value are sources there.
            let sources = copy.sources.iter().map(|source| source.content.as_str());
            let sources = sources.skip_while(|source| source.starts_with("--"));
            let sources = sources.collect::<Vec<_>>().join(" ");
            format!("COPY {sources} {}", copy.destination.content)
        }
        other::Instruction::Label(_) => "LABEL".to_owned(),
        other::Instruction::Misc(misc) => misc.instruction.content.to_uppercase(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_read_alike_is_taken() {
        let text = "ARG V=3\nFROM alpine:$V AS Build\nRUN make \\\n  all\nCMD [\"a\", \"b c\"]\n";
        let held = other::Dockerfile::parse(text).unwrap();
        let taken = Dockerfile::try_from(&held).unwrap();
        assert_eq!(taken, Dockerfile::parse(text.as_bytes()).unwrap());
        assert_eq!(Dockerfile::try_from(held).unwrap(), taken);
    }

    #[test]
    fn what_is_read_otherwise_is_refused() {
        // Single quotes make no JSON: this is a text for the shell.
        let held = other::Dockerfile::parse("FROM alpine\nRUN ['a']\n").unwrap();
        let error = Dockerfile::try_from(&held).unwrap_err();
        assert!(
            matches!(&error, OtherParserError::Differs { number: 2, ours, .. } if ours == "RUN ['a']"),
            "{error}"
        );
    }
}

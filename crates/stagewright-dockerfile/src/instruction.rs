//! The grammar of each instruction.

use crate::ast::{
    Add, Arg, ArgItem, Cmd, Command, Copy, Entrypoint, Env, Expose, Healthcheck, Instruction,
    Label, Maintainer, Onbuild, Run, Shell, Stopsignal, User, Volume, Workdir,
};
use crate::error::{ParseError, suggestion};
use crate::flags::{FlagKind, Flags};
use crate::heredoc::{Heredoc, HeredocStart};
use crate::logical_line::LogicalLine;
use crate::mount::mount_from;
use crate::split;

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What an instruction is parsed from.
struct Source<'a> {
    line: &'a LogicalLine,
    /// The keyword, in capitals.
    keyword: &'static str,
    /// What follows the keyword.
    rest: &'a str,
    escape: char,
}

/// Parses an instruction other than `FROM`.
pub(crate) fn parse(line: &LogicalLine, escape: char) -> Result<Instruction, ParseError> {
    let text = line.text.as_str();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (keyword, rest) = text.split_at(end);
    let known = KEYWORDS
        .iter()
        .find(|own| own.eq_ignore_ascii_case(keyword));
    let Some(known) = known else {
        let error = ParseError::new(
            line.span_of_word(keyword),
            format!("unknown instruction: {keyword}"),
        );
        return Err(match suggestion(keyword, &KEYWORDS) {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error,
        });
    };
    let source = Source {
        line,
        keyword: known,
        rest: rest.trim(),
        escape,
    };
    Ok(match source.keyword {
        "ADD" => add(&source)?,
        "ARG" => arg(&source)?,
        "CMD" => Instruction::Cmd(Cmd {
            command: source.command_no_flags()?,
        }),
        "COPY" => copy(&source)?,
        "ENTRYPOINT" => Instruction::Entrypoint(Entrypoint {
            command: source.command_no_flags()?,
        }),
        "ENV" => Instruction::Env(Env {
            pairs: source.pairs()?,
        }),
        "EXPOSE" => Instruction::Expose(Expose {
            ports: source.words()?,
        }),
        "HEALTHCHECK" => healthcheck(&source)?,
        "LABEL" => Instruction::Label(Label {
            pairs: source.pairs()?,
        }),
        "MAINTAINER" => Instruction::Maintainer(Maintainer {
            name: source.one()?,
        }),
        "ONBUILD" => onbuild(&source)?,
        "RUN" => run(&source)?,
        "SHELL" => shell(&source)?,
        "STOPSIGNAL" => Instruction::Stopsignal(Stopsignal {
            signal: source.one()?,
        }),
        "USER" => Instruction::User(User {
            user: source.one()?,
        }),
        "VOLUME" => volume(&source)?,
        "WORKDIR" => Instruction::Workdir(Workdir {
            path: source.one()?,
        }),
        // Nothing else is a keyword.
        _ => return Err(source.fail("FROM can not be used here")),
    })
}

impl Source<'_> {
    fn fail(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.line.span, message)
    }

    fn needs(&self, what: &str) -> ParseError {
        self.fail(format!("{} requires {what}", self.keyword))
    }

    /// Refuses flags and returns what follows the keyword.
    fn no_flags(&self) -> Result<&str, ParseError> {
        Ok(Flags::cut(self.line, self.rest, &[])?.1)
    }

    fn one(&self) -> Result<String, ParseError> {
        let rest = self.no_flags()?;
        if rest.is_empty() {
            return Err(self.needs("exactly one argument"));
        }
        Ok(rest.to_owned())
    }

    fn words(&self) -> Result<Vec<String>, ParseError> {
        let words = split::whitespace(self.no_flags()?);
        if words.is_empty() {
            return Err(self.needs("at least one argument"));
        }
        Ok(words)
    }

    fn pairs(&self) -> Result<Vec<crate::ast::Pair>, ParseError> {
        let rest = self.no_flags()?;
        let pairs = split::pairs(rest, self.escape)
            .map_err(|message| self.fail(format!("{}: {message}", self.keyword)))?;
        if pairs.is_empty() {
            return Err(self.needs("at least one argument"));
        }
        Ok(pairs)
    }

    fn command_no_flags(&self) -> Result<Command, ParseError> {
        self.command(self.no_flags()?)
    }

    fn command(&self, text: &str) -> Result<Command, ParseError> {
        Ok(match self.json_array(text)? {
            Some(words) => Command::Exec(words),
            None => Command::Shell(text.to_owned()),
        })
    }

    /// Parses a JSON array of strings. Nothing when it is no array: then the shell form is meant.
    fn json_array(&self, text: &str) -> Result<Option<Vec<String>>, ParseError> {
        match split::json_array(text) {
            None if split::is_other_array(text) => {
                let message = "a JSON array must hold strings only";
                Err(ParseError::new(self.line.span_of_word(text), message)
                    .help("write each element in double quotes"))
            }
            words => Ok(words),
        }
    }

    /// Splits the arguments of `COPY` and `ADD`: heredocs, sources, destination.
    fn files(&self, rest: &str) -> Result<(Vec<String>, Vec<Heredoc>, String), ParseError> {
        let mut words = match self.json_array(rest)? {
            Some(words) => words,
            // Only the words of heredocs are quoted.
            None if !self.line.heredocs.is_empty() => split::name_values(rest, self.escape),
            None => split::whitespace(rest),
        };
        if words.len() < 2 {
            return Err(self
                .needs(&format!(
                    "at least two arguments, but only {} was provided",
                    words.len()
                ))
                .help(format!("write {} SOURCE... DESTINATION", self.keyword)));
        }
        let dest = words.pop().unwrap_or_default();
        let heredocs = self.line.heredocs.clone();
        if !heredocs.is_empty() && HeredocStart::parse(&dest).is_some() {
            return Err(self.fail(format!(
                "{} requires a destination: it is a heredoc",
                self.keyword
            )));
        }
        if !heredocs.is_empty() {
            words.retain(|word| HeredocStart::parse(word).is_none());
        }
        Ok((words, heredocs, dest))
    }
}

fn add(source: &Source<'_>) -> Result<Instruction, ParseError> {
    use FlagKind::{Bool, List, Value};
    let known = [
        ("chown", Value),
        ("chmod", Value),
        ("link", Bool),
        ("exclude", List),
        ("checksum", Value),
        ("keep-git-dir", Bool),
        ("unpack", Bool),
    ];
    let (mut flags, rest) = Flags::cut(source.line, source.rest, &known)?;
    let (sources, heredocs, dest) = source.files(rest)?;
    Ok(Instruction::Add(Add {
        sources,
        heredocs,
        dest,
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.bool("link").unwrap_or(false),
        exclude: flags.list("exclude"),
        checksum: flags.value("checksum"),
        keep_git_dir: flags.bool("keep-git-dir"),
        unpack: flags.bool("unpack"),
    }))
}

fn copy(source: &Source<'_>) -> Result<Instruction, ParseError> {
    use FlagKind::{Bool, List, Value};
    let known = [
        ("from", Value),
        ("chown", Value),
        ("chmod", Value),
        ("link", Bool),
        ("parents", Bool),
        ("exclude", List),
    ];
    let (mut flags, rest) = Flags::cut(source.line, source.rest, &known)?;
    let (sources, heredocs, dest) = source.files(rest)?;
    Ok(Instruction::Copy(Copy {
        sources,
        heredocs,
        dest,
        from: flags.value("from"),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.bool("link").unwrap_or(false),
        parents: flags.bool("parents").unwrap_or(false),
        exclude: flags.list("exclude"),
    }))
}

fn arg(source: &Source<'_>) -> Result<Instruction, ParseError> {
    let words = split::name_values(source.no_flags()?, source.escape);
    if words.is_empty() {
        return Err(source.needs("at least one argument"));
    }
    let mut args = Vec::new();
    for word in words {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word.clone(), None),
        };
        if name.is_empty() {
            return Err(source.fail(format!("ARG names can not be blank, in {word:?}")));
        }
        args.push(ArgItem { name, default });
    }
    Ok(Instruction::Arg(Arg { args }))
}

fn run(source: &Source<'_>) -> Result<Instruction, ParseError> {
    use FlagKind::{List, Value};
    let known = [
        ("mount", List),
        ("network", Value),
        ("security", Value),
        ("device", List),
    ];
    let (mut flags, rest) = Flags::cut(source.line, source.rest, &known)?;
    let mounts = flags.list("mount");
    for mount in &mounts {
        // Few have a variable, and only those need to be taken apart here.
        if mount.contains('$') && mount_from(mount).is_some_and(|from| from.contains('$')) {
            let message = "'from' doesn't support variable expansion";
            return Err(
                ParseError::new(source.line.span_of_word(mount), message).help(
                    "define alias stage instead: a FROM with a global ARG, and name that stage",
                ),
            );
        }
    }
    let mut one_of = |name: &str, allowed: &[&str]| -> Result<Option<String>, ParseError> {
        match flags.value(name) {
            Some(value) if !allowed.contains(&value.as_str()) => {
                let message = format!("{name} {value:?} is not valid");
                Err(ParseError::new(source.line.span_of_word(&value), message)
                    .help(format!("it is one of {}", allowed.join(", "))))
            }
            value => Ok(value),
        }
    };
    let network = one_of("network", &["default", "none", "host"])?;
    let security = one_of("security", &["sandbox", "insecure"])?;
    Ok(Instruction::Run(Run {
        // Without a command the shell gets an empty text, as in BuildKit.
        command: source.command(rest)?,
        heredocs: source.line.heredocs.clone(),
        mounts,
        network,
        security,
        devices: flags.list("device"),
    }))
}

fn shell(source: &Source<'_>) -> Result<Instruction, ParseError> {
    match source.json_array(source.no_flags()?)? {
        Some(words) if !words.is_empty() => Ok(Instruction::Shell(Shell { words })),
        Some(_) => Err(source.needs("at least one argument")),
        None => Err(source
            .needs("the arguments to be in JSON form")
            .help("write SHELL [\"/bin/bash\", \"-c\"]")),
    }
}

fn volume(source: &Source<'_>) -> Result<Instruction, ParseError> {
    let rest = source.no_flags()?;
    let paths = source
        .json_array(rest)?
        .unwrap_or_else(|| split::whitespace(rest));
    if paths.is_empty() {
        return Err(source.needs("at least one argument"));
    }
    if paths.iter().any(|path| path.trim().is_empty()) {
        return Err(source.fail("VOLUME specified can not be an empty string"));
    }
    Ok(Instruction::Volume(Volume { paths }))
}

/// Refuses the instructions that may not be triggers.
pub(crate) fn check_trigger(line: &LogicalLine) -> Result<(), ParseError> {
    let keyword = line
        .text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_uppercase();
    let message = match keyword.as_str() {
        "ONBUILD" => "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        "FROM" | "MAINTAINER" => format!("{keyword} isn't allowed as an ONBUILD trigger"),
        _ => return Ok(()),
    };
    Err(ParseError::new(line.span, message))
}

fn onbuild(source: &Source<'_>) -> Result<Instruction, ParseError> {
    let rest = source.no_flags()?;
    if rest.is_empty() {
        return Err(source.needs("at least one argument"));
    }
    let inner = source.line.ending_with(rest);
    check_trigger(&inner)?;
    parse(&inner, source.escape)?;
    let mut trigger = rest.to_owned();
    for heredoc in &source.line.heredocs {
        trigger += &format!("\n{}{}", heredoc.body, heredoc.name);
    }
    Ok(Instruction::Onbuild(Onbuild { trigger }))
}

fn healthcheck(source: &Source<'_>) -> Result<Instruction, ParseError> {
    let names = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    let known = names.map(|name| (name, FlagKind::Value));
    let (mut flags, rest) = Flags::cut(source.line, source.rest, &known)?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (kind, rest) = rest.split_at(end);
    let command = match kind.to_uppercase().as_str() {
        "" => return Err(source.needs("at least one argument")),
        "NONE" if !rest.trim().is_empty() => {
            return Err(source.fail("HEALTHCHECK NONE takes no arguments"));
        }
        "NONE" => None,
        "CMD" if rest.trim().is_empty() => {
            return Err(source.fail("missing command after HEALTHCHECK CMD"));
        }
        "CMD" => Some(source.command(rest.trim())?),
        _ => {
            let message = format!("unknown type {kind:?} in HEALTHCHECK");
            return Err(
                ParseError::new(source.line.span_of_word(kind), message).help("it is CMD or NONE")
            );
        }
    };
    let retries = flags.value("retries");
    let mut nanoseconds = |name: &str| -> Result<i64, ParseError> {
        let Some(text) = flags.value(name) else {
            return Ok(0);
        };
        duration_ns(&text).map_err(|why| {
            ParseError::new(
                source.line.span_of_word(&text),
                format!("--{name}={text}: {why}"),
            )
            .help("write a duration such as 30s, 1m30s or 500ms")
        })
    };
    let retries = match retries {
        None => 0,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|count| *count >= 0)
            .ok_or_else(|| {
                ParseError::new(
                    source.line.span_of_word(&text),
                    format!("--retries must be a number of at least 0, not {text}"),
                )
            })?,
    };
    Ok(Instruction::Healthcheck(Healthcheck {
        command,
        interval_ns: nanoseconds("interval")?,
        timeout_ns: nanoseconds("timeout")?,
        start_period_ns: nanoseconds("start-period")?,
        start_interval_ns: nanoseconds("start-interval")?,
        retries,
    }))
}

/// Parses a duration as Go writes it: `1h2m3.5s`, `500ms`. At least 1 ms, or 0.
fn duration_ns(text: &str) -> Result<i64, &'static str> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    let mut rest = text;
    let mut sum = 0.0;
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err("it is empty");
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|char: char| !char.is_ascii_digit() && char != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| "it is not a duration")?;
        rest = &rest[digits..];
        let unit = rest
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(rest.len());
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == &rest[..unit])
            .ok_or("it has no known unit")?;
        sum += number * factor;
        rest = &rest[unit..];
    }
    if sum > 0.0 && sum < 1e6 {
        return Err("it is shorter than 1ms");
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float beyond i64 becomes its maximum"
    )]
    Ok(sum as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("30s", Ok(30_000_000_000)),
            ("1m30s", Ok(90_000_000_000)),
            ("1.5s", Ok(1_500_000_000)),
            ("500ms", Ok(500_000_000)),
            ("1us", Err(())),
            ("30", Err(())),
            ("x", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(duration_ns(text).map_err(|_| ()), expected, "{text}");
        }
    }
}

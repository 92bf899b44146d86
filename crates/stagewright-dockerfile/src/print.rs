//! From a Dockerfile back to its text.

use std::fmt::{self, Display, Formatter, Write as _};

use crate::ast::{Add, Command, Copy, Dockerfile, From, Healthcheck, Instruction, Pair, Run};
use crate::heredoc::Heredoc;
use crate::split;

/// Writes a Dockerfile whose instructions, comments above them and directives are the same. Lines
/// that went on are one, and an instruction's flags are in a fixed order.
impl Display for Dockerfile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let directives = &self.directives;
        if let Some(syntax) = &directives.syntax {
            writeln!(f, "# syntax={syntax}")?;
        }
        if directives.escape != '\\' {
            writeln!(f, "# escape={}", directives.escape)?;
        }
        if let Some(check) = &directives.check {
            writeln!(f, "# check={check}")?;
        }
        // A comment that looks like a directive is one above this line.
        writeln!(f)?;
        for arg in &self.global_args {
            comments(f, &arg.comments)?;
            writeln!(f, "{}", Instruction::Arg(arg.instruction.clone()))?;
        }
        for stage in &self.stages {
            comments(f, &stage.comments)?;
            from(f, &stage.from, stage.name.as_deref())?;
            for line in &stage.instructions {
                comments(f, &line.comments)?;
                writeln!(f, "{}", line.instruction)?;
            }
        }
        Ok(())
    }
}

fn comments(f: &mut Formatter<'_>, comments: &[String]) -> fmt::Result {
    comments
        .iter()
        .try_for_each(|comment| writeln!(f, "# {comment}"))
}

fn from(f: &mut Formatter<'_>, from: &From, name: Option<&str>) -> fmt::Result {
    f.write_str("FROM")?;
    flag(f, "platform", from.platform.as_deref())?;
    write!(f, " {}", from.image)?;
    match name {
        Some(name) => writeln!(f, " AS {name}"),
        None => writeln!(f),
    }
}

/// Writes an instruction as it stands in a Dockerfile, without the line end; with its heredocs.
impl Display for Instruction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(add) => write_add(f, add),
            Self::Arg(arg) => {
                f.write_str("ARG")?;
                for item in &arg.args {
                    write!(f, " {}", item.name)?;
                    if let Some(default) = &item.default {
                        write!(f, "={default}")?;
                    }
                }
                Ok(())
            }
            Self::Cmd(cmd) => {
                f.write_str("CMD")?;
                command(f, &cmd.command)
            }
            Self::Copy(copy) => write_copy(f, copy),
            Self::Entrypoint(entrypoint) => {
                f.write_str("ENTRYPOINT")?;
                command(f, &entrypoint.command)
            }
            Self::Env(env) => pairs(f, "ENV", &env.pairs),
            Self::Expose(expose) => {
                f.write_str("EXPOSE")?;
                rest(f, &expose.ports.join(" "))
            }
            Self::Healthcheck(check) => healthcheck(f, check),
            Self::Label(label) => pairs(f, "LABEL", &label.pairs),
            Self::Maintainer(maintainer) => {
                f.write_str("MAINTAINER")?;
                rest(f, &maintainer.name)
            }
            Self::Onbuild(onbuild) => {
                f.write_str("ONBUILD")?;
                rest(f, &onbuild.trigger)
            }
            Self::Run(run) => write_run(f, run),
            Self::Shell(shell) => {
                f.write_str("SHELL")?;
                rest(f, &json(&shell.words))
            }
            Self::Stopsignal(stopsignal) => {
                f.write_str("STOPSIGNAL")?;
                rest(f, &stopsignal.signal)
            }
            Self::User(user) => {
                f.write_str("USER")?;
                rest(f, &user.user)
            }
            Self::Volume(volume) => {
                f.write_str("VOLUME")?;
                rest(f, &words(&volume.paths))
            }
            Self::Workdir(workdir) => {
                f.write_str("WORKDIR")?;
                rest(f, &workdir.path)
            }
        }
    }
}

/// Writes what follows the flags. What looks like a flag itself needs a `--` in front.
fn rest(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    if text.starts_with("--") {
        f.write_str(" --")?;
    }
    if !text.is_empty() {
        write!(f, " {text}")?;
    }
    Ok(())
}

fn flag(f: &mut Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    write!(f, " --{name}=")?;
    for char in value.chars() {
        if char.is_whitespace() || matches!(char, '\\' | '\'' | '"') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    Ok(())
}

fn flags(f: &mut Formatter<'_>, name: &str, values: &[String]) -> fmt::Result {
    values
        .iter()
        .try_for_each(|value| flag(f, name, Some(value)))
}

fn set(f: &mut Formatter<'_>, name: &str, is_set: bool) -> fmt::Result {
    if is_set {
        write!(f, " --{name}")?;
    }
    Ok(())
}

fn json(words: &[String]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

/// Joins words, as a JSON array where blanks in them need it.
fn words(words: &[String]) -> String {
    let joined = words.join(" ");
    let plain = words
        .iter()
        .all(|word| !word.is_empty() && !word.contains(char::is_whitespace));
    if plain && !split::is_other_array(&joined) && !joined.ends_with(['\\', '`']) {
        joined
    } else {
        json(words)
    }
}

fn command(f: &mut Formatter<'_>, command: &Command) -> fmt::Result {
    match command {
        Command::Shell(text) => rest(f, text),
        Command::Exec(words) => rest(f, &json(words)),
    }
}

fn pairs(f: &mut Formatter<'_>, keyword: &str, pairs: &[Pair]) -> fmt::Result {
    f.write_str(keyword)?;
    let texts: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let between = match (pair.legacy, pair.key.ends_with(['\\', '`'])) {
                (false, _) => "=",
                (true, false) => " ",
                // The first blank may be escaped.
                (true, true) => "  ",
            };
            format!("{}{between}{}", pair.key, pair.value)
        })
        .collect();
    rest(f, &texts.join(" "))
}

fn write_add(f: &mut Formatter<'_>, add: &Add) -> fmt::Result {
    f.write_str("ADD")?;
    flag(f, "chown", add.chown.as_deref())?;
    flag(f, "chmod", add.chmod.as_deref())?;
    set(f, "link", add.link)?;
    flags(f, "exclude", &add.exclude)?;
    flag(f, "checksum", add.checksum.as_deref())?;
    let keep = add.keep_git_dir.map(|keep| keep.to_string());
    flag(f, "keep-git-dir", keep.as_deref())?;
    let unpack = add.unpack.map(|unpack| unpack.to_string());
    flag(f, "unpack", unpack.as_deref())?;
    files(f, &add.heredocs, &add.sources, &add.dest)
}

fn write_copy(f: &mut Formatter<'_>, copy: &Copy) -> fmt::Result {
    f.write_str("COPY")?;
    flag(f, "from", copy.from.as_deref())?;
    flag(f, "chown", copy.chown.as_deref())?;
    flag(f, "chmod", copy.chmod.as_deref())?;
    set(f, "link", copy.link)?;
    set(f, "parents", copy.parents)?;
    flags(f, "exclude", &copy.exclude)?;
    files(f, &copy.heredocs, &copy.sources, &copy.dest)
}

fn files(
    f: &mut Formatter<'_>,
    heredocs: &[Heredoc],
    sources: &[String],
    dest: &str,
) -> fmt::Result {
    let mut all = sources.to_vec();
    all.push(dest.to_owned());
    if heredocs.is_empty() {
        return rest(f, &words(&all));
    }
    for heredoc in heredocs {
        let quote = if heredoc.expand { "" } else { "'" };
        f.write_char(' ')?;
        if heredoc.descriptor != 0 {
            write!(f, "{}", heredoc.descriptor)?;
        }
        write!(f, "<<{quote}{}{quote}", heredoc.name)?;
    }
    write!(f, " {}", all.join(" "))?;
    bodies(f, heredocs)
}

fn bodies(f: &mut Formatter<'_>, heredocs: &[Heredoc]) -> fmt::Result {
    heredocs
        .iter()
        .try_for_each(|heredoc| write!(f, "\n{}{}", heredoc.body, heredoc.name))
}

fn write_run(f: &mut Formatter<'_>, run: &Run) -> fmt::Result {
    f.write_str("RUN")?;
    flags(f, "mount", &run.mounts)?;
    flag(f, "network", run.network.as_deref())?;
    flag(f, "security", run.security.as_deref())?;
    flags(f, "device", &run.devices)?;
    command(f, &run.command)?;
    bodies(f, &run.heredocs)
}

fn healthcheck(f: &mut Formatter<'_>, check: &Healthcheck) -> fmt::Result {
    f.write_str("HEALTHCHECK")?;
    for (name, nanoseconds) in [
        ("interval", check.interval_ns),
        ("timeout", check.timeout_ns),
        ("start-period", check.start_period_ns),
        ("start-interval", check.start_interval_ns),
    ] {
        if nanoseconds != 0 {
            write!(f, " --{name}={nanoseconds}ns")?;
        }
    }
    if check.retries != 0 {
        write!(f, " --retries={}", check.retries)?;
    }
    match &check.command {
        None => f.write_str(" NONE"),
        Some(Command::Shell(text)) => write!(f, " CMD {text}"),
        Some(Command::Exec(words)) => write!(f, " CMD {}", json(words)),
    }
}

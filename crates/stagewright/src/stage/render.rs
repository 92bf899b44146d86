//! Writes the instructions of a stage as lines of a Dockerfile.

use std::fmt::Write;

use stagewright_dockerfile::Dockerfile;

use super::instruction::{CommandLine, CopySource, CopyStep, Item, Mount, RunStep};
use super::words::{array, flag_value, mount_value, on_one_line, word, words};
use crate::error::{Error, ErrorKind};
use crate::request::Network;

/// Says what another stage, or a name, is called after `--from=`.
pub(super) type NameOf<'n> = dyn FnMut(&CopySource) -> Result<Option<String>, Error> + 'n;

/// Writes one instruction, its line's end included.
pub(super) fn instruction(item: &Item, name_of: &mut NameOf<'_>) -> Result<String, Error> {
    let line = match item {
        Item::Run(step) => run(step, name_of)?,
        Item::Copy(step) => copy(step, name_of)?,
        Item::Word(name, text) => format!("{name} {}", word(text, name)?),
        Item::Pair(name, key, value) => {
            check_name(name, key)?;
            let key = if *name == "ENV" {
                key.clone()
            } else {
                word(key, name)?
            };
            format!("{name} {key}={}", word(value, name)?)
        }
        Item::Arg(name, default) => {
            check_name("ARG", name)?;
            match default {
                None => format!("ARG {name}"),
                Some(value) => format!("ARG {name}={}", word(value, "ARG")?),
            }
        }
        Item::Volume(path) => format!("VOLUME {}", words(&[path], "VOLUME")?),
        Item::Command(name, command) => command_line(name, command)?,
        Item::Text(text) => verbatim(text)?,
    };
    Ok(line + "\n")
}

fn check_name(instruction: &str, name: &str) -> Result<(), Error> {
    let odd = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || (instruction != "LABEL" && "=\"'\\$".contains(character))
            || character == '='
    };
    if name.is_empty() || name.contains(odd) {
        let message = format!("{name:?} is no name for {instruction}");
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(())
}

fn command_line(name: &str, command: &CommandLine) -> Result<String, Error> {
    match command {
        CommandLine::Exec(argv) => Ok(format!("{name} {}", array(argv))),
        CommandLine::Shell(text) => {
            on_one_line(text, name)?;
            let text = text.trim();
            if text.is_empty() || text.starts_with('[') || text.ends_with('\\') {
                let message = format!("{name} {text:?} would not be read as a text for the shell");
                return Err(Error {
                    help: Some("give the program and its arguments as a list".to_owned()),
                    ..Error::new(ErrorKind::Request, message)
                });
            }
            Ok(format!("{name} {text}"))
        }
    }
}

fn run(step: &RunStep, name_of: &mut NameOf<'_>) -> Result<String, Error> {
    let mut line = "RUN".to_owned();
    for mount in &step.mounts {
        let _ = write!(line, " --mount={}", mount_options(mount, name_of)?);
    }
    let network = match step.network {
        None => None,
        Some(Network::Default) => Some("default"),
        Some(Network::Host) => Some("host"),
        Some(Network::None) => Some("none"),
        Some(Network::Pasta | Network::Slirp4netns) => {
            let message = "pasta and slirp4netns are chosen for all steps of a build, not for one";
            return Err(Error::new(ErrorKind::Request, message));
        }
    };
    if let Some(network) = network {
        let _ = write!(line, " --network={network}");
    }
    let text = match &step.command {
        CommandLine::Exec(argv) if argv.is_empty() => {
            return Err(Error::new(ErrorKind::Request, "a command to run is empty"));
        }
        CommandLine::Exec(argv) => return Ok(format!("{line} {}", array(argv))),
        CommandLine::Shell(text) => text,
    };
    if text.trim().is_empty() || text.contains('\0') {
        let message = format!("{text:?} is no command to run");
        return Err(Error::new(ErrorKind::Request, message));
    }
    // What could be read as something else goes into a heredoc, where every line is the shell's.
    let one_line = !text.contains(['\n', '\r'])
        && !text.contains("<<")
        && !text.trim().starts_with(['[', '-', '#'])
        && !text.trim_end().ends_with('\\');
    if one_line {
        return Ok(format!("{line} {}", text.trim()));
    }
    let mut end = "EOF".to_owned();
    while text.lines().any(|line| line.trim() == end) {
        end.push('_');
    }
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{line} <<'{end}'\n{text}{newline}{end}"))
}

fn mount_options(mount: &Mount, name_of: &mut NameOf<'_>) -> Result<String, Error> {
    let mut options: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &str| {
        options.push(format!("{name}={}", mount_value(value, name)?));
        Ok::<(), Error>(())
    };
    match mount {
        Mount::Cache {
            target,
            id,
            sharing,
        } => {
            add("type", "cache")?;
            add("target", target)?;
            if let Some(id) = id {
                add("id", id)?;
            }
            if let Some(sharing) = sharing {
                add("sharing", sharing)?;
            }
        }
        Mount::Bind {
            target,
            from,
            source,
            writable,
        } => {
            add("type", "bind")?;
            add("target", target)?;
            if let Some(from) = name_of(from)? {
                add("from", &from)?;
            }
            if let Some(source) = source {
                add("source", source)?;
            }
            if *writable {
                add("rw", "true")?;
            }
        }
        Mount::Tmpfs { target, size_bytes } => {
            add("type", "tmpfs")?;
            add("target", target)?;
            if let Some(bytes) = size_bytes {
                add("size", &bytes.to_string())?;
            }
        }
        Mount::Secret {
            id, target, env, ..
        } => {
            add("type", "secret")?;
            add("id", id)?;
            if let Some(target) = target {
                add("target", target)?;
            }
            if let Some(env) = env {
                add("env", env)?;
            }
            add("required", "true")?;
        }
    }
    Ok(options.join(","))
}

fn copy(step: &CopyStep, name_of: &mut NameOf<'_>) -> Result<String, Error> {
    if step.sources.is_empty() || step.sources.iter().any(String::is_empty) {
        let message = "a copy names no source, or an empty one: write \".\" for everything";
        return Err(Error::new(ErrorKind::Request, message));
    }
    if step.dest.is_empty() {
        return Err(Error::new(ErrorKind::Request, "a copy has no destination"));
    }
    let mut line = "COPY".to_owned();
    if let Some(from) = name_of(&step.from)? {
        let _ = write!(line, " --from={}", flag_value(&from, "from")?);
    }
    for (flag, value) in [("chown", &step.chown), ("chmod", &step.chmod)] {
        if let Some(value) = value {
            let _ = write!(line, " --{flag}={}", flag_value(value, flag)?);
        }
    }
    for (flag, on) in [("link", step.link), ("parents", step.parents)] {
        if on {
            let _ = write!(line, " --{flag}");
        }
    }
    for pattern in &step.exclude {
        let _ = write!(line, " --exclude={}", flag_value(pattern, "exclude")?);
    }
    let mut paths: Vec<&str> = step.sources.iter().map(String::as_str).collect();
    paths.push(&step.dest);
    if paths.iter().any(|path| path.contains("<<")) {
        let message = "a path of a copy has \"<<\", which begins a file's text in a Dockerfile";
        return Err(Error::new(ErrorKind::Request, message));
    }
    Ok(format!("{line} {}", words(&paths, "COPY")?))
}

/// Checks that a text is one instruction, and takes it as it is.
fn verbatim(text: &str) -> Result<String, Error> {
    let fail = |why: &str| {
        let message = format!("{text:?} is not one instruction of a Dockerfile: {why}");
        Error::new(ErrorKind::Request, message)
    };
    let file = format!("FROM scratch\n{}\n", text.trim_end());
    let parsed = Dockerfile::parse(file.as_bytes()).map_err(|error| fail(&error.message))?;
    match &parsed.stages[..] {
        [stage] if stage.instructions.len() == 1 => {}
        [stage] if stage.instructions.is_empty() => return Err(fail("it is empty")),
        [_] => return Err(fail("it is several")),
        _ => return Err(fail("it begins a stage")),
    }
    if text.trim_end().ends_with('\\') {
        return Err(fail("it goes on after its last line"));
    }
    Ok(text.trim_end().to_owned())
}

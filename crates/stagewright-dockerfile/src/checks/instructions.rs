//! The checks of the instructions of stages.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{At, Findings};
use super::variables::{PROXY_ARGS, is_secret};
use super::{CheckContext, Rule};
use crate::ast::{Arg, Command, Dockerfile, Instruction, Spanned, Stage};
use crate::error::did_you_mean;
use crate::expand::Expander;
use crate::span::Span;

/// What is known of a stage after some of its instructions.
#[derive(Clone, Default)]
struct State {
    /// The variables that are set; nothing if those of the base image are not known.
    variables: Option<BTreeSet<String>>,
    workdir_set: bool,
    shell_set: bool,
}

pub(super) fn check(dockerfile: &Dockerfile, context: &CheckContext<'_>, found: &mut Findings) {
    for line in &dockerfile.global_args {
        argument(&line.instruction, at(line), found);
    }
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let state = inherited(stage, &states, context);
        let mut checker = StageChecker {
            is_built: context.is_built.is_none_or(|is_built| is_built(index)),
            expander: Expander::new(dockerfile.directives.escape),
            context,
            found: &mut *found,
            state,
            last: BTreeMap::new(),
        };
        for line in &stage.instructions {
            checker.instruction(line);
        }
        let state = checker.state;
        states.extend(stage.name.clone().map(|name| (name, state)));
    }
}

fn at<T>(line: &Spanned<T>) -> At<'_> {
    At {
        span: line.span,
        comments: &line.comments,
    }
}

fn inherited(stage: &Stage, states: &BTreeMap<String, State>, context: &CheckContext<'_>) -> State {
    let image = stage.from.image.as_str();
    if let Some(state) = states.get(&image.to_lowercase()) {
        return state.clone();
    }
    let mut variables = match image {
        "scratch" => Some(BTreeSet::new()),
        image => context.base_env.and_then(|of| of(image)),
    };
    if let Some(variables) = &mut variables {
        variables.insert("PATH".to_owned());
        for name in PROXY_ARGS {
            variables.extend([name.to_owned(), name.to_lowercase()]);
        }
    }
    State {
        variables,
        ..State::default()
    }
}

fn argument(arg: &Arg, at: At<'_>, found: &mut Findings) {
    for item in &arg.args {
        secret("ARG", &item.name, at, found);
    }
    let names: Vec<&str> = arg.args.iter().map(|item| item.name.as_str()).collect();
    let Some(comment) = at.comments.last() else {
        return;
    };
    let first = comment.split(' ').next().unwrap_or_default();
    if !names.contains(&first) {
        let name = if let [name] = names.as_slice() {
            name
        } else {
            "<name>"
        };
        let message = format!("comment for ARG should follow the format: `# {name} <description>`");
        let help = Some("put a blank line after a comment that is no description".to_owned());
        found.add(Rule::InvalidDefinitionDescription, at, message, help);
    }
}

fn secret(keyword: &str, name: &str, at: At<'_>, found: &mut Findings) {
    if is_secret(name) {
        let message = format!("do not use ARG or ENV for sensitive data ({keyword} {name:?})");
        let help = Some("mount it where it is used: RUN --mount=type=secret,id=…".to_owned());
        found.add(Rule::SecretsUsedInArgOrEnv, at, message, help);
    }
}

struct StageChecker<'a, 'c> {
    is_built: bool,
    expander: Expander,
    context: &'a CheckContext<'c>,
    found: &'a mut Findings,
    state: State,
    /// Where the instructions that count once stand.
    last: BTreeMap<&'static str, (Span, Vec<String>)>,
}

impl StageChecker<'_, '_> {
    fn instruction(&mut self, line: &Spanned<Instruction>) {
        let at = at(line);
        self.form(&line.instruction, at);
        if self.is_built {
            self.meaning(&line.instruction, at);
        }
    }

    /// What can be said of an instruction by its text alone.
    fn form(&mut self, instruction: &Instruction, at: At<'_>) {
        match instruction {
            Instruction::Env(env) => {
                self.legacy("ENV", env.pairs.iter().any(|pair| pair.legacy), at);
            }
            Instruction::Label(label) => {
                self.legacy("LABEL", label.pairs.iter().any(|pair| pair.legacy), at);
            }
            Instruction::Maintainer(maintainer) => {
                let message = "MAINTAINER is deprecated in favor of a label".to_owned();
                let name = &maintainer.name;
                let help = format!("write LABEL org.opencontainers.image.authors={name:?}");
                self.found
                    .add(Rule::MaintainerDeprecated, at, message, Some(help));
            }
            _ => {}
        }
    }

    fn meaning(&mut self, instruction: &Instruction, at: At<'_>) {
        for word in expanded_words(instruction) {
            self.variables_of(word, at);
        }
        match instruction {
            Instruction::Arg(arg) => {
                argument(arg, at, self.found);
                self.define(arg.args.iter().map(|item| item.name.as_str()));
            }
            Instruction::Env(env) => {
                for pair in &env.pairs {
                    secret("ENV", &pair.key, at, self.found);
                }
                self.define(env.pairs.iter().map(|pair| pair.key.as_str()));
            }
            Instruction::Cmd(cmd) => {
                self.once("CMD", at);
                self.json_form("CMD", &cmd.command, at);
            }
            Instruction::Entrypoint(entrypoint) => {
                self.once("ENTRYPOINT", at);
                self.json_form("ENTRYPOINT", &entrypoint.command, at);
            }
            Instruction::Healthcheck(_) => self.once("HEALTHCHECK", at),
            Instruction::Shell(_) => self.state.shell_set = true,
            Instruction::Workdir(workdir) => self.workdir(&workdir.path, at),
            Instruction::Expose(expose) => self.expose(&expose.ports, at),
            Instruction::Copy(copy) if copy.from.is_none() => {
                self.ignored("COPY", &copy.sources, at);
            }
            Instruction::Add(add) => self.ignored("ADD", &add.sources, at),
            _ => {}
        }
    }

    fn define<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        if let Some(variables) = &mut self.state.variables {
            variables.extend(names.map(str::to_owned));
        }
    }

    fn variables_of(&mut self, word: &str, at: At<'_>) {
        let Some(variables) = &self.state.variables else {
            return;
        };
        let lookup = |name: &str| variables.contains(name).then_some("x");
        let Ok(expanded) = self.expander.word(word, &lookup) else {
            return;
        };
        for name in &expanded.unset {
            let message = format!("usage of undefined variable '${name}'");
            let help = did_you_mean(name, variables.iter().map(String::as_str));
            self.found.add(Rule::UndefinedVar, at, message, help);
        }
    }

    fn legacy(&mut self, keyword: &str, legacy: bool, at: At<'_>) {
        if legacy {
            let message = format!(
                "\"{keyword} key=value\" should be used instead of \"{keyword} key value\""
            );
            self.found
                .add(Rule::LegacyKeyValueFormat, at, message, None);
        }
    }

    /// The instruction before this one of the same kind has no effect.
    fn once(&mut self, keyword: &'static str, at: At<'_>) {
        let here = (at.span, at.comments.to_vec());
        if let Some((span, comments)) = self.last.insert(keyword, here) {
            let message = format!(
                "multiple {keyword} instructions should not be used in one stage, only the last \
                 one counts"
            );
            let before = At {
                span,
                comments: &comments,
            };
            let help = Some("remove this one".to_owned());
            self.found
                .add(Rule::MultipleInstructionsDisallowed, before, message, help);
        }
    }

    fn json_form(&mut self, keyword: &str, command: &Command, at: At<'_>) {
        if matches!(command, Command::Shell(_)) && !self.state.shell_set {
            let message = format!(
                "JSON arguments recommended for {keyword}: the shell does not pass signals on"
            );
            let help = Some(format!("write {keyword} [\"program\", \"argument\"]"));
            self.found.add(Rule::JSONArgsRecommended, at, message, help);
        }
    }

    fn workdir(&mut self, path: &str, at: At<'_>) {
        // Where a path that is all a variable leads, nobody can say here.
        if path.starts_with(['/', '$', '\\', '"', '\'']) || path.get(1..2) == Some(":") {
            self.state.workdir_set = true;
        } else if !self.state.workdir_set {
            let message = format!(
                "relative workdir {path:?} can have unexpected results if the base image changes"
            );
            let help = Some(format!("write WORKDIR /{path}"));
            self.found.add(Rule::WorkdirRelativePath, at, message, help);
        }
    }

    fn expose(&mut self, ports: &[String], at: At<'_>) {
        for port in ports.iter().filter(|port| !port.contains('$')) {
            let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
            if protocol != protocol.to_lowercase() {
                let message = format!("protocol '{protocol}' in EXPOSE {port} should be lowercase");
                let help = Some(format!("write {number}/{}", protocol.to_lowercase()));
                self.found.add(Rule::ExposeProtoCasing, at, message, help);
            }
            if let Some((_, own)) = number.rsplit_once(':') {
                let message = format!(
                    "EXPOSE {port} has an address or a port of the host, which means nothing"
                );
                let help = Some(format!("write EXPOSE {own}"));
                self.found.add(Rule::ExposeInvalidFormat, at, message, help);
            }
        }
    }

    fn ignored(&mut self, keyword: &str, sources: &[String], at: At<'_>) {
        let Some(is_ignored) = self.context.is_ignored else {
            return;
        };
        let local = |source: &&String| {
            !source.contains(['$', '*', '?', '[']) && !source.contains("://") && *source != "."
        };
        for source in sources.iter().filter(local) {
            let path = source.trim_start_matches("./").trim_matches('/');
            if !path.is_empty() && is_ignored(path) {
                let message = format!(
                    "attempting to {keyword} file {source:?} that .dockerignore leaves out"
                );
                self.found.add(Rule::CopyIgnoredFile, at, message, None);
            }
        }
    }
}

/// Returns the words of an instruction in which variables are expanded.
fn expanded_words(instruction: &Instruction) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    match instruction {
        Instruction::Add(add) => {
            words.extend(add.sources.iter().chain(&add.exclude).map(String::as_str));
            words.push(&add.dest);
            let flags = [&add.chown, &add.chmod, &add.checksum];
            words.extend(flags.into_iter().flatten().map(String::as_str));
        }
        Instruction::Copy(copy) => {
            words.extend(copy.sources.iter().chain(&copy.exclude).map(String::as_str));
            words.push(&copy.dest);
            words.extend(
                [&copy.chown, &copy.chmod]
                    .into_iter()
                    .flatten()
                    .map(String::as_str),
            );
        }
        Instruction::Arg(arg) => {
            words.extend(arg.args.iter().filter_map(|item| item.default.as_deref()));
        }
        Instruction::Env(crate::ast::Env { pairs })
        | Instruction::Label(crate::ast::Label { pairs }) => {
            words.extend(
                pairs
                    .iter()
                    .flat_map(|pair| [pair.key.as_str(), pair.value.as_str()]),
            );
        }
        Instruction::Expose(expose) => words.extend(expose.ports.iter().map(String::as_str)),
        Instruction::Stopsignal(signal) => words.push(&signal.signal),
        Instruction::User(user) => words.push(&user.user),
        Instruction::Volume(volume) => words.extend(volume.paths.iter().map(String::as_str)),
        Instruction::Workdir(workdir) => words.push(&workdir.path),
        _ => {}
    }
    words
}
